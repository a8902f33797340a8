// One scan at several resolutions: block means, smoothing, one intensity scale, foreground. See
// vmruntime/alignment/pyramid.py.
#pragma once

#include "alignment/level.h"
#include "alignment/mask.h"
#include "cpu/buffer.h"
#include "session/scan.h"

namespace vm::alignment {

struct Pyramid {
    // Steps of 8, 4 and 2 mm (see coarse_step), then native, with the axes in the order of the
    // caller's memory. The coarse ones hold scaled intensities.
    std::array<Level, 4> levels;
    // Where the two coarsest levels are foreground.
    Mask coarse_foreground, foreground;
    // Whether there are varying values and some foreground; else only this is set.
    bool usable = false;

    std::array<Buffer<float>, 3> means;
    Buffer<float> native;  // where the scan's own values have another order
};

// Step of the coarsest level that suits both scans, mm: 8 for anything of a head's size.
double coarse_step(const Grid &one, const Grid &other);

// The scan has to stay where it is, and the array that it was read from.
Pyramid pyramid_of(const Scan &scan, double coarse, int threads);

}  // namespace vm::alignment
