#include "alignment/mask.h"

#include <cmath>
#include <numeric>
#include <utility>

namespace vm::alignment {

namespace {

struct Axis {
    std::int64_t size, step;
};

Axis axis_of(const Shape &shape, std::size_t axis) {
    std::int64_t step = 1;
    for (std::size_t later = axis + 1; later < 3; ++later) step *= shape[later];
    return {shape[axis], step};
}

}  // namespace

std::int64_t Mask::count() const {
    return std::accumulate(on.begin(), on.end(), std::int64_t{0});
}

Mask brighter_than(const Level &level, float value) {
    Mask mask{level.shape, std::vector<std::uint8_t>(static_cast<std::size_t>(voxels(level.shape)))};
    for (std::size_t i = 0; i < mask.on.size(); ++i) mask.on[i] = level.data[i] > value;
    return mask;
}

Mask dilated(Mask mask, int times) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const Axis along = axis_of(mask.shape, axis);
        const auto step = static_cast<std::size_t>(along.step);
        const auto size = static_cast<std::size_t>(along.size);
        for (int time = 0; time < times; ++time) {
            const std::vector<std::uint8_t> before = mask.on;
            for (std::size_t line = 0; line < before.size(); line += step * size)
                for (std::size_t i = line + step; i < line + step * size; ++i) {
                    mask.on[i] |= before[i - step];
                    mask.on[i - step] |= before[i];
                }
        }
    }
    return mask;
}

Mask inverted(Mask mask) {
    for (std::uint8_t &one : mask.on) one ^= 1;
    return mask;
}

Mask filled(const Mask &mask) {
    Mask result{mask.shape, std::vector<std::uint8_t>(mask.on.size(), 1)};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const Axis along = axis_of(mask.shape, axis);
        const auto step = static_cast<std::size_t>(along.step);
        const auto size = static_cast<std::size_t>(along.size);
        std::vector<std::uint8_t> before = mask.on, after = mask.on;
        for (std::size_t line = 0; line < mask.on.size(); line += step * size) {
            for (std::size_t i = line + step; i < line + step * size; ++i)
                before[i] |= before[i - step];
            for (std::size_t i = line + step * size; i-- > line + step;)
                after[i - step] |= after[i];
        }
        for (std::size_t i = 0; i < mask.on.size(); ++i) result.on[i] &= before[i] & after[i];
    }
    return result;
}

Point centre(const Mask &mask, const Matrix &affine) {
    Point sum{};
    over_voxels(mask.shape, [&](const Shape &index, std::size_t at) {
        if (!mask.on[at]) return;
        for (std::size_t axis = 0; axis < 3; ++axis) sum[axis] += static_cast<double>(index[axis]);
    });
    const auto number = static_cast<double>(mask.count());
    for (double &element : sum) element /= number;
    return affine * sum;
}

double volume_mm3(const Mask &mask, const Matrix &affine) {
    return static_cast<double>(mask.count()) * std::abs(determinant(affine));
}

}  // namespace vm::alignment
