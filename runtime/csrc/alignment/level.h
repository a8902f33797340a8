// One scan at one resolution; see vmruntime/alignment/pyramid.py.
#pragma once

#include <algorithm>

#include "cpu/check.h"
#include "session/grid.h"

namespace vm::alignment {

// Scaled intensities are clipped here: vessels and fat must not outweigh a brain.
constexpr float brightest = 2;

// Scaled intensity above which a voxel counts as foreground.
constexpr float foreground_intensity = 0.1f;

struct Level {
    const float *data = nullptr;  // C order; somebody else's
    Shape shape{};
    Matrix affine = identity;  // index to RAS+ mm
    float offset = 0, gain = 1;
    Shape block{1, 1, 1};  // native voxels along each axis in one voxel of this level

    float scaled(float value) const {
        return std::clamp((value - offset) * gain, 0.0f, brightest);
    }
};

}  // namespace vm::alignment
