// Warnings about an alignment, and when it is evidently wrong; see vmruntime/alignment/checks.py.
#pragma once

#include "alignment/alignment.h"
#include "alignment/pyramid.h"

namespace vm::alignment {

// Below it a right answer is rare.
constexpr double doubtful_correlation = 0.965;

// Warnings that follow from the two scans alone.
std::vector<Finding> looks_of_scans(const Pyramid &moving, const Pyramid &fixed);

// Warnings that follow from how well the scans match.
std::vector<Finding> warnings_about(const Alignment &found);

// Why an alignment is evidently wrong, one line; "" where it is not. `looks` is what looks_of_scans
// found, which may explain a bad match.
std::string reason_against(const Alignment &found, const std::vector<Finding> &looks);

}  // namespace vm::alignment
