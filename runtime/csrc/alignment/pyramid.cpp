#include "alignment/pyramid.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "alignment/block_means.h"
#include "cpu/convert.h"
#include "cpu/threads.h"

namespace vm::alignment {

namespace {

// Step of the coarsest level for a field of view of a head; the next two have a half and a quarter.
constexpr double coarse_mm = 8;
// A field of view that is smaller than this many coarse steps (a phantom, a mouse) gets finer ones.
constexpr double coarse_steps_across = 20;

constexpr double low_percentile = 10, high_percentile = 99.5;
constexpr double least_share_of_maximum = 0.3;

// As numpy's default method has it; changes the order of the values.
double percentile(std::vector<float> &values, double percent) {
    const double position = static_cast<double>(values.size() - 1) * (percent / 100);
    const auto rank = static_cast<std::ptrdiff_t>(std::floor(position));
    const double share = position - static_cast<double>(rank);
    const auto at = values.begin() + rank;
    std::nth_element(values.begin(), at, values.end());
    const float low = *at;
    const float high = at + 1 == values.end() ? low : *std::min_element(at + 1, values.end());
    const auto step = static_cast<double>(high - low);
    return share < 0.5 ? low + step * share : high - step * (1 - share);
}

struct Range {
    double background, contrast;  // how far above it the foreground reaches
};

Range intensity_range(const Buffer<float> &mean) {
    std::vector<float> values(mean.data(), mean.data() + mean.size());
    const double low = percentile(values, low_percentile);
    const double high = percentile(values, high_percentile);
    // Something so small in its field of view that it lies above the percentile altogether.
    const double most = *std::max_element(values.begin(), values.end());
    return {low, std::max(high - low, least_share_of_maximum * (most - low))};
}

// Axes of the caller's array, the one with the longest strides first.
std::array<std::size_t, 3> order_of_memory(const vm_image &image) {
    std::array<std::size_t, 3> order{0, 1, 2};
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return image.strides[a] > image.strides[b];
    });
    return order;
}

// The scan along its memory: axes turned, without a copy where that is possible.
Level native_level(const Scan &scan, Buffer<float> &copy, int threads) {
    const std::array<std::size_t, 3> order = order_of_memory(scan.given);
    Level level;
    Layout layout{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        level.shape[axis] = scan.grid.shape[order[axis]];
        layout.shape[axis] = static_cast<std::int32_t>(level.shape[axis]);
        layout.strides[axis] = scan.given.strides[order[axis]];
        for (std::size_t row = 0; row < 3; ++row)
            level.affine[row * 4 + axis] = scan.grid.affine[row * 4 + order[axis]];
    }
    for (std::size_t row = 0; row < 3; ++row)
        level.affine[row * 4 + 3] = scan.grid.affine[row * 4 + 3];
    level.data = scan.values.data();
    if (order[0] != 0 || order[1] != 1) {
        copy = Buffer<float>(scan.values.size());
        const std::int64_t box[6] = {0, level.shape[0], 0, level.shape[1], 0, level.shape[2]};
        to_float(scan.given.data, scan.given.type, layout, box, copy.data(), threads);
        level.data = copy.data();
    }
    return level;
}

// Means over blocks that have about this size in mm.
Level reduced(const Level &finer, double step, Buffer<float> &mean, int threads) {
    Level level;
    Shape block{};
    Matrix to_finer{};  // index of a block to index of its centre
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const double x = finer.affine[axis], y = finer.affine[4 + axis], z = finer.affine[8 + axis];
        const double size = std::sqrt(x * x + y * y + z * z);
        // Halves to the even number, as Python rounds. The limit is for slices that hardly have a
        // thickness.
        const double number = std::min(std::nearbyint(step / size), 1e6);
        block[axis] = std::max<std::int64_t>(1, static_cast<std::int64_t>(number));
        to_finer[axis * 5] = static_cast<double>(block[axis]);
        to_finer[axis * 4 + 3] = static_cast<double>(block[axis] - 1) / 2;
        level.block[axis] = finer.block[axis] * block[axis];
    }
    level.shape = blocks_in(finer.shape, block);
    level.affine = finer.affine * to_finer;
    mean = block_means(finer.data, finer.shape, block, threads);
    level.data = mean.data();
    return level;
}

void scale(Buffer<float> &values, const Level &range, int threads) {
    parallel_ranges(static_cast<std::int64_t>(values.size()), 1 << 16, threads,
                    [&](std::int64_t first, std::int64_t last) {
                        float *data = values.data();
                        for (std::int64_t i = first; i < last; ++i) data[i] = range.scaled(data[i]);
                    });
}

}  // namespace

double coarse_step(const Grid &one, const Grid &other) {
    double least = coarse_mm * coarse_steps_across;
    for (const Grid *grid : {&one, &other}) {
        std::array<double, 3> extent = grid->voxel_size();
        for (std::size_t axis = 0; axis < 3; ++axis)
            extent[axis] = static_cast<double>(grid->shape[axis]) * extent[axis];
        // The middle one of the three extents: few slices of a head are still a head.
        std::sort(extent.begin(), extent.end());
        least = std::min(least, extent[1]);
    }
    return std::min(coarse_mm, least / coarse_steps_across);
}

Pyramid pyramid_of(const Scan &scan, double coarse, int threads) {
    Pyramid pyramid;
    pyramid.levels[3] = native_level(scan, pyramid.native, threads);
    for (std::size_t number = 3; number-- > 0;)
        pyramid.levels[number] =
            reduced(pyramid.levels[number + 1], coarse / static_cast<double>(1 << number),
                    pyramid.means[number], threads);

    const Range range = intensity_range(pyramid.means[0]);
    pyramid.usable = std::isfinite(range.contrast) && range.contrast > 0;
    if (!pyramid.usable) return pyramid;
    Level &native = pyramid.levels[3];
    native.offset = static_cast<float>(range.background);
    native.gain = static_cast<float>(1 / range.contrast);
    for (std::size_t number = 0; number < 3; ++number) {
        Buffer<float> &mean = pyramid.means[number];
        Level &level = pyramid.levels[number];
        scale(mean, native, threads);
        // The finest mean stays as sharp as the scan itself: smoothing it costs accuracy.
        if (number < 2) mean = smoothed(mean.data(), level.shape, threads);
        level.data = mean.data();
    }
    pyramid.coarse_foreground = brighter_than(pyramid.levels[0], foreground_intensity);
    pyramid.foreground = brighter_than(pyramid.levels[1], foreground_intensity);
    pyramid.usable = pyramid.coarse_foreground.any();
    return pyramid;
}

}  // namespace vm::alignment
