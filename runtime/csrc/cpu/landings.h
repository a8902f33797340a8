// A first estimate of the inverse of a displacement.
#pragma once

#include "check.h"

namespace vm {

// An inverse within a voxel or so: every voxel leaves its way back where it lands, averaged over
// cells of 2 x 2 x 2 voxels and their neighbours; then interpolated. Both (3, shape).
void landings(const float *displacement, const Shape &shape, float *inverse, int threads);

}  // namespace vm
