// Derivatives of a field along its axes, row by row.
#pragma once

#include "buffer.h"
#include "check.h"

namespace vm {

// One thread's space for the nine derivatives of a row.
class SlopeSpace {
public:
    explicit SlopeSpace(int64_t width);

    // Differences of the three components of (3, shape) in row (d, h): central ones, one-sided at
    // the border. Every size is at least 2.
    void row(const float *field, const Shape &shape, int64_t d, int64_t h);

    float *slopes[9];  // 3 * component + axis

private:
    Buffer<float> memory_;
};

}  // namespace vm
