// Registering one pair.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "alignment/alignment.h"
#include "cpu/buffer.h"
#include "session/grid.h"
#include "session/session.h"

namespace vm {

struct CarriedLabels {
    vm_type type;
    Buffer<unsigned char> values;
};

struct Registration {
    Grid fixed, moving;
    Matrix affine = identity;  // fixed world to moving world
    std::optional<alignment::Alignment> alignment;  // where it was computed
    Grid model;                // as it lies in the fixed world
    Buffer<float> displacement, inverse, moved, jacobian, offsets;
    std::vector<CarriedLabels> labels;
    std::vector<std::pair<std::string, std::string>> warnings;  // code, text
    std::map<std::string, double> seconds;
    int threads = 1;

    // Where the voxels of a grid in the fixed world look, in voxels of a grid in the moving world.
    vm_map map_to(const Grid &output, const Grid &target) const;

    // Place of the fixed world, mm, to where it looks in the moving one.
    Point map(const Point &place) const;
};

// Throws Error: ARGUMENT, GRID, ALIGNMENT, ENGINE, CANCELLED, UNSUPPORTED.
Registration register_pair(Session &session, const vm_image *moving, const vm_image *fixed,
                           const vm_register_options &options);

}  // namespace vm
