// Resampling a field onto a finer or coarser grid of the same extent: vm_resize.
#include <algorithm>
#include <vector>

#include "buffer.h"
#include "check.h"
#include "error.h"
#include "rows.h"
#include "threads.h"

namespace vm {

namespace {

constexpr int64_t READ_AHEAD = 8;  // of Rows::expand

// Lower neighbours and fractions of the voxels of one axis; corner voxels stay at the corners.
struct Axis {
    std::vector<int32_t> low;
    std::vector<float> fraction;
    int32_t step;  // to the upper neighbour; 0 on an axis of one voxel

    Axis(int64_t from, int64_t to) : low(size_t(to)), fraction(size_t(to)), step(from > 1) {
        const double ratio = to > 1 ? double(from - 1) / double(to - 1) : 0;
        for (int64_t i = 0; i < to; ++i) {
            const double place = double(i) * ratio;
            // The last voxel belongs to the cell before it.
            low[i] = int32_t(std::min<int64_t>(int64_t(place), std::max<int64_t>(from - 2, 0)));
            fraction[i] = float(place - low[i]);
        }
    }
};

void resize(const float *field, int64_t channels, const int64_t *from, const int64_t *to,
            float scale, float *out, int32_t number) {
    const int threads = thread_count(number);
    require(field, "field");
    require(out, "out");
    const Shape small = checked_shape(from, "shape"), large = checked_shape(to, "out_shape");
    check_channels(channels, small);
    check_channels(channels, large);
    // Negated, so that NaN counts.
    if (!(scale > -3e38f && scale < 3e38f)) throw argument_error("scale is not finite");
    const Axis d(small[0], large[0]), h(small[1], large[1]), w(small[2], large[2]);
    const int64_t plane = small[1] * small[2];
    parallel_for(channels * large[0], threads, [&](int64_t task) {
        const int64_t channel = task / large[0], slice = task % large[0];
        Buffer<float> blended(static_cast<size_t>(plane + small[2] + READ_AHEAD));
        float *line = blended.data() + plane;
        const float *near = field + channel * voxels(small) + d.low[slice] * plane;
        rows().blend(near, near + d.step * plane, d.fraction[slice], plane, blended.data());
        for (int64_t i = 0; i < plane; ++i) blended[i] *= scale;
        for (int64_t i = 0; i < large[1]; ++i) {
            const float *row = blended.data() + h.low[i] * small[2];
            rows().blend(row, row + h.step * small[2], h.fraction[i], small[2], line);
            rows().expand(line, w.low.data(), w.fraction.data(), w.step, large[2],
                          out + task * large[1] * large[2] + i * large[2]);
        }
    });
}

}  // namespace

}  // namespace vm

vm_status vm_resize(const float *field, int64_t channels, const int64_t shape[3],
                    const int64_t out_shape[3], float scale, float *out, int32_t threads) {
    return vm::guarded("vm_resize", [&] {
        vm::resize(field, channels, shape, out_shape, scale, out, threads);
    });
}
