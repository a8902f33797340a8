// Foreground masks: dilation, centre and volume; see vmruntime/alignment/foreground.py.
#pragma once

#include <cstdint>
#include <vector>

#include "alignment/level.h"

namespace vm::alignment {

struct Mask {
    Shape shape{};
    std::vector<std::uint8_t> on;  // C order, 0 or 1

    std::int64_t count() const;
    bool any() const { return count() > 0; }
};

// Voxels of a level whose stored values are above this.
Mask brighter_than(const Level &level, float value);

// Grown by a cube of `voxels` voxels to each side.
Mask dilated(Mask mask, int voxels);

Mask inverted(Mask mask);

// Voxels with mask on both sides along all three axes.
Mask filled(const Mask &mask);

// Centre of the voxels, RAS+ mm; there must be some.
Point centre(const Mask &mask, const Matrix &affine);

double volume_mm3(const Mask &mask, const Matrix &affine);

// Calls visit(index, at) for every voxel of a shape, index being its three coordinates.
template <class Visit>
void over_voxels(const Shape &shape, const Visit &visit) {
    Shape index{};
    std::size_t at = 0;
    for (index[0] = 0; index[0] < shape[0]; ++index[0])
        for (index[1] = 0; index[1] < shape[1]; ++index[1])
            for (index[2] = 0; index[2] < shape[2]; ++index[2]) visit(index, at++);
}

inline Point point_of(const Shape &index) {
    return {static_cast<double>(index[0]), static_cast<double>(index[1]),
            static_cast<double>(index[2])};
}

}  // namespace vm::alignment
