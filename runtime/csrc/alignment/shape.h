// Size and turn that an affine map stands for; see vmruntime/alignment/shape.py.
#pragma once

#include "session/grid.h"

namespace vm::alignment {

struct MapShape {
    std::array<double, 3> scale{1, 1, 1};  // singular values, largest first
    double rotation_degrees = 0;           // of the rotation closest to the linear part
};

MapShape shape_of(const Matrix &matrix);

// Whether the boxes around two fields of view, along the world axes, have a point in common.
bool fields_overlap(const Grid &one, const Grid &other);

}  // namespace vm::alignment
