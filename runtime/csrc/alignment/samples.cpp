#include "alignment/samples.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "alignment/random.h"

namespace vm::alignment {

namespace {

Shape index_of(std::int64_t voxel, const Shape &shape) {
    return {voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1], voxel % shape[2]};
}

// Voxels of the mask, at most `count`; in the order of the memory, for the cache.
std::vector<std::int64_t> chosen_blocks(const Mask &mask, std::int64_t count, Random &random) {
    std::vector<std::int64_t> blocks;
    for (std::size_t i = 0; i < mask.on.size(); ++i)
        if (mask.on[i]) blocks.push_back(static_cast<std::int64_t>(i));
    const auto found = static_cast<std::int64_t>(blocks.size());
    if (found <= count) return blocks;
    std::vector<std::int64_t> chosen = random.choice(found, count);
    for (std::int64_t &one : chosen) one = blocks[static_cast<std::size_t>(one)];
    return chosen;
}

}  // namespace

Matrix Frame::from_world() const {
    Matrix matrix{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        matrix[axis * 5] = 1 / radius;
        matrix[axis * 4 + 3] = -centre[axis] / radius;
    }
    return matrix;
}

Frame frame_of(const Level &level, const Mask &foreground) {
    Frame frame;
    frame.centre = centre(foreground, level.affine);
    double sum = 0;
    over_voxels(foreground.shape, [&](const Shape &index, std::size_t at) {
        if (!foreground.on[at]) return;
        const Point place = level.affine * point_of(index);
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const double away = place[axis] - frame.centre[axis];
            sum += away * away;
        }
    });
    // One voxel alone still has a size.
    const double voxel = std::cbrt(std::abs(determinant(level.affine)));
    frame.radius =
        std::max(std::sqrt(sum / static_cast<double>(foreground.count())), voxel / 2);
    return frame;
}

Samples::Samples(std::int64_t most) : values(static_cast<std::size_t>(most)) {
    for (Buffer<float> &along : points) along = Buffer<float>(static_cast<std::size_t>(most));
}

Samples draw_samples(const Level &level, const Mask &mask, const Level &mask_level,
                     const Frame &frame, std::int64_t count) {
    Random random;
    const std::int64_t present = mask.count();
    Shape ratio{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        ratio[axis] = mask_level.block[axis] / level.block[axis];
    const std::int64_t each = std::min(
        voxels(ratio), std::max<std::int64_t>(1, count / std::max<std::int64_t>(1, present)));
    const std::vector<std::int64_t> blocks = chosen_blocks(mask, count, random);
    const Matrix to_unit = frame.from_world() * level.affine;
    Samples samples(static_cast<std::int64_t>(blocks.size()) * each);
    for (const std::int64_t block : blocks)
        for (std::int64_t one = 0; one < each; ++one) {
            Shape index = index_of(block, mask.shape);
            bool inside = true;
            for (std::size_t axis = 0; axis < 3; ++axis) {
                index[axis] = index[axis] * ratio[axis] +
                              random.up_to(static_cast<std::uint32_t>(ratio[axis] - 1));
                // The last block may reach past the end.
                inside &= index[axis] < level.shape[axis];
            }
            if (!inside) continue;
            const auto at = static_cast<std::size_t>(samples.count++);
            const Point place = to_unit * point_of(index);
            for (std::size_t axis = 0; axis < 3; ++axis)
                samples.points[axis][at] = static_cast<float>(place[axis]);
            samples.values[at] = level.scaled(
                level.data[(index[0] * level.shape[1] + index[1]) * level.shape[2] + index[2]]);
        }
    return samples;
}

Samples every(const Samples &samples, std::int64_t step) {
    Samples few((samples.count + step - 1) / step);
    for (std::int64_t i = 0; i < samples.count; i += step) {
        const auto from = static_cast<std::size_t>(i), to = static_cast<std::size_t>(few.count++);
        for (std::size_t axis = 0; axis < 3; ++axis) few.points[axis][to] = samples.points[axis][from];
        few.values[to] = samples.values[from];
    }
    return few;
}

}  // namespace vm::alignment
