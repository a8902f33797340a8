#include "look.h"

#include <algorithm>
#include <cstring>

#include "convert.h"
#include "error.h"

namespace vm {

constexpr int64_t WORTH_COPYING = 1 << 16;  // voxels; smaller volumes fit the cache

Look::Look(const vm_look &look)
    : data_(static_cast<const unsigned char *>(look.volume)),
      shape_(checked_shape(look.shape, "look.shape")),
      type_(look.type),
      mode_(look.mode),
      size_(size_of(look.type)),
      out_(static_cast<unsigned char *>(look.out)),
      share_(look.share) {
    require(look.volume, "look.volume");
    require(look.out, "look.out");
    check_mode(mode_, type_);
    const int64_t *strides = look.strides;
    Shape own = {shape_[1] * shape_[2], shape_[2], 1};
    if (strides[0] || strides[1] || strides[2]) {
        int64_t span = 0;
        for (int axis = 0; axis < 3; ++axis) {
            if (strides[axis] < 1 || strides[axis] > INT32_MAX) {
                throw argument_error("look.strides holds " + std::to_string(strides[axis]) +
                                     "; strides lie between 1 and 2^31 - 1, or are all 0");
            }
            own[axis] = strides[axis];
            if (shape_[axis] > 1 && strides[axis] > (INT32_MAX - span) / (shape_[axis] - 1)) {
                throw argument_error("look.strides span more than 2^31 - 1 elements; copy the "
                                     "volume into C order");
            }
            span += (shape_[axis] - 1) * strides[axis];
        }
    }
    // Neighbours in memory along the last axis are looked up together: a volume in Fortran order
    // is one in C order with its axes reversed.
    for (int axis = 0; axis < 3; ++axis) axes_[axis] = axis;
    std::stable_sort(axes_, axes_ + 3, [&](int a, int b) { return own[a] > own[b]; });
    for (int i = 0; i < 3; ++i) {
        layout_.shape[i] = int32_t(shape_[axes_[i]]);
        layout_.strides[i] = own[axes_[i]];
    }
}

void Look::find_rows(int threads) {
    rows_ = Buffer<Extent>(size_t(layout_.shape[0]) * size_t(layout_.shape[1]));
    nonzero_rows(data_, converted_ ? int64_t(sizeof(float)) : size_, layout_, rows_.data(),
                 threads);
}

std::array<int64_t, 6> Look::bounds(int threads) {
    find_rows(threads);
    Extent found[3];
    const Extent *row = rows_.data();
    for (int32_t i = 0; i < layout_.shape[0]; ++i) {
        for (int32_t j = 0; j < layout_.shape[1]; ++j, ++row) {
            if (!row->last) continue;
            found[0].widen({i, i + 1});
            found[1].widen({j, j + 1});
            found[2].widen(*row);
        }
    }
    std::array<int64_t, 6> result{};
    for (int i = 0; i < 3 && found[i].last; ++i) {
        result[2 * axes_[i]] = found[i].first;
        result[2 * axes_[i] + 1] = found[i].last;
    }
    return result;
}

// Puts an axis last in the order of the layout, whatever the order of memory; the others come as they
// do where that axis is the last of C or Fortran order, so that both give the same bits.
void Look::walk_along(int axis) {
    constexpr int ORDERS[3][3] = {{2, 1, 0}, {0, 2, 1}, {0, 1, 2}};
    Layout by_axis;
    for (int i = 0; i < 3; ++i) {
        by_axis.shape[axes_[i]] = layout_.shape[i];
        by_axis.strides[axes_[i]] = layout_.strides[i];
    }
    for (int i = 0; i < 3; ++i) {
        axes_[i] = ORDERS[axis][i];
        layout_.shape[i] = by_axis.shape[axes_[i]];
        layout_.strides[i] = by_axis.strides[axes_[i]];
    }
}

void Look::restrict_to(const std::array<int64_t, 6> &box, int along, int threads) {
    // Where rows run across what lies together in memory, each look-up would be in another line of
    // the cache, and often in the same few places of it.
    const bool across = axes_[2] != along && voxels(shape_) >= WORTH_COPYING;
    if (across) walk_along(along);
    int64_t inner[6];
    for (int i = 0; i < 3; ++i) {
        inner[2 * i] = box[2 * axes_[i]];
        inner[2 * i + 1] = box[2 * axes_[i] + 1];
    }
    if (mode_ == VM_LINEAR && !(type_ == VM_F32 && layout_.strides[2] == 1)) {
        Shape shape;
        for (int i = 0; i < 3; ++i) shape[i] = inner[2 * i + 1] - inner[2 * i];
        converted_ = Buffer<float>(size_t(voxels(shape)));
        to_float(data_, type_, layout_, inner, converted_.data(), threads);
        layout_.strides[0] = shape[1] * shape[2];
        layout_.strides[1] = shape[2];
        layout_.strides[2] = 1;
        data_ = reinterpret_cast<const unsigned char *>(converted_.data());
    } else if (across) {
        Shape shape;
        for (int i = 0; i < 3; ++i) shape[i] = inner[2 * i + 1] - inner[2 * i];
        copied_ = Buffer<unsigned char>(size_t(voxels(shape) * size_));
        to_c_order(data_, size_, layout_, inner, copied_.data(), threads);
        layout_.strides[0] = shape[1] * shape[2];
        layout_.strides[1] = shape[2];
        layout_.strides[2] = 1;
        data_ = copied_.data();
    } else {
        for (int i = 0; i < 3; ++i) data_ += inner[2 * i] * layout_.strides[i] * size_;
    }
    if (across) {
        rows_ = Buffer<Extent>();  // those were other rows
    } else {
        Extent *kept = rows_.data();
        for (int64_t i = inner[0]; i < inner[1]; ++i) {
            for (int64_t j = inner[2]; j < inner[3]; ++j, ++kept) {
                const Extent row = rows_[size_t(i * layout_.shape[1] + j)];
                const int32_t corner = int32_t(inner[4]);
                *kept = row.last ? Extent{row.first - corner, row.last - corner} : Extent{};
            }
        }
    }
    for (int i = 0; i < 3; ++i) {
        layout_.shape[i] = int32_t(inner[2 * i + 1] - inner[2 * i]);
        shape_[axes_[i]] = layout_.shape[i];
    }
}

void Look::show(Sight &sight, int threads) {
    if (!rows_.size()) find_rows(threads);
    const Extent *row = rows_.data();
    for (int32_t i = 0; i < layout_.shape[0]; ++i) {
        for (int32_t j = 0; j < layout_.shape[1]; ++j, ++row) {
            if (!row->last) continue;
            int32_t low[3], high[3];  // of this row, by the volume's axes
            const int32_t first[3] = {i, j, row->first}, last[3] = {i + 1, j + 1, row->last};
            for (int axis = 0; axis < 3; ++axis) {
                low[axes_[axis]] = first[axis];
                high[axes_[axis]] = last[axis];
            }
            for (int32_t d = low[0]; d < high[0]; ++d) {
                for (int32_t h = low[1]; h < high[1]; ++h) sight.line(d, h).widen({low[2], high[2]});
            }
        }
    }
}

void Look::row(Places places, int64_t start, int64_t count, float *row) const {
    const float *const ordered[3] = {places[axes_[0]], places[axes_[1]], places[axes_[2]]};
    if (mode_ == VM_LABEL) {
        rows().vote(data_, type_, layout_, ordered, count, out_ + start * size_,
                    share_ ? share_ + start : nullptr);
    } else if (mode_ == VM_NEAREST) {
        const int log2_size = size_ == 1 ? 0 : size_ == 2 ? 1 : size_ == 4 ? 2 : 3;
        rows().nearest(data_, log2_size, layout_, ordered, count, out_ + start * size_);
    } else {
        const bool half = type_ == VM_F16;
        float *to = half ? row : reinterpret_cast<float *>(out_) + start;
        rows().linear(reinterpret_cast<const float *>(data_), 0, 1, layout_, ordered, count, &to);
        if (half) to_half(to, count, reinterpret_cast<uint16_t *>(out_) + start, 1);
    }
}

void Look::zeros(int64_t start, int64_t count) const {
    const int64_t size = mode_ == VM_LINEAR ? (type_ == VM_F16 ? 2 : 4) : size_;
    std::memset(out_ + start * size, 0, size_t(count * size));
    if (mode_ == VM_LABEL && share_) std::fill(share_ + start, share_ + start + count, 1.0f);
}

}  // namespace vm
