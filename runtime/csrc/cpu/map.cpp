#include "map.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "error.h"
#include "structs.h"
#include "threads.h"

namespace vm {

namespace {

// Voxels per voxel; factors closer than this to 0 or 1 are taken as such, as in mapping.py.
constexpr double NEGLIGIBLE = 1e-9;

// Voxels that a voxel may lie off another one's centre and still be it.
constexpr double SAME_VOXEL = 1e-3;

double at(const Matrix &m, int row, int column) { return m[4 * row + column]; }

}  // namespace

Matrix product(const Matrix &a, const Matrix &b) {
    Matrix c;
    for (int row = 0; row < 3; ++row) {
        for (int column = 0; column < 4; ++column) {
            double sum = column == 3 ? at(a, row, 3) : 0;
            for (int k = 0; k < 3; ++k) sum += at(a, row, k) * at(b, k, column);
            c[4 * row + column] = sum;
        }
    }
    return c;
}

bool inverse_of(const Matrix &m, Matrix &inverse) {
    double scale = 0;
    for (int row = 0; row < 3; ++row) {
        for (int column = 0; column < 3; ++column) {
            scale = std::max(scale, std::abs(at(m, row, column)));
        }
    }
    double cofactor[3][3];
    for (int row = 0; row < 3; ++row) {
        for (int column = 0; column < 3; ++column) {
            const int r = (row + 1) % 3, s = (row + 2) % 3;
            const int c = (column + 1) % 3, e = (column + 2) % 3;
            cofactor[row][column] = at(m, r, c) * at(m, s, e) - at(m, r, e) * at(m, s, c);
        }
    }
    double determinant = 0;
    for (int k = 0; k < 3; ++k) determinant += at(m, 0, k) * cofactor[0][k];
    if (!(std::abs(determinant) > 1e-12 * scale * scale * scale)) return false;
    for (int row = 0; row < 3; ++row) {
        double offset = 0;
        for (int column = 0; column < 3; ++column) {
            inverse[4 * row + column] = cofactor[column][row] / determinant;
            offset -= inverse[4 * row + column] * at(m, column, 3);
        }
        inverse[4 * row + 3] = offset;
    }
    return true;
}

Factors factors_of(const Matrix &matrix) {
    Factors result;
    for (int row = 0; row < 3; ++row) {
        for (int axis = 0; axis < 3; ++axis) {
            const double factor = at(matrix, row, axis);
            result.factor[row][axis] = std::abs(factor) <= NEGLIGIBLE      ? 0.0f
                                       : std::abs(factor - 1) < NEGLIGIBLE ? 1.0f
                                                                           : float(factor);
        }
        const double offset = at(matrix, row, 3);
        result.offset[row] = std::abs(offset) > NEGLIGIBLE ? float(offset) : 0.0f;
    }
    return result;
}

void pad(float *const *places, int64_t count) {
    for (int axis = 0; axis < 3; ++axis) {
        std::fill(places[axis] + count, places[axis] + padded(count), places[axis][count - 1]);
    }
}

Layout layout_of(const Shape &shape) {
    Layout layout;
    for (int axis = 0; axis < 3; ++axis) layout.shape[axis] = int32_t(shape[axis]);
    layout.strides[0] = shape[1] * shape[2];
    layout.strides[1] = shape[2];
    layout.strides[2] = 1;
    return layout;
}

AffineRows::AffineRows(const Matrix &matrix, const Shape &shape) : matrix_(matrix) {
    for (int row = 0; row < 3; ++row) {
        lines_[row].resize(size_t(shape[2]));
        for (int64_t i = 0; i < shape[2]; ++i) lines_[row][i] = at(matrix, row, 2) * double(i);
    }
}

void AffineRows::row(int64_t d, int64_t h, int64_t first, int64_t count,
                     float *const *places) const {
    for (int axis = 0; axis < 3; ++axis) {
        const float start = float(at(matrix_, axis, 0) * double(d) + at(matrix_, axis, 3));
        rows().affine(lines_[axis].data() + first, at(matrix_, axis, 1) * double(h), start, count,
                      places[axis]);
    }
}

RowSpace::RowSpace(int64_t width)
    : blocks(size_t(padded(width) / BLOCK)),
      memory_(size_t(padded(width) * 10)) {
    float *next = memory_.data();
    for (auto *group : {&places, &inside, &steps}) {
        for (float *&row : *group) {
            row = next;
            next += padded(width);
        }
    }
    weight = next;
}

void displace_row(const float *displacement, const Layout &layout, int64_t count,
                  RowSpace &space) {
    const int64_t channel = int64_t(layout.shape[0]) * layout.strides[0];
    float *const *places = space.places.data();
    const int state =
        rows().fade(layout.shape, places, count, space.inside.data(), space.weight);
    if (state == 2) return;
    float *const *from = state == 0 ? places : space.inside.data();
    pad(from, count);
    rows().linear(displacement, channel, 3, layout, from, count, space.steps.data());
    for (int axis = 0; axis < 3; ++axis) {
        float *x = places[axis];
        const float *step = space.steps[axis], *weight = space.weight;
        if (state == 0) {
            for (int64_t i = 0; i < count; ++i) x[i] += step[i];
        } else {
            for (int64_t i = 0; i < count; ++i) x[i] += step[i] * weight[i];
        }
    }
}

Map::Map(const vm_map *given, const Shape &origin) {
    require(given, "map");
    const vm_map map = copied(given, offsetof(vm_map, to_moving) + sizeof given->to_moving, "map");
    shape_ = checked_shape(map.shape, "map.shape");
    to_model_ = checked_matrix(map.to_model, "map.to_model");
    to_moving_ = checked_matrix(map.to_moving, "map.to_moving");
    for (int row = 0; row < 3; ++row) to_moving_[4 * row + 3] -= double(origin[row]);
    whole_ = product(to_moving_, to_model_);
    if (!map.displacement) {
        rows_ = AffineRows(whole_, shape_);
        return;
    }
    displacement_ = map.displacement;
    model_ = checked_shape(map.model_shape, "map.model_shape");
    layout_ = layout_of(model_);
    rows_ = AffineRows(to_model_, shape_);
    factors_ = factors_of(to_moving_);
    // Where both grids have the same voxels nothing need be interpolated.
    same_voxels_ = true;
    for (int row = 0; row < 3; ++row) {
        const double corner = std::rint(at(to_model_, row, 3));
        double off = std::abs(at(to_model_, row, 3) - corner);
        for (int axis = 0; axis < 3; ++axis) {
            off += std::abs(at(to_model_, row, axis) - (row == axis)) * double(shape_[axis]);
        }
        const bool inside =
            corner >= 0 && corner + double(shape_[row]) <= double(model_[row]);
        same_voxels_ = same_voxels_ && inside && off <= SAME_VOXEL;
        corner_[row] = inside ? int64_t(corner) : 0;
    }
    aligned_ = same_voxels_;
    for (int row = 0; row < 3; ++row) {
        const double off = at(to_model_, row, 3) - double(corner_[row]);
        aligned_ = aligned_ && std::abs(off) <= NEGLIGIBLE;
        for (int axis = 0; axis < 3; ++axis) {
            const double factor = at(to_model_, row, axis) - (row == axis);
            aligned_ = aligned_ && std::abs(factor) * double(shape_[axis]) <= NEGLIGIBLE &&
                       factors_.factor[row][axis] == float(row == axis);
        }
    }
}

int Map::along_width() const {
    int longest = 2;
    for (int row = 0; row < 2; ++row) {
        if (std::abs(at(whole_, row, 2)) > std::abs(at(whole_, longest, 2))) longest = row;
    }
    return longest;
}

void Map::row(int64_t d, int64_t h, int64_t first, int64_t count, RowSpace &space) const {
    float *const *places = space.places.data();
    if (aligned_) {
        const int64_t start = (corner_[0] + d) * layout_.strides[0] +
                              (corner_[1] + h) * layout_.strides[1] + corner_[2] + first;
        const int64_t index[3] = {d, h, first};
        for (int axis = 0; axis < 3; ++axis) {
            rows().displace(displacement_ + axis * voxels(model_) + start,
                            float(index[axis] + corner_[axis]), axis == 2, count, places[axis]);
            // Afterwards, so that a part of a volume gives the same bits as the whole.
            const float offset = factors_.offset[axis];
            for (int64_t i = 0; offset != 0 && i < count; ++i) places[axis][i] += offset;
        }
        pad(places, count);
        return;
    }
    rows_.row(d, h, first, count, places);
    if (displacement_) {
        if (same_voxels_) {
            const int64_t start = (corner_[0] + d) * layout_.strides[0] +
                                  (corner_[1] + h) * layout_.strides[1] + corner_[2] + first;
            for (int axis = 0; axis < 3; ++axis) {
                const float *u = displacement_ + axis * voxels(model_) + start;
                float *x = places[axis];
                for (int64_t i = 0; i < count; ++i) x[i] += u[i];
            }
        } else {
            displace_row(displacement_, layout_, count, space);
        }
        rows().multiply(factors_, count, places);
    }
    pad(places, count);
}

std::array<double, 3> Map::longest(int threads) const {
    std::array<double, 3> most{};
    std::mutex mutex;
    for (int axis = 0; axis < 3; ++axis) {
        const float *data = displacement_ + axis * voxels(model_);
        parallel_ranges(voxels(model_), 1 << 18, threads, [&](int64_t first, int64_t last) {
            float here = 0;
            bool finite = true;
            for (int64_t i = first; i < last; ++i) {
                const float length = std::fabs(data[i]);
                here = length > here ? length : here;
                finite = finite && length <= 3e38f;
            }
            std::lock_guard<std::mutex> lock(mutex);
            most[axis] = std::max(most[axis], finite ? double(here) : 1e300);
        });
    }
    return most;
}

std::array<int64_t, 6> Map::box_that_sees(const std::array<int64_t, 6> &seen, double reach,
                                          int threads) const {
    const std::array<int64_t, 6> everything = {0, shape_[0], 0, shape_[1], 0, shape_[2]};
    Matrix back, to_output;
    const Matrix &first = displacement_ ? to_moving_ : whole_;
    if (!inverse_of(first, back)) return everything;
    if (displacement_ && !inverse_of(to_model_, to_output)) return everything;

    // Bounds of a box's eight corners after an affine.
    const auto carried = [](const Matrix &m, const std::array<double, 6> &box) {
        std::array<double, 6> bounds;
        for (int row = 0; row < 3; ++row) {
            double low = at(m, row, 3), high = low;
            for (int axis = 0; axis < 3; ++axis) {
                const double a = at(m, row, axis) * box[2 * axis];
                const double b = at(m, row, axis) * box[2 * axis + 1];
                low += std::min(a, b);
                high += std::max(a, b);
            }
            bounds[2 * row] = low;
            bounds[2 * row + 1] = high;
        }
        return bounds;
    };
    std::array<double, 6> box;
    for (int axis = 0; axis < 3; ++axis) {
        box[2 * axis] = double(seen[2 * axis]) - reach;
        box[2 * axis + 1] = double(seen[2 * axis + 1]) - 1 + reach;
    }
    box = carried(back, box);
    if (displacement_) {
        // Whatever looks there lies at most the longest displacement away, along each axis.
        const auto most = longest(threads);
        for (int axis = 0; axis < 3; ++axis) {
            box[2 * axis] -= most[axis];
            box[2 * axis + 1] += most[axis];
        }
        box = carried(to_output, box);
    }
    std::array<int64_t, 6> bounds;
    for (int axis = 0; axis < 3; ++axis) {
        const double size = double(shape_[axis]);
        const double low = std::floor(box[2 * axis]), high = std::ceil(box[2 * axis + 1]) + 1;
        // Negated, so that NaN leaves everything.
        bounds[2 * axis] = !(low >= 0) ? 0 : int64_t(std::min(low, size));
        bounds[2 * axis + 1] = !(high <= size) ? shape_[axis] : int64_t(std::max(high, 0.0));
    }
    return bounds;
}

}  // namespace vm
