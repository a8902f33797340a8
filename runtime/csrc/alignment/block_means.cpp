#include "alignment/block_means.h"

#include <algorithm>

#include "cpu/threads.h"

namespace vm::alignment {

namespace {

constexpr std::int64_t longest_repetition = 1000;

// A block is summed up number by number, as numpy does, but for what would repeat the last one very
// often: a scan of a few slices that lie micrometres apart.
struct Part {
    std::int64_t single;
    float rest;
};

Part part_of(std::int64_t first, std::int64_t size, std::int64_t block) {
    const std::int64_t single = std::min(block, size - first + longest_repetition);
    return {single, static_cast<float>(block - single)};
}

// Sum of planes, each of `count` voxels, over their number.
void mean_plane(const float *planes, std::int64_t number, std::int64_t count, float *mean) {
    std::copy(planes, planes + count, mean);
    for (std::int64_t k = 1; k < number; ++k) {
        const float *plane = planes + k * count;
        for (std::int64_t i = 0; i < count; ++i) mean[i] += plane[i];
    }
    const auto divisor = static_cast<float>(number);
    for (std::int64_t i = 0; i < count; ++i) mean[i] /= divisor;
}

// Means over blocks of rows of a plane (rows, width).
void mean_rows(const float *plane, std::int64_t rows, std::int64_t width, std::int64_t block,
               float *means) {
    const float share = 1.0f / static_cast<float>(block);
    for (std::int64_t first = 0; first < rows; first += block, means += width) {
        std::copy(plane + first * width, plane + (first + 1) * width, means);
        if (block == 1) continue;
        const Part part = part_of(first, rows, block);
        for (std::int64_t k = 1; k < part.single; ++k) {
            const float *other = plane + std::min(first + k, rows - 1) * width;
            for (std::int64_t i = 0; i < width; ++i) means[i] += other[i];
        }
        const float *last = plane + (rows - 1) * width;
        if (part.rest > 0)
            for (std::int64_t i = 0; i < width; ++i) means[i] += part.rest * last[i];
        for (std::int64_t i = 0; i < width; ++i) means[i] *= share;
    }
}

// Means over blocks along a row.
void mean_along(const float *row, std::int64_t width, std::int64_t block, float *mean) {
    const float share = 1.0f / static_cast<float>(block);
    const std::int64_t whole = width / block;
    if (block == 1) {
        std::copy(row, row + width, mean);
        return;
    }
    if (block == 2) {
        for (std::int64_t i = 0; i < whole; ++i) mean[i] = (row[2 * i] + row[2 * i + 1]) * share;
    } else {
        for (std::int64_t i = 0; i < whole; ++i) {
            float sum = row[i * block];
            for (std::int64_t k = 1; k < block; ++k) sum += row[i * block + k];
            mean[i] = sum * share;
        }
    }
    if (whole * block == width) return;
    const Part part = part_of(whole * block, width, block);
    float sum = row[whole * block];
    for (std::int64_t k = 1; k < part.single; ++k)
        sum += row[std::min(whole * block + k, width - 1)];
    mean[whole] = (sum + part.rest * row[width - 1]) * share;
}

// (a + 2 b + c) / 4
void blend(const float *a, const float *b, const float *c, std::int64_t count, float *out) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = ((a[i] + 2 * b[i]) + c[i]) / 4;
}

// One axis of the smoothing, of data seen as (outer, size, inner).
void smooth_along(const float *data, std::int64_t outer, std::int64_t size, std::int64_t inner,
                  float *out, int threads) {
    parallel_for(outer, threads, [=](std::int64_t block) {
        const float *from = data + block * size * inner;
        float *to = out + block * size * inner;
        for (std::int64_t i = 0; i < size; ++i)
            blend(from + std::max<std::int64_t>(i - 1, 0) * inner, from + i * inner,
                  from + std::min(i + 1, size - 1) * inner, inner, to + i * inner);
    });
}

}  // namespace

Shape blocks_in(const Shape &shape, const Shape &block) {
    Shape number{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        number[axis] = (shape[axis] + block[axis] - 1) / block[axis];
    return number;
}

Buffer<float> block_means(const float *data, const Shape &shape, const Shape &block, int threads) {
    const Shape number = blocks_in(shape, block);
    Buffer<float> means(static_cast<std::size_t>(voxels(number)));
    const std::int64_t plane = shape[1] * shape[2];
    parallel_ranges(number[0], 1, threads, [&](std::int64_t first, std::int64_t last) {
        Buffer<float> mean(static_cast<std::size_t>(plane));
        Buffer<float> rows(static_cast<std::size_t>(number[1] * shape[2]));
        for (std::int64_t i = first; i < last; ++i) {
            const std::int64_t from = i * block[0], to = std::min(from + block[0], shape[0]);
            mean_plane(data + from * plane, to - from, plane, mean.data());
            mean_rows(mean.data(), shape[1], shape[2], block[1], rows.data());
            for (std::int64_t row = 0; row < number[1]; ++row)
                mean_along(rows.data() + row * shape[2], shape[2], block[2],
                           means.data() + (i * number[1] + row) * number[2]);
        }
    });
    return means;
}

Buffer<float> smoothed(const float *data, const Shape &shape, int threads) {
    const auto count = static_cast<std::size_t>(voxels(shape));
    Buffer<float> one(count), other(count);
    smooth_along(data, 1, shape[0], shape[1] * shape[2], one.data(), threads);
    smooth_along(one.data(), shape[0], shape[1], shape[2], other.data(), threads);
    smooth_along(other.data(), shape[0] * shape[1], shape[2], 1, one.data(), threads);
    return one;
}

}  // namespace vm::alignment
