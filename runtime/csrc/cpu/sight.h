// What rows of places may see of volumes that are mostly zeros.
#pragma once

#include <vector>

#include "check.h"
#include "extent.h"
#include "map.h"

namespace vm {

// Extents of the lines along the last axis of volumes of one shape.
class Sight {
public:
    explicit Sight(const Shape &shape);

    // The line at (d, h), to be widened.
    Extent &line(int64_t d, int64_t h) { return lines_[size_t(d * shape_[1] + h)]; }

    // To be called once all lines are widened.
    void finish();

    // Sets space.blocks for a row of places: whether a block of it may see anything.
    void look_along(int64_t count, RowSpace &space) const;

private:
    Shape shape_;
    std::vector<Extent> lines_;
    std::vector<Extent> along_, lying_;  // of all lines of a plane: along them; which of them
};

}  // namespace vm
