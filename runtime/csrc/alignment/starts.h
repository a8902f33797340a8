// The search for the pose that the fine fit starts from; see vmruntime/alignment/starts.py.
#pragma once

#include "alignment/optimise.h"
#include "alignment/pyramid.h"

namespace vm::alignment {

// How far the scans may be turned against each other: some 60 degrees, or any rotation.
enum class Search { quick, full };

// The best fit at the coarsest level over many rotations. Similarities are fitted from every
// rotation, the best of them go on as affine maps. Where a quick search ends in doubt, all rotations
// are tried; their answer counts only if it leaves none.
Fit best_start(const Pyramid &moving, const Pyramid &fixed, const Samples &samples,
               const Frame &frame, Search search, int threads, const Pulse &pulse);

}  // namespace vm::alignment
