// Scans at lower resolution: means over blocks of voxels, and smoothing.
#pragma once

#include "cpu/buffer.h"
#include "cpu/check.h"

namespace vm::alignment {

// Shape of the means over blocks; the last block along an axis may reach past the end.
Shape blocks_in(const Shape &shape, const Shape &block);

// Mean over blocks of voxels; a block that reaches past the end repeats the last voxels (along the
// first axis it has fewer). In the order of sums that numpy has in vmruntime/alignment/pyramid.py.
Buffer<float> block_means(const float *data, const Shape &shape, const Shape &block, int threads);

// [1 2 1] / 4 along each axis; the border repeats.
Buffer<float> smoothed(const float *data, const Shape &shape, int threads);

}  // namespace vm::alignment
