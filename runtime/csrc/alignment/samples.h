// The points of the fixed scan at which the two scans are compared; see
// vmruntime/alignment/samples.py.
#pragma once

#include "alignment/level.h"
#include "alignment/mask.h"
#include "cpu/buffer.h"

namespace vm::alignment {

// Unit coordinates (x - centre) / radius of the fixed scan's foreground, in which the columns of a
// pose have comparable effects.
struct Frame {
    Point centre{};
    double radius = 1;  // root of the mean squared distance of the foreground from its centre, mm

    Matrix from_world() const;
};

// Frame of a level's foreground, which must not be empty.
Frame frame_of(const Level &level, const Mask &foreground);

struct Samples {
    std::array<Buffer<float>, 3> points;  // unit coordinates of the frame
    Buffer<float> values;                 // scaled intensities of the fixed scan there
    std::int64_t count = 0;

    explicit Samples(std::int64_t most = 0);
};

// About `count` voxels of a level, spread evenly over a mask that lies on `mask_level`, which is
// `level` itself or a coarser one; always the same ones.
Samples draw_samples(const Level &level, const Mask &mask, const Level &mask_level,
                     const Frame &frame, std::int64_t count);

// One of every so many.
Samples every(const Samples &samples, std::int64_t step);

}  // namespace vm::alignment
