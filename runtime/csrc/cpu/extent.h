// Where along a line of voxels something is.
#pragma once

#include <cstdint>

namespace vm {

// First and one past the last voxel that is not zero; nothing is where `last` is 0.
struct Extent {
    int32_t first = INT32_MAX, last = 0;

    void widen(const Extent &other) {
        first = other.first < first ? other.first : first;
        last = other.last > last ? other.last : last;
    }
};

}  // namespace vm
