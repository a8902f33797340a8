// Levenberg-Marquardt on the correlation of two scans, over similarities or all affine maps; see
// vmruntime/alignment/optimise.py.
//
// The residual is gain * moving(y(x)) + offset - fixed(x) with the gain and the offset fitted along,
// whose least squares are var(fixed) (1 - correlation^2). All that a step needs are the inner
// products of its columns over the samples.
#pragma once

#include "alignment/level.h"
#include "alignment/pulse.h"
#include "alignment/samples.h"

namespace vm::alignment {

// Degrees of freedom: rotation, translation and one scale, or any affine map.
enum class Freedom { similarity = 7, affine = 12 };

struct Fit {
    Matrix pose = identity;  // unit coordinates of the fixed scan to RAS+ mm of the moving scan
    double correlation = 0;  // 0 where a scan is constant over the samples
};

struct Effort {
    Freedom freedom;   // a similarity needs one to start from, and stays one
    double tolerance;  // stop when a step moves a point at unit distance by less, mm
    int steps;         // stop after this many evaluations
    int threads;
};

// Improve a pose at one level of the moving scan.
Fit fit(const Level &moving, const Samples &samples, const Matrix &start, const Effort &effort,
        const Pulse &pulse);

// Pearson correlation of the samples with the moving scan.
double correlation_at(const Level &moving, const Samples &samples, const Matrix &pose, int threads);

}  // namespace vm::alignment
