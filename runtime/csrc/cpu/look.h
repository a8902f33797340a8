// One volume to be looked up row by row.
#pragma once

#include <vector>

#include "buffer.h"
#include "check.h"
#include "rows.h"

namespace vm {

// A box of one plane of a volume: bounds of height and width; empty where height[1] is 0.
struct PlaneBox {
    int32_t height[2] = {INT32_MAX, 0}, width[2] = {INT32_MAX, 0};
};

class Look {
public:
    // Throws Error for what cannot be used.
    explicit Look(const vm_look &look);

    const Shape &shape() const { return shape_; }

    // Bounds {d0, d1, h0, h1, w0, w1} of what is not zero; all 0 where nothing is.
    std::array<int64_t, 6> bounds(int threads) const;

    // From now on only this box counts, and places are counted from its corner. Rows of places run
    // mostly along the axis `along` of the volume.
    void restrict_to(const std::array<int64_t, 6> &box, int along, int threads);

    // Widens `planes`, one for each index of the first axis, by what is not zero there.
    void widen(std::vector<PlaneBox> &planes, int threads) const;

    // Values at `count` places into the output from voxel `start` on; `row` is space for a row.
    void row(Places places, int64_t start, int64_t count, float *row) const;

    // The same far outside.
    void zeros(int64_t start, int64_t count) const;

private:
    const unsigned char *data_;
    Shape shape_;
    Layout layout_{};  // with the axes in the order of memory
    int axes_[3];      // axis of the volume that each of them is
    vm_type type_;
    vm_mode mode_;
    int64_t size_;     // bytes of an element
    unsigned char *out_;
    float *share_;
    void walk_along(int axis);

    Buffer<float> converted_;
    Buffer<unsigned char> copied_;
};

}  // namespace vm
