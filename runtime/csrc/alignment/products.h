// Inner products of the columns of the least-squares problem, over all samples; see optimise.h.
#pragma once

#include <array>

#include "alignment/evaluation.h"
#include "alignment/level.h"
#include "alignment/samples.h"

namespace vm::alignment {

// Columns 0 to 11 are d moving / d pose.
constexpr std::size_t moving_column = 12, one_column = 13, fixed_column = 14;

// The symmetric matrix of inner products.
struct Products {
    std::array<std::array<double, column_count>, column_count> of{};

    double covariance(std::size_t a, std::size_t b) const;
    // Pearson correlation; 0 where a scan is constant over the samples.
    double correlation() const;
};

// `pose` leads from unit coordinates of the samples to RAS+ mm of the moving scan.
Products products_of(const Level &moving, const Samples &samples, const Matrix &pose, int threads);

Field field_of(const Level &level);

}  // namespace vm::alignment
