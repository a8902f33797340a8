// One volume to be looked up row by row.
#pragma once

#include <vector>

#include "buffer.h"
#include "check.h"
#include "rows.h"
#include "sight.h"

namespace vm {

class Look {
public:
    // Throws Error for what cannot be used.
    explicit Look(const vm_look &look);

    const Shape &shape() const { return shape_; }

    // Bounds {d0, d1, h0, h1, w0, w1} of what is not zero; all 0 where nothing is. Comes first.
    std::array<int64_t, 6> bounds(int threads);

    // From now on only this box counts, and places are counted from its corner. Rows of places run
    // mostly along the axis `along` of the volume.
    void restrict_to(const std::array<int64_t, 6> &box, int along, int threads);

    // Widens the lines of a Sight of this shape by what is not zero.
    void show(Sight &sight, int threads);

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
    void find_rows(int threads);

    Buffer<Extent> rows_;  // what is not zero of each row of the layout; empty where not known
    Buffer<float> converted_;
    Buffer<unsigned char> copied_;
};

}  // namespace vm
