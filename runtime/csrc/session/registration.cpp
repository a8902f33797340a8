#include "session/registration.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "cpu/check.h"
#include "cpu/error.h"
#include "session/preparation.h"

namespace vm {

namespace {

// Shares of the work that are done when a stage has ended; the network is most of it.
constexpr double after_align = 0.08, after_prepare = 0.1, after_network = 0.8, after_tail = 0.85, after_invert = 0.95;

constexpr unsigned all_outputs =
    VM_WITH_MOVED | VM_WITH_INVERSE | VM_WITH_JACOBIAN | VM_WITH_OFFSETS;

class Stage {
public:
    Stage(Registration &result, const char *name) : seconds_(result.seconds[name]) {}
    ~Stage() {
        seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    Stage(const Stage &) = delete;
    Stage &operator=(const Stage &) = delete;

private:
    double &seconds_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void check_options(const vm_register_options &options, const Grid &moving) {
    if (options.outputs & ~all_outputs)
        throw argument_error("options->outputs has unknown bits; add up VM_WITH_...");
    if (options.label_count && !options.labels) throw argument_error("options->labels is NULL");
    if (options.label_mode != VM_NEAREST && options.label_mode != VM_LABEL &&
        static_cast<int>(options.label_mode) != 0)
        throw argument_error("options->label_mode is for scans; use VM_NEAREST or VM_LABEL");
    for (size_t i = 0; i < options.label_count; ++i)
        check_labels(options.labels[i], moving, "options->labels[" + std::to_string(i) + "]");
}

void check_finite(const Buffer<float> &field) {
    bool finite = true;
    for (size_t i = 0; i < field.size(); ++i) finite &= std::isfinite(field[i]);
    if (!finite)
        throw Error(VM_ERROR_ENGINE, "the network's displacement holds NaN; check the scans' "
                                     "intensities, verify the model with vm-export");
}

// The moving scan and its labels on the fixed scan's grid, in one pass.
void carry(Registration &result, const vm_image &moving, const vm_register_options &options,
           bool with_moved) {
    const vm_map map = result.map_to(result.fixed, result.moving);
    const auto voxels = static_cast<size_t>(result.fixed.voxels());
    std::vector<vm_look> looks;
    Buffer<float> widened;
    if (with_moved) {
        result.moved = Buffer<float>(voxels);
        looks.push_back(look_of(moving, VM_LINEAR, result.moved.data()));
        if (moving.type == VM_F16) {  // looked up as it is, it would be rounded again
            Scan scan = read_scan(&moving, "moving", result.threads);
            widened = std::move(scan.values);
            looks[0] = look_of(image_of(widened.data(), VM_F32, scan.grid), VM_LINEAR,
                               result.moved.data());
        }
    }
    for (size_t i = 0; i < options.label_count; ++i) {
        const vm_image &image = options.labels[i];
        result.labels.push_back(
            {image.type,
             Buffer<unsigned char>(voxels * static_cast<size_t>(size_of(image.type)))});
        looks.push_back(look_of(image, options.label_mode == VM_LABEL ? VM_LABEL : VM_NEAREST,
                                result.labels.back().values.data()));
    }
    if (!looks.empty())
        check_call(vm_carry(&map, looks.data(), looks.size(), result.threads));
}

// Volume change on the fixed scan's grid; beyond the model's grid the affine's. See
// vmruntime/regularity.py.
Buffer<float> jacobian_of(const Registration &result) {
    Buffer<float> change(static_cast<size_t>(result.model.voxels()));
    check_call(vm_jacobian_determinant(result.displacement.data(), result.model.shape.data(),
                                       change.data(), result.threads));
    for (size_t i = 0; i < change.size(); ++i) change[i] -= 1;
    Buffer<float> jacobian(static_cast<size_t>(result.fixed.voxels()));
    const vm_image image = image_of(change.data(), VM_F32, result.model);
    const vm_look look = look_of(image, VM_LINEAR, jacobian.data());
    const Matrix to_model = inverse(result.model.affine) * result.fixed.affine;
    check_call(vm_affine_resample(&look, to_model.data(), result.fixed.shape.data(),
                                  result.threads));
    const auto scale = static_cast<float>(determinant(result.affine));
    for (size_t i = 0; i < jacobian.size(); ++i) jacobian[i] = scale * (1 + jacobian[i]);
    return jacobian;
}

// World offset of every voxel of the fixed scan.
Buffer<float> offsets_of(const Registration &result) {
    Grid world = result.fixed;  // its voxels are millimetres
    world.affine = identity;
    const vm_map map = result.map_to(result.fixed, world);
    Buffer<float> offsets(static_cast<size_t>(3 * result.fixed.voxels()));
    check_call(
        vm_offsets(&map, result.fixed.affine.data(), offsets.data(), result.threads));
    return offsets;
}

// Passes on to a watch what vm_invert tells.
std::int32_t check_watch(void *watch, double) noexcept {
    try {
        static_cast<const Watch *>(watch)->check();
        return 0;
    } catch (const Error &) {
        return 1;
    }
}

}  // namespace

vm_map Registration::map_to(const Grid &output, const Grid &target) const {
    vm_map map = {};
    map.struct_size = sizeof map;
    const Matrix to_model = vm::inverse(model.affine) * output.affine;
    const Matrix to_moving = vm::inverse(target.affine) * affine * model.affine;
    std::copy(output.shape.begin(), output.shape.end(), map.shape);
    std::copy(to_model.begin(), to_model.end(), map.to_model);
    std::copy(to_moving.begin(), to_moving.end(), map.to_moving);
    std::copy(model.shape.begin(), model.shape.end(), map.model_shape);
    map.displacement = displacement.data();
    return map;
}

Registration register_pair(Session &session, const vm_image *moving_image,
                           const vm_image *fixed_image, const vm_register_options &options) {
    Watch watch(options.progress, options.cancel, options.context);
    watch.reach(0);
    Registration result;
    result.threads = session.threads();
    Scan moving, fixed;
    {
        const Stage stage(result, "prepare");
        moving = read_scan(moving_image, "moving", result.threads);
        fixed = read_scan(fixed_image, "fixed", result.threads);
        result.moving = moving.grid;
        result.fixed = fixed.grid;
        check_options(options, result.moving);
    }
    Prepared pair;
    {
        Decision decision;
        {
            const Stage stage(result, "align");
            decision = decide(session.manifest(), moving, fixed, options, result.threads, watch,
                              after_align);
        }
        const Stage stage(result, "prepare");
        pair = sample(decision, std::move(moving), std::move(fixed), result.threads);
        result.affine = decision.affine;
        result.alignment = std::move(decision.alignment);
        result.model = decision.model;
        result.warnings = std::move(pair.warnings);
    }
    watch.reach(after_prepare);
    std::unique_ptr<Prediction> prediction;
    {
        const Stage stage(result, "network");
        prediction = session.predict(pair.moving.data(), pair.fixed.data(), result.model.shape,
                                     (options.outputs & VM_WITH_INVERSE) != 0, watch);
        pair.moving = Buffer<float>();
        pair.fixed = Buffer<float>();
    }
    watch.reach(after_network);
    {
        const Stage stage(result, "tail");
        result.displacement = prediction->displacement();
        check_finite(result.displacement);
    }
    watch.reach(after_tail);
    if (options.outputs & VM_WITH_INVERSE) {
        const Stage stage(result, "invert");
        const Buffer<float> start = prediction->inverse();
        result.inverse = Buffer<float>(result.displacement.size());
        check_call(vm_invert(result.displacement.data(), result.model.shape.data(), start.data(),
                             result.inverse.data(), result.threads, check_watch, &watch));
    }
    watch.reach(after_invert);
    const Stage stage(result, "resample");
    carry(result, *moving_image, options, !options.outputs || (options.outputs & VM_WITH_MOVED));
    if (options.outputs & VM_WITH_JACOBIAN) result.jacobian = jacobian_of(result);
    if (options.outputs & VM_WITH_OFFSETS) result.offsets = offsets_of(result);
    watch.reach(1);
    return result;
}

}  // namespace vm
