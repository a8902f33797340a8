#include "alignment/align.h"

#include <algorithm>
#include <utility>

#include "alignment/checks.h"
#include "alignment/products.h"

namespace vm::alignment {

namespace {

// Upper bounds. A brain and its rim have some 8,000 voxels at 8 mm; on the finer levels two samples
// are drawn in each of their 4 mm blocks.
constexpr std::int64_t coarse_samples = 10'000, fine_samples = 120'000;
// How far the fixed foreground is grown, so that its outline is seen: 8 mm at either level.
constexpr int coarse_rim = 1, rim = 2;
// The finer the level, the smaller the step that still matters.
constexpr std::array<double, 3> tolerances_mm{0.1, 0.05, 0.01};
constexpr int steps = 15;

// Shares of the work that are done after the pyramids and after the search.
constexpr double after_pyramids = 0.3, after_search = 0.6;

struct Overlap {
    double dice = 0, outside = 0;
};

// Dice of the foregrounds on the coarse fixed grid; share of the fixed one that looks outside.
Overlap overlap_of(const Pyramid &moving, const Pyramid &fixed, const Matrix &matrix) {
    const Level &level = fixed.levels[0], &seen = moving.levels[0];
    const Matrix to_index = inverse(seen.affine) * matrix * level.affine;
    const Field field = field_of(seen);
    const Mask &foreground = fixed.coarse_foreground;
    std::array<std::array<float, points_per_block>, 3> place{};
    std::array<float, points_per_block> value{}, inside{};
    std::int64_t found = 0, both = 0, outside = 0, number = 0;
    const auto flush = [&](std::size_t first) {
        const float *const at[3] = {place[0].data(), place[1].data(), place[2].data()};
        loops().values(field, at, number, value.data(), inside.data());
        for (std::int64_t i = 0; i < number; ++i) {
            const auto k = static_cast<std::size_t>(i);
            const bool on = foreground.on[first + k] != 0, bright = value[k] > foreground_intensity;
            found += bright;
            both += on && bright;
            outside += on && inside[k] == 0;
        }
        number = 0;
    };
    over_voxels(foreground.shape, [&](const Shape &index, std::size_t at) {
        const Point where = to_index * point_of(index);
        for (std::size_t axis = 0; axis < 3; ++axis)
            place[axis][static_cast<std::size_t>(number)] = static_cast<float>(where[axis]);
        if (++number == points_per_block) flush(at + 1 - points_per_block);
    });
    if (number) flush(foreground.on.size() - static_cast<std::size_t>(number));
    const auto size = static_cast<double>(foreground.count());
    return {2 * static_cast<double>(both) / (size + static_cast<double>(found)),
            static_cast<double>(outside) / size};
}

Alignment refused(bool moving, bool fixed) {
    Alignment result;
    result.reason = std::string("the ") + (moving ? "moving" : "") +
                    (moving && fixed ? " and the " : "") + (fixed ? "fixed" : "") +
                    " scan is empty, constant or not finite: nothing to align";
    return result;
}

// The map from coarse to fine, in units of the frame.
Matrix fitted(const Pyramid &moving, const Pyramid &fixed, Matrix pose, const Frame &frame,
              int threads, const Pulse &pulse) {
    const Level &middle = fixed.levels[1];
    const Mask around = dilated(fixed.foreground, rim);
    for (std::size_t i = 0; i < tolerances_mm.size(); ++i) {
        const Samples samples =
            draw_samples(fixed.levels[i + 1], around, middle, frame, fine_samples);
        const Effort effort{Freedom::affine, tolerances_mm[i], steps, threads};
        pose = fit(moving.levels[i + 1], samples, pose, effort, pulse).pose;
        pulse.reach(after_search + (1 - after_search) * static_cast<double>(i + 1) /
                                       static_cast<double>(tolerances_mm.size()));
    }
    return pose;
}

}  // namespace

Alignment align(const Scan &moving_scan, const Scan &fixed_scan, Search search, int threads,
                const Pulse &pulse) {
    const double step = coarse_step(moving_scan.grid, fixed_scan.grid);
    const Pyramid moving = pyramid_of(moving_scan, step, threads);
    pulse.check();
    const Pyramid fixed = pyramid_of(fixed_scan, step, threads);
    pulse.reach(after_pyramids);
    if (!moving.usable || !fixed.usable) return refused(!moving.usable, !fixed.usable);

    const Frame frame = frame_of(fixed.levels[0], fixed.coarse_foreground);
    const Samples coarse = draw_samples(fixed.levels[0], dilated(fixed.coarse_foreground, coarse_rim),
                                        fixed.levels[0], frame, coarse_samples);
    Matrix pose = best_start(moving, fixed, coarse, frame, search, threads, pulse).pose;
    pulse.reach(after_search);
    pose = fitted(moving, fixed, pose, frame, threads, pulse);

    Alignment found;
    found.matrix = pose * frame.from_world();
    found.correlation = correlation_at(moving.levels[0], coarse, pose, threads);
    const Overlap overlap = overlap_of(moving, fixed, found.matrix);
    found.foreground_overlap = overlap.dice;
    found.fixed_outside = overlap.outside;
    found.shape = shape_of(found.matrix);
    for (std::size_t axis = 0; axis < 3; ++axis)
        found.translation_mm[axis] = pose[4 * axis + 3] - frame.centre[axis];
    const std::vector<Finding> looks = looks_of_scans(moving, fixed);
    found.reason = reason_against(found, looks);
    if (!fields_overlap(moving_scan.grid, fixed_scan.grid))
        found.reason = std::string("the fields of view have no point in common in the world, one "
                                   "header is wrong") +
                       (found.reason.empty() ? "" : "; " + found.reason);
    found.warnings = warnings_about(found);
    found.warnings.insert(found.warnings.end(), looks.begin(), looks.end());
    return found;
}

}  // namespace vm::alignment
