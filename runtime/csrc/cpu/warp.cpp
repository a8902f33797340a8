// Warping and composition: vm_warp, vm_compose.
#include <algorithm>
#include <vector>

#include "check.h"
#include "convert.h"
#include "error.h"
#include "map.h"
#include "threads.h"

namespace vm {

namespace {

constexpr int64_t GRAIN = 1 << 15;  // voxels of a task

// Places x + u(x) of a row, padded.
void displaced_row(const float *displacement, const Shape &shape, int64_t row, RowSpace &space) {
    const float index[3] = {float(row / shape[1]), float(row % shape[1]), 0.0f};
    for (int axis = 0; axis < 3; ++axis) {
        const float *u = displacement + axis * voxels(shape) + row * shape[2];
        rows().displace(u, index[axis], axis == 2, shape[2], space.places[axis]);
    }
    pad(space.places.data(), shape[2]);
}

void warp(const void *volume, vm_type type, int64_t channels, const int64_t *volume_shape,
          const float *displacement, const int64_t *out_shape, vm_mode mode, void *out,
          float *share, int32_t number) {
    const int threads = thread_count(number);
    require(volume, "volume");
    require(displacement, "displacement");
    require(out, "out");
    const Shape inside = checked_shape(volume_shape, "volume_shape");
    const Shape shape = checked_shape(out_shape, "shape");
    check_channels(channels, inside);
    check_channels(channels, shape);
    const int64_t size = size_of(type);
    check_mode(mode, type);
    const Layout layout = layout_of(inside);
    Buffer<float> converted;
    if (mode == VM_LINEAR && type != VM_F32) {
        converted = Buffer<float>(size_t(channels * voxels(inside)));
        const int64_t box[6] = {0, inside[0], 0, inside[1], 0, inside[2]};
        for (int64_t c = 0; c < channels; ++c) {
            to_float(static_cast<const char *>(volume) + c * voxels(inside) * size, type, layout,
                     box, converted.data() + c * voxels(inside), threads);
        }
        volume = converted.data();
    }
    const int log2_size = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    const int64_t grain = std::max<int64_t>(1, GRAIN / shape[2]);
    parallel_ranges(shape[0] * shape[1], grain, threads, [&](int64_t first, int64_t last) {
        RowSpace space(shape[2]);
        std::vector<float *> to(static_cast<size_t>(channels));
        Buffer<float> values(mode == VM_LINEAR && type == VM_F16 ? channels * shape[2] : 0);
        for (int64_t row = first; row < last; ++row) {
            displaced_row(displacement, shape, row, space);
            const float *const *places = space.places.data();
            for (int64_t c = 0; c < channels; ++c) {
                const int64_t start = c * voxels(shape) + row * shape[2];
                const char *from = static_cast<const char *>(volume) + c * voxels(inside) * size;
                char *at = static_cast<char *>(out) + start * size;
                if (mode == VM_LABEL) {
                    rows().vote(from, type, layout, places, shape[2], at,
                                share ? share + start : nullptr);
                } else if (mode == VM_NEAREST) {
                    rows().nearest(from, log2_size, layout, places, shape[2], at);
                } else {
                    to[c] = type == VM_F16 ? values.data() + c * shape[2]
                                           : static_cast<float *>(out) + start;
                }
            }
            if (mode != VM_LINEAR) continue;
            rows().linear(static_cast<const float *>(volume), voxels(inside), channels, layout,
                          places, shape[2], to.data());
            for (int64_t c = 0; type == VM_F16 && c < channels; ++c) {
                to_half(to[c], shape[2],
                        static_cast<uint16_t *>(out) + c * voxels(shape) + row * shape[2], 1);
            }
        }
    });
}

// out = v + u(x + v(x)); u and v may be the same.
void compose(const float *u, const Shape &u_shape, const float *v, const Shape &shape, float *out,
             int threads) {
    const Layout layout = layout_of(u_shape);
    const int64_t grain = std::max<int64_t>(1, GRAIN / shape[2] / 2);
    parallel_ranges(shape[0] * shape[1], grain, threads, [&](int64_t first, int64_t last) {
        RowSpace space(shape[2]);
        for (int64_t row = first; row < last; ++row) {
            displaced_row(v, shape, row, space);
            rows().linear(u, voxels(u_shape), 3, layout, space.places.data(), shape[2],
                          space.steps.data());
            for (int axis = 0; axis < 3; ++axis) {
                const int64_t start = axis * voxels(shape) + row * shape[2];
                const float *own = v + start, *step = space.steps[axis];
                float *to = out + start;
                for (int64_t i = 0; i < shape[2]; ++i) to[i] = own[i] + step[i];
            }
        }
    });
}

}  // namespace

}  // namespace vm

vm_status vm_warp(const void *volume, vm_type type, int64_t channels,
                  const int64_t volume_shape[3], const float *displacement,
                  const int64_t shape[3], vm_mode mode, void *out, float *share,
                  int32_t threads) {
    return vm::guarded("vm_warp", [&] {
        vm::warp(volume, type, channels, volume_shape, displacement, shape, mode, out, share,
                 threads);
    });
}

vm_status vm_compose(const float *u, const int64_t u_shape[3], const float *v,
                     const int64_t shape[3], float *out, int32_t threads) {
    return vm::guarded("vm_compose", [&] {
        const int number = vm::thread_count(threads);
        vm::require(u, "u");
        vm::require(v, "v");
        vm::require(out, "out");
        const vm::Shape inner = vm::checked_shape(u_shape, "u_shape");
        const vm::Shape outer = vm::checked_shape(shape, "shape");
        vm::check_channels(3, inner);
        vm::check_channels(3, outer);
        vm::compose(u, inner, v, outer, out, number);
    });
}
