// Small systems of linear equations.
#pragma once

#include <array>

namespace vm::alignment {

// As many unknowns as the step of an affine map, its gain and its offset.
constexpr int most_unknowns = 14;

using Equations = std::array<std::array<double, most_unknowns>, most_unknowns>;
using Unknowns = std::array<double, most_unknowns>;

// Solves the first `number` equations for as many unknowns by elimination with row pivots, in place
// of the right-hand side. False where they are singular.
bool solve(Equations matrix, Unknowns &right, int number);

}  // namespace vm::alignment
