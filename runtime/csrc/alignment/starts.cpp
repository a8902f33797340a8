#include "alignment/starts.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "alignment/checks.h"
#include "alignment/rotations.h"
#include "cpu/threads.h"

namespace vm::alignment {

namespace {

constexpr std::size_t most_kept = 4;
// Similarities need fewer samples than affine maps.
constexpr std::int64_t every_so_many = 2;
constexpr int similarity_steps = 12, affine_steps = 25;
constexpr double tolerance_mm = 0.5;
// Of the radius: poses that are closer are the same.
constexpr double same_pose = 0.1;

// The fits from several poses, each on one thread.
std::vector<Fit> fits(const Level &moving, const Samples &samples,
                      const std::vector<Matrix> &starts, Freedom freedom, int steps, int threads,
                      const Pulse &pulse) {
    std::vector<Fit> found(starts.size());
    const Effort effort{freedom, tolerance_mm, steps, 1};
    parallel_for(static_cast<std::int64_t>(starts.size()), threads, [&](std::int64_t i) {
        const auto at = static_cast<std::size_t>(i);
        found[at] = fit(moving, samples, starts[at], effort, pulse);
    });
    return found;
}

// The best fits that did not end at the same pose.
std::vector<Matrix> different(const std::vector<Fit> &sorted, double radius) {
    std::vector<Matrix> kept;
    for (const Fit &candidate : sorted) {
        if (std::all_of(kept.begin(), kept.end(), [&](const Matrix &other) {
                return difference(candidate.pose, other) > same_pose * radius;
            }))
            kept.push_back(candidate.pose);
        if (kept.size() == most_kept) break;
    }
    return kept;
}

Fit best_of(const Level &moving, const Samples &samples, const std::vector<Matrix> &starts,
            const Frame &frame, int threads, const Pulse &pulse) {
    const Samples few = every(samples, every_so_many);
    std::vector<Fit> similar =
        fits(moving, few, starts, Freedom::similarity, similarity_steps, threads, pulse);
    std::stable_sort(similar.begin(), similar.end(), [](const Fit &one, const Fit &other) {
        return one.correlation > other.correlation;
    });
    const std::vector<Fit> affine =
        fits(moving, samples, different(similar, frame.radius), Freedom::affine, affine_steps,
             threads, pulse);
    return *std::max_element(affine.begin(), affine.end(), [](const Fit &one, const Fit &other) {
        return one.correlation < other.correlation;
    });
}

}  // namespace

Fit best_start(const Pyramid &moving, const Pyramid &fixed, const Samples &samples,
               const Frame &frame, Search search, int threads, const Pulse &pulse) {
    const Level &level = moving.levels[0];
    const double volumes = volume_mm3(moving.coarse_foreground, level.affine) /
                           volume_mm3(fixed.coarse_foreground, fixed.levels[0].affine);
    const double scale = frame.radius * std::cbrt(volumes);
    const Point middle = centre(moving.coarse_foreground, level.affine);
    // The foregrounds' centres on each other and their volumes equal.
    const auto starts = [&](std::vector<Matrix> rotations) {
        for (Matrix &pose : rotations)
            for (std::size_t row = 0; row < 3; ++row) {
                for (std::size_t column = 0; column < 3; ++column) pose[4 * row + column] *= scale;
                pose[4 * row + 3] = middle[row];
            }
        return rotations;
    };
    const auto from_all = [&] {
        return best_of(level, samples, starts(all_rotations()), frame, threads, pulse);
    };
    if (search == Search::full) return from_all();
    std::vector<Matrix> near_starts = starts(nearby_rotations());
    // The headers' own word, which helps where a cut field of view spoils centres and volumes.
    Matrix by_header{};
    for (std::size_t row = 0; row < 3; ++row) {
        by_header[5 * row] = frame.radius;
        by_header[4 * row + 3] = frame.centre[row];
    }
    near_starts.push_back(by_header);
    const Fit near = best_of(level, samples, near_starts, frame, threads, pulse);
    if (near.correlation >= doubtful_correlation) return near;
    const Fit far = from_all();
    return far.correlation >= doubtful_correlation ? far : near;
}

}  // namespace vm::alignment
