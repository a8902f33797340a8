// Carrying images through a transform: vm_carry, vm_places, vm_offsets, vm_affine_resample.
#include <algorithm>
#include <vector>

#include "check.h"
#include "error.h"
#include "look.h"
#include "map.h"
#include "sight.h"
#include "structs.h"
#include "threads.h"

namespace vm {

namespace {

// Voxels beyond a voxel that an interpolation may look, with one to spare for rounding.
constexpr double REACH = 2;

constexpr int64_t GRAIN = 1 << 15;  // voxels of a task

std::vector<Look> looks_of(const vm_look *looks, size_t count) {
    require(looks, "looks");
    if (count < 1 || count > 4096) {
        throw argument_error("count is " + std::to_string(count) + "; it lies between 1 and 4096");
    }
    std::vector<Look> result;
    const char *next = reinterpret_cast<const char *>(looks);
    for (size_t i = 0; i < count; ++i) {
        const auto *given = reinterpret_cast<const vm_look *>(next);
        const size_t least = offsetof(vm_look, share) + sizeof given->share;
        result.emplace_back(copied(given, least, "look"));
        if (result[i].shape() != result[0].shape()) {
            throw argument_error("looks differ in shape; carry volumes of one grid together");
        }
        next += looks->struct_size;
    }
    return result;
}

// Calls body(d, h) for all rows of a shape.
template <typename Body>
void over_rows(const Shape &shape, int threads, Body &&body) {
    const int64_t rows = std::max<int64_t>(1, GRAIN / shape[2]);
    parallel_ranges(shape[0] * shape[1], rows, threads, [&](int64_t first, int64_t last) {
        RowSpace space(shape[2]);
        for (int64_t row = first; row < last; ++row) {
            body(row / shape[1], row % shape[1], space);
        }
    });
}

// Finds every place, which is cheap where no displacement is interpolated, and looks only where some
// place of a block sees anything.
void carry_where_sighted(const Map &map, std::vector<Look> &looks, int threads) {
    const Shape &shape = map.shape();
    const int64_t width = shape[2];
    Sight sight(looks[0].shape());
    for (Look &look : looks) look.show(sight, threads);
    sight.finish();
    over_rows(shape, threads, [&](int64_t d, int64_t h, RowSpace &space) {
        const int64_t start = (d * shape[1] + h) * width;
        map.row(d, h, 0, width, space);
        sight.look_along(width, space);
        over_runs(space.blocks, width, [&](int64_t first, int64_t count, bool any) {
            const float *const places[3] = {space.places[0] + first, space.places[1] + first,
                                            space.places[2] + first};
            for (const Look &look : looks) {
                if (any) {
                    look.row(places, start + first, count, space.weight);
                } else {
                    look.zeros(start + first, count);
                }
            }
        });
    });
}

void carry(const vm_map *given, const vm_look *given_looks, size_t count, int32_t number) {
    const int threads = thread_count(number);
    const int along = Map(given).along_width();
    std::vector<Look> looks = looks_of(given_looks, count);
    // Scans are mostly background: leaving that out halves the work, and more.
    std::array<int64_t, 6> box = looks[0].bounds(threads);
    for (size_t i = 1; i < count; ++i) {
        const auto other = looks[i].bounds(threads);
        if (!other[1]) continue;
        for (int axis = 0; axis < 3; ++axis) {
            int64_t *bounds = &box[2 * axis];
            bounds[0] = bounds[1] ? std::min(bounds[0], other[2 * axis]) : other[2 * axis];
            bounds[1] = std::max(bounds[1], other[2 * axis + 1]);
        }
    }
    const bool empty = !box[1];
    if (empty) box = {0, 1, 0, 1, 0, 1};
    for (Look &look : looks) look.restrict_to(box, along, threads);
    const Map map(given, {box[0], box[2], box[4]});
    const Shape &shape = map.shape();
    const Shape &seen = looks[0].shape();
    if (map.same_voxels() && !empty) {
        carry_where_sighted(map, looks, threads);
        return;
    }
    std::array<int64_t, 6> part{};
    if (!empty) part = map.box_that_sees({0, seen[0], 0, seen[1], 0, seen[2]}, REACH, threads);

    over_rows(shape, threads, [&](int64_t d, int64_t h, RowSpace &space) {
        const int64_t start = (d * shape[1] + h) * shape[2];
        const bool nothing = d < part[0] || d >= part[1] || h < part[2] || h >= part[3];
        const int64_t first = nothing ? shape[2] : std::min(part[4], shape[2]);
        const int64_t last = nothing ? shape[2] : std::max(first, part[5]);
        if (first < last) map.row(d, h, first, last - first, space);
        for (const Look &look : looks) {
            look.zeros(start, first);
            if (first < last) {
                look.row(space.places.data(), start + first, last - first, space.weight);
            }
            look.zeros(start + last, shape[2] - last);
        }
    });
}

void places(const vm_map *given, int64_t first, int64_t last, float *out, int32_t number) {
    const int threads = thread_count(number);
    require(out, "out");
    const Map map(given);
    const Shape shape = map.shape();
    if (first < 0 || last > shape[0] || first >= last) {
        throw argument_error("planes " + std::to_string(first) + " to " + std::to_string(last) +
                             " do not lie in an output of " + std::to_string(shape[0]));
    }
    const Shape slab = {last - first, shape[1], shape[2]};
    over_rows(slab, threads, [&](int64_t d, int64_t h, RowSpace &space) {
        map.row(first + d, h, 0, shape[2], space);
        for (int axis = 0; axis < 3; ++axis) {
            std::copy_n(space.places[axis], shape[2],
                        out + axis * voxels(slab) + (d * shape[1] + h) * shape[2]);
        }
    });
}

void offsets(const vm_map *given, const double *given_here, float *out, int32_t number) {
    const int threads = thread_count(number);
    require(out, "out");
    const Map map(given);
    const Shape shape = map.shape();
    const AffineRows here(checked_matrix(given_here, "here"), shape);
    over_rows(shape, threads, [&](int64_t d, int64_t h, RowSpace &space) {
        map.row(d, h, 0, shape[2], space);
        here.row(d, h, 0, shape[2], space.inside.data());
        float *to = out + (d * shape[1] + h) * shape[2] * 3;
        for (int axis = 0; axis < 3; ++axis) {
            const float *a = space.places[axis], *b = space.inside[axis];
            for (int64_t i = 0; i < shape[2]; ++i) to[3 * i + axis] = a[i] - b[i];
        }
    });
}

}  // namespace

}  // namespace vm

vm_status vm_carry(const vm_map *map, const vm_look *looks, size_t count, int32_t threads) {
    return vm::guarded("vm_carry", [&] { vm::carry(map, looks, count, threads); });
}

vm_status vm_places(const vm_map *map, int64_t first, int64_t last, float *out, int32_t threads) {
    return vm::guarded("vm_places", [&] { vm::places(map, first, last, out, threads); });
}

vm_status vm_offsets(const vm_map *map, const double here[12], float *out, int32_t threads) {
    return vm::guarded("vm_offsets", [&] { vm::offsets(map, here, out, threads); });
}

vm_status vm_affine_resample(const vm_look *look, const double matrix[12], const int64_t shape[3],
                             int32_t threads) {
    return vm::guarded("vm_affine_resample", [&] {
        const auto affine = vm::checked_matrix(matrix, "matrix");
        const auto checked = vm::checked_shape(shape, "shape");
        vm_map map{};
        map.struct_size = sizeof map;
        std::copy_n(checked.data(), 3, map.shape);
        for (int i = 0; i < 3; ++i) map.to_model[5 * i] = 1;
        std::copy_n(affine.data(), 12, map.to_moving);
        vm::carry(&map, look, 1, threads);
    });
}
