#include "alignment/appearance.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vm::alignment {

namespace {

constexpr float tissue_intensity = 0.25f;
// A patch this large, relative to the foreground's cross-section: some 16 x 16 mm of a brain.
constexpr double touching_share = 0.02;
// Layers of 4 mm, inward from the surface. Their figures stand in appearance.py: a T1 brain
// brightens inward, a head gets darker in its skull.
constexpr int layers = 5;
constexpr double certain_ratio = 0.9, possible_ratio = 1.05;
// Share of the outline that is tissue: dark skull and air leave less of a head.
constexpr double filled_share = 0.99;

}  // namespace

bool touches_edge(const Pyramid &scan) {
    const Level &level = scan.levels[1];
    const Mask tissue = brighter_than(level, tissue_intensity);
    const double volume = volume_mm3(tissue, level.affine);
    const double voxel = std::abs(determinant(level.affine));
    std::array<std::array<std::int64_t, 2>, 3> touching{};
    over_voxels(tissue.shape, [&](const Shape &index, std::size_t at) {
        if (!tissue.on[at]) return;
        for (std::size_t axis = 0; axis < 3; ++axis) {
            touching[axis][0] += index[axis] == 0;
            touching[axis][1] += index[axis] == tissue.shape[axis] - 1;
        }
    });
    Grid grid;
    grid.affine = level.affine;
    const std::array<double, 3> size = grid.voxel_size();
    for (std::size_t axis = 0; axis < 3; ++axis)
        for (const std::int64_t number : touching[axis])
            if (static_cast<double>(number) * (voxel / size[axis]) >
                touching_share * std::pow(volume, 2.0 / 3.0))
                return true;
    return false;
}

bool looks_like_head(const Pyramid &scan) {
    const Level &level = scan.levels[1];
    Mask outline = filled(scan.foreground);
    double surface = 0, darkest = std::numeric_limits<double>::infinity();
    for (int layer = 0; layer < layers; ++layer) {
        // Where the field of view ends is no surface: a head goes on there.
        Mask inner = inverted(dilated(inverted(outline), 1));
        double sum = 0;
        std::int64_t number = 0;
        for (std::size_t i = 0; i < outline.on.size(); ++i)
            if (outline.on[i] && !inner.on[i]) {
                sum += static_cast<double>(level.data[i]);
                ++number;
            }
        if (!number) return false;
        const double mean = sum / static_cast<double>(number);
        if (layer == 1) surface = mean;
        if (layer > 1) darkest = std::min(darkest, mean);
        outline = std::move(inner);
    }
    const Mask tissue = brighter_than(level, tissue_intensity);
    const bool is_filled = static_cast<double>(tissue.count()) >=
                           filled_share * static_cast<double>(filled(tissue).count());
    return darkest < certain_ratio * surface || (darkest < possible_ratio * surface && !is_filled);
}

}  // namespace vm::alignment
