// The result of an affine alignment; see vmruntime/alignment/alignment.py.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "alignment/shape.h"
#include "session/grid.h"

namespace vm::alignment {

// A stable code and one line of text.
using Finding = std::pair<std::string, std::string>;

struct Alignment {
    Matrix matrix = identity;      // fixed RAS+ mm to moving RAS+ mm
    double correlation = 0;        // at the coarse level of 8 mm
    double foreground_overlap = 0; // Dice of the two foregrounds at that level
    double fixed_outside = 0;      // share of the fixed foreground outside the moving field of view
    MapShape shape;
    Point translation_mm{};        // how far the centre of the fixed foreground moves
    std::vector<Finding> warnings;
    std::string reason;            // why it is evidently wrong, one line; "" where it is not

    bool plausible() const { return reason.empty(); }
};

}  // namespace vm::alignment
