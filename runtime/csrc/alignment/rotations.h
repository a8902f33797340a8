// Rotations, and the sets of them that the search starts from; see
// vmruntime/alignment/rotations.py. As matrices without a translation.
#pragma once

#include <vector>

#include "session/grid.h"

namespace vm::alignment {

// Rotation about an axis by its length in radians (Rodrigues).
Matrix rotation_about(const Point &vector);

// None, and 40 degrees about the faces and the corners of a cube: 15.
std::vector<Matrix> nearby_rotations();

// The rotations of an icosahedron, 60; none is 45 degrees from its nearest one.
std::vector<Matrix> all_rotations();

}  // namespace vm::alignment
