#include "session/preparation.h"

#include <cmath>
#include <cstdio>

#include "alignment/align.h"
#include "cpu/error.h"
#include "session/placement.h"

namespace vm {

namespace {

// Share of a foreground outside the model's grid that is worth a warning.
constexpr double much_outside = 0.005;

// Elements of an affine between voxels that are this close to the identity's are its.
constexpr double same_voxels = 1e-6;

vm_affine decided(const Manifest &manifest, const Grid &moving, const Grid &fixed,
                  vm_affine asked) {
    if (asked != VM_AFFINE_DEFAULT) return asked;
    const bool same = moving.matches(fixed) && grid_differences(manifest, fixed).empty();
    return same ? VM_AFFINE_NONE : VM_AFFINE_AUTO;
}

void require_model_grid(const Manifest &manifest, const Scan &scan) {
    const std::string differences = grid_differences(manifest, scan.grid);
    if (!differences.empty())
        throw Error(VM_ERROR_GRID, "the " + scan.name + " scan is not on the model's grid: " +
                                       differences +
                                       "; resample it, or let VM_AFFINE_AUTO do so");
}

alignment::Alignment aligned(const Scan &moving, const Scan &fixed,
                             const vm_register_options &options, int threads, Watch &watch,
                             double until) {
    const auto search =
        options.full_search ? alignment::Search::full : alignment::Search::quick;
    const alignment::Pulse pulse(watch, watch.share(), until);
    alignment::Alignment found = alignment::align(moving, fixed, search, threads, pulse);
    if (!found.plausible() && !options.force)
        throw Error(VM_ERROR_ALIGNMENT,
                    "the moving scan could not be aligned to the fixed one: " + found.reason +
                        "; look at both, try options.full_search, or give VM_AFFINE_MATRIX");
    return found;
}

// The affine from the fixed to the moving world, where it is not computed.
Matrix affine_of(const Manifest &manifest, const Scan &moving, const Scan &fixed, vm_affine mode,
                 const double *matrix) {
    switch (static_cast<int>(mode)) {
        case VM_AFFINE_HEADER: return identity;
        case VM_AFFINE_MATRIX: return checked_affine(matrix, "options->matrix");
        case VM_AFFINE_NONE:
            require_model_grid(manifest, moving);
            require_model_grid(manifest, fixed);
            if (moving.grid.shape != fixed.grid.shape)
                throw Error(VM_ERROR_GRID, "the scans have different shapes; resample one, or let "
                                           "VM_AFFINE_AUTO do so");
            // Voxel by voxel: the same indices, whatever world the headers claim.
            return moving.grid.affine * inverse(fixed.grid.affine);
        default:
            throw argument_error("options->affine is " + std::to_string(static_cast<int>(mode)) +
                                 "; use one of vm_affine");
    }
}

// A scan in the model's intensities and on its grid. The rule comes first: what lies outside a scan
// is to be as dark as its background, 0.
Buffer<float> onto(const Grid &model, Scan scan, const Matrix &affine, const IntensityRule &rule,
                   int threads) {
    rule.apply(scan.values.data(), scan.count(), threads);
    const Matrix to_scan = inverse(scan.grid.affine) * affine * model.affine;
    if (scan.grid.shape == model.shape && difference(to_scan, identity) < same_voxels)
        return std::move(scan.values);
    Buffer<float> values(static_cast<size_t>(model.voxels()));
    const vm_image image = image_of(scan.values.data(), VM_F32, scan.grid);
    const vm_look look = look_of(image, VM_LINEAR, values.data());
    check_call(vm_affine_resample(&look, to_scan.data(), model.shape.data(), threads));
    return values;
}

void check_outside(const Scan &scan, double share, bool force) {
    if (share == 1 && !force)
        throw Error(VM_ERROR_ALIGNMENT,
                    "all of the " + scan.name +
                        " scan's foreground lies outside the model's grid with this affine; is it "
                        "the right one?");
}

void warn_of_outside(const char *name, double share, Prepared &prepared) {
    if (share <= much_outside) return;
    char percent[16];
    std::snprintf(percent, sizeof percent, "%d.%d", static_cast<int>(share * 1000) / 10,
                  static_cast<int>(share * 1000) % 10);
    prepared.warnings.emplace_back("foreground-outside-grid",
                                   std::string(percent) + " % of the " + name +
                                       " scan's foreground lies outside the model's grid and is "
                                       "moved by the affine alone");
}

}  // namespace

Decision decide(const Manifest &manifest, const Scan &moving, const Scan &fixed,
                const vm_register_options &options, int threads, Watch &watch, double until) {
    const auto rule_of = [&manifest](const char *own) {
        return IntensityRule::parse(own ? own : manifest.intensity);
    };
    Decision decision;
    decision.moving_rule = rule_of(options.moving_intensity);
    decision.fixed_rule = rule_of(options.fixed_intensity);
    const vm_affine mode = decided(manifest, moving.grid, fixed.grid, options.affine);
    if (mode == VM_AFFINE_AUTO) {
        decision.alignment = aligned(moving, fixed, options, threads, watch, until);
        decision.affine = decision.alignment->matrix;
    } else {
        decision.affine = affine_of(manifest, moving, fixed, mode, options.matrix);
    }
    decision.model = mode == VM_AFFINE_NONE ? fixed.grid : place_model_grid(manifest, fixed);
    decision.moving_outside = share_outside(moving, decision.model, inverse(decision.affine));
    decision.fixed_outside = share_outside(fixed, decision.model, identity);
    check_outside(moving, decision.moving_outside, options.force != 0);
    check_outside(fixed, decision.fixed_outside, options.force != 0);
    return decision;
}

Prepared sample(const Decision &decision, Scan moving, Scan fixed, int threads) {
    Prepared prepared;
    const Grid &model = decision.model;
    prepared.moving = onto(model, std::move(moving), decision.affine, decision.moving_rule, threads);
    prepared.fixed = onto(model, std::move(fixed), identity, decision.fixed_rule, threads);
    if (decision.alignment) {
        const alignment::Alignment &found = *decision.alignment;
        if (!found.plausible())
            prepared.warnings.emplace_back("affine-forced",
                                           "the alignment looks wrong: " + found.reason);
        prepared.warnings.insert(prepared.warnings.end(), found.warnings.begin(),
                                 found.warnings.end());
    }
    const auto suspect = [&prepared](const Buffer<float> &scaled, const char *name) {
        const std::string text =
            suspicion(scaled.data(), static_cast<std::int64_t>(scaled.size()), name);
        if (!text.empty()) prepared.warnings.emplace_back("intensity-range", text);
    };
    suspect(prepared.moving, "moving");
    suspect(prepared.fixed, "fixed");
    warn_of_outside("moving", decision.moving_outside, prepared);
    warn_of_outside("fixed", decision.fixed_outside, prepared);
    return prepared;
}

}  // namespace vm
