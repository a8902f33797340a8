// Scaling and squaring: vm_integrate.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "error.h"
#include "framed.h"
#include "map.h"
#include "threads.h"

namespace vm {

namespace {

constexpr int64_t GRAIN = 1 << 14;  // voxels of a task

using Rows3 = std::array<float *, 3>;

Rows3 rows_of(FramedField &field, int64_t d, int64_t h) {
    return {field.row(0, d, h), field.row(1, d, h), field.row(2, d, h)};
}

// v(x + v(x)) for one row, into space.steps.
void look_up_own(FramedField &field, int64_t d, int64_t h, const Rows3 &own, RowSpace &space) {
    const int64_t width = field.layout().shape[2];
    rows().nearby(field.around(d, h), own.data(), space.steps.data(), width, space.blocks.data());
    over_runs(space.blocks, width, [&](int64_t first, int64_t count, bool done) {
        if (done) return;
        const float index[3] = {float(d), float(h), float(first)};
        for (int axis = 0; axis < 3; ++axis) {
            rows().displace(own[axis] + first, index[axis], axis == 2, count, space.places[axis]);
        }
        pad(space.places.data(), count);
        float *const steps[3] = {space.steps[0] + first, space.steps[1] + first,
                                 space.steps[2] + first};
        rows().linear(field.data(), field.channel_stride(), 3, field.layout(),
                      space.places.data(), count, steps);
    });
}

void integrate(const float *velocity, const int64_t *given_shape, int32_t steps, float *out,
               int32_t number) {
    const int threads = thread_count(number);
    require(velocity, "velocity");
    require(out, "out");
    const Shape shape = checked_shape(given_shape, "shape");
    check_channels(3, shape);
    if (steps < 0 || steps > 30) {
        throw argument_error("steps is " + std::to_string(steps) + "; it lies between 0 and 30");
    }
    const int64_t count = voxels(shape), width = shape[2];
    if (steps == 0) {
        std::memmove(out, velocity, size_t(3 * count) * sizeof(float));
        return;
    }
    const int64_t grain = std::max<int64_t>(1, GRAIN / width);
    FramedField from(shape, threads), to(shape, threads);
    const float scale = std::ldexp(1.0f, -steps);
    parallel_ranges(shape[0] * shape[1], grain, threads, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
            const Rows3 scaled = rows_of(from, row / shape[1], row % shape[1]);
            for (int axis = 0; axis < 3; ++axis) {
                const float *v = velocity + axis * count + row * width;
                for (int64_t i = 0; i < width; ++i) scaled[axis][i] = v[i] * scale;
            }
        }
    });
    for (int32_t step = 1; step <= steps; ++step) {
        parallel_ranges(shape[0] * shape[1], grain, threads, [&](int64_t first, int64_t last) {
            RowSpace space(width);
            for (int64_t row = first; row < last; ++row) {
                const int64_t d = row / shape[1], h = row % shape[1];
                const Rows3 own = rows_of(from, d, h);
                look_up_own(from, d, h, own, space);
                Rows3 sums = rows_of(to, d, h);
                for (int axis = 0; axis < 3; ++axis) {
                    float *sum = step < steps ? sums[axis] : out + axis * count + row * width;
                    const float *a = own[axis], *b = space.steps[axis];
                    for (int64_t i = 0; i < width; ++i) sum[i] = a[i] + b[i];
                }
            }
        });
        std::swap(from, to);
    }
}

}  // namespace

FramedField::FramedField(const Shape &shape, int threads) : layout_(layout_of(shape)) {
    const int64_t width = padded(shape[2]) + BLOCK;
    layout_.strides[0] = shape[1] * width;
    layout_.strides[1] = width;
    const int64_t all = 3 * shape[0] * shape[1];
    memory_ = Buffer<float>(size_t(all * width + 2 * BLOCK));
    zeros_ = Buffer<float>(size_t(width + 2 * BLOCK));
    std::fill(zeros_.data(), zeros_.data() + zeros_.size(), 0.0f);
    std::fill(memory_.data(), memory_.data() + BLOCK, 0.0f);
    parallel_ranges(all, std::max<int64_t>(1, GRAIN / width), threads,
                    [&](int64_t first, int64_t last) {
                        for (int64_t row = first; row < last; ++row) {
                            float *start = memory_.data() + BLOCK + row * width;
                            std::fill(start + shape[2], start + width, 0.0f);
                        }
                    });
}

FramedRows FramedField::around(int64_t d, int64_t h) {
    FramedRows found;
    const int64_t plane = layout_.strides[0], line = layout_.strides[1];
    const bool inside = d > 0 && d + 1 < layout_.shape[0] && h > 0 && h + 1 < layout_.shape[1];
    for (int channel = 0; channel < 3; ++channel) {
        const float *const own = row(channel, d, h);
        for (int64_t i = -1; i <= 1; ++i) {
            for (int64_t j = -1; j <= 1; ++j) {
                const bool there = inside || (d + i >= 0 && d + i < layout_.shape[0] &&
                                              h + j >= 0 && h + j < layout_.shape[1]);
                found.rows[channel][i + 1][j + 1] =
                    there ? own + i * plane + j * line : zeros_.data() + BLOCK;
            }
        }
    }
    return found;
}

}  // namespace vm

vm_status vm_integrate(const float *velocity, const int64_t shape[3], int32_t steps, float *out,
                       int32_t threads) {
    return vm::guarded("vm_integrate",
                       [&] { vm::integrate(velocity, shape, steps, out, threads); });
}
