// A field with zeros around every row, so that rows can be read to a voxel beyond either end and in
// whole blocks.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "check.h"
#include "rows.h"

namespace vm {

class FramedField {
public:
    // (3, shape); zeros around numbers that are not set yet.
    FramedField(const Shape &shape, int threads);

    // For looking up: the zeros are outside.
    const Layout &layout() const { return layout_; }
    int64_t channel_stride() const { return layout_.shape[0] * layout_.strides[0]; }
    const float *data() const { return memory_.data() + BLOCK; }

    float *row(int channel, int64_t d, int64_t h) {
        return memory_.data() + BLOCK + channel * channel_stride() + d * layout_.strides[0] +
               h * layout_.strides[1];
    }

    // A row and its neighbours; rows of zeros where there are none.
    FramedRows around(int64_t d, int64_t h);

private:
    Layout layout_;
    Buffer<float> memory_, zeros_;
};

}  // namespace vm
