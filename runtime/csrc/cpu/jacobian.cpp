// The determinant of a deformation's Jacobian: vm_jacobian_determinant.
#include <algorithm>

#include "error.h"
#include "rows.h"
#include "slopes.h"
#include "threads.h"

namespace vm {

SlopeSpace::SlopeSpace(int64_t width) : memory_(size_t(9 * padded(width))) {
    for (int i = 0; i < 9; ++i) slopes[i] = memory_.data() + i * padded(width);
}

void SlopeSpace::row(const float *field, const Shape &shape, int64_t d, int64_t h) {
    const int64_t width = shape[2], plane = shape[1] * width;
    const int64_t up = d > 0, down = d < shape[0] - 1, left = h > 0, right = h < shape[1] - 1;
    const float across_d = up && down ? 0.5f : 1.0f, across_h = left && right ? 0.5f : 1.0f;
    for (int component = 0; component < 3; ++component) {
        const float *row = field + component * voxels(shape) + d * plane + h * width;
        float *const *out = slopes + 3 * component;
        rows().slope_across(row - up * plane, row + down * plane, across_d, width, out[0]);
        rows().slope_across(row - left * width, row + right * width, across_h, width, out[1]);
        rows().slope_along(row, width, out[2]);
    }
}

namespace {

void jacobian(const float *displacement, const int64_t *given, float *out, int32_t number) {
    const int threads = thread_count(number);
    require(displacement, "displacement");
    require(out, "out");
    const Shape shape = checked_shape(given, "shape", 2);
    check_channels(3, shape);
    const int64_t grain = std::max<int64_t>(1, (1 << 15) / shape[2]);
    parallel_ranges(shape[0] * shape[1], grain, threads, [&](int64_t first, int64_t last) {
        SlopeSpace space(shape[2]);
        for (int64_t row = first; row < last; ++row) {
            space.row(displacement, shape, row / shape[1], row % shape[1]);
            rows().determinant(space.slopes, shape[2], out + row * shape[2]);
        }
    });
}

}  // namespace

}  // namespace vm

vm_status vm_jacobian_determinant(const float *displacement, const int64_t shape[3], float *out,
                                  int32_t threads) {
    return vm::guarded("vm_jacobian_determinant",
                       [&] { vm::jacobian(displacement, shape, out, threads); });
}
