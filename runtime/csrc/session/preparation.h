// Bringing a pair onto the model's grid; see vmruntime/preparation.py.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "alignment/alignment.h"
#include "session/intensity.h"
#include "session/scan.h"
#include "session/session.h"

namespace vm {

// How a pair is sampled into the model's grid.
struct Decision {
    Grid model;                // as it lies in the fixed world
    Matrix affine = identity;  // fixed world to moving world
    std::optional<alignment::Alignment> alignment;  // where it was computed
    IntensityRule moving_rule, fixed_rule;
    double moving_outside = 0, fixed_outside = 0;  // share of each foreground outside that grid
};

// Aligns the pair where that is asked for, which `watch` is told of up to the share `until`. Throws
// Error: ARGUMENT, GRID, ALIGNMENT, CANCELLED.
Decision decide(const Manifest &manifest, const Scan &moving, const Scan &fixed,
                const vm_register_options &options, int threads, Watch &watch, double until);

struct Prepared {
    Buffer<float> moving, fixed;  // on the model's grid, in the model's intensities
    std::vector<std::pair<std::string, std::string>> warnings;
};

// Takes the scans' values.
Prepared sample(const Decision &decision, Scan moving, Scan fixed, int threads);

}  // namespace vm
