// vm_result_...: what a registration gave.
#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/check.h"
#include "cpu/error.h"
#include "info.h"
#include "session/result.h"
#include "session/scan.h"

namespace {

using vm::Registration;
using vm::operator*;

vm_field field_of(const vm::Buffer<float> &values, const vm::Grid &grid, bool channels_last,
                  std::int64_t channels) {
    vm_field field = {};
    field.data = values.data();
    field.shape[channels_last ? 3 : 0] = channels;
    std::copy(grid.shape.begin(), grid.shape.end(), field.shape + (channels_last ? 0 : 1));
    std::copy(grid.affine.begin(), grid.affine.end(), field.affine);
    return field;
}

vm_field found_field(const Registration &registration, vm_array which) {
    switch (static_cast<int>(which)) {
        case VM_DISPLACEMENT:
            return field_of(registration.displacement, registration.model, false, 3);
        case VM_INVERSE: {
            vm::Grid there = registration.model;  // as it lies in the moving world
            there.affine = registration.affine * registration.model.affine;
            return field_of(registration.inverse, there, false, 3);
        }
        case VM_OFFSETS: return field_of(registration.offsets, registration.fixed, true, 3);
        case VM_JACOBIAN: return field_of(registration.jacobian, registration.fixed, false, 1);
        default:
            throw vm::argument_error("array " + std::to_string(static_cast<int>(which)) +
                                     " is unknown; use one of vm_array");
    }
}

}  // namespace

vm_status vm_result_moved(const vm_result *result, vm_image *image) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        vm::require(image, "image");
        const Registration &registration = result->registration;
        if (!registration.moved)
            throw vm::argument_error("the result has no moved image; ask for VM_WITH_MOVED");
        *image = vm::image_of(registration.moved.data(), VM_F32, registration.fixed);
    });
}

vm_status vm_result_labels(const vm_result *result, size_t index, vm_image *image) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        vm::require(image, "image");
        const Registration &registration = result->registration;
        if (index >= registration.labels.size())
            throw vm::argument_error("index is " + std::to_string(index) + ", the result has " +
                                     std::to_string(registration.labels.size()) +
                                     " label images; give them to vm_register");
        const vm::CarriedLabels &labels = registration.labels[index];
        *image = vm::image_of(labels.values.data(), labels.type, registration.fixed);
    });
}

vm_status vm_result_field(const vm_result *result, vm_array which, vm_field *field) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        vm::require(field, "field");
        const vm_field found = found_field(result->registration, which);
        if (!found.data)
            throw vm::argument_error("the result has no such array; ask for it with VM_WITH_...");
        *field = found;
    });
}

vm_status vm_result_affine(const vm_result *result, double matrix[12]) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        vm::require(matrix, "matrix");
        const vm::Matrix &affine = result->registration.affine;
        std::copy(affine.begin(), affine.end(), matrix);
    });
}

vm_status vm_result_alignment(const vm_result *result, vm_alignment *alignment) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        vm::require(alignment, "alignment");
        vm_alignment full = {};
        if (const auto &found = result->registration.alignment) {
            full.computed = 1;
            full.plausible = found->plausible();
            full.correlation = found->correlation;
            full.foreground_overlap = found->foreground_overlap;
            full.fixed_outside = found->fixed_outside;
            full.rotation_degrees = found->shape.rotation_degrees;
            std::copy(found->shape.scale.begin(), found->shape.scale.end(), full.scale);
            std::copy(found->translation_mm.begin(), found->translation_mm.end(),
                      full.translation_mm);
        }
        vm::fill_info(alignment, full, "alignment");
    });
}

vm_status vm_result_carry(const vm_result *result, const vm_image *image, vm_mode mode,
                          const vm_image *onto, void *values, size_t capacity) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        vm::require(image, "image");
        vm::require(image->data, "image->data");
        vm::require(values, "values");
        vm::check_mode(mode, image->type);
        const Registration &registration = result->registration;
        const vm::Grid grid = vm::grid_of(*image, "image");
        const vm::Grid output = onto ? vm::grid_of(*onto, "onto") : registration.fixed;
        vm::Buffer<float> widened;
        vm_image source = *image;
        if (mode == VM_LINEAR && image->type == VM_F16) {
            vm::Scan scan = vm::read_scan(image, "image", registration.threads);
            widened = std::move(scan.values);
            source = vm::image_of(widened.data(), VM_F32, grid);
        }
        const std::int64_t bytes = vm::size_of(mode == VM_LINEAR ? VM_F32 : image->type);
        const auto needed = static_cast<size_t>(output.voxels() * bytes);
        if (capacity < needed)
            throw vm::argument_error("capacity is " + std::to_string(capacity) + " bytes; " +
                                     std::to_string(needed) + " are needed");
        const vm_map map = registration.map_to(output, grid);
        const vm_look look = vm::look_of(source, mode, values);
        vm::check_call(vm_carry(&map, &look, 1, registration.threads));
    });
}

vm_status vm_result_map_points(const vm_result *result, const double *points, size_t count,
                               double *mapped) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        if (!count) return;
        vm::require(points, "points");
        vm::require(mapped, "mapped");
        for (size_t i = 0; i < count; ++i) {
            const vm::Point place{points[3 * i], points[3 * i + 1], points[3 * i + 2]};
            if (!(std::abs(place[0]) + std::abs(place[1]) + std::abs(place[2]) < 1e9))
                throw vm::argument_error("point " + std::to_string(i) +
                                         " is not finite, or further than 1e9 mm away");
            const vm::Point found = result->registration.map(place);
            std::copy(found.begin(), found.end(), mapped + 3 * i);
        }
    });
}

vm_status vm_result_warning(const vm_result *result, size_t index, const char **code,
                            const char **text) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        const auto &warnings = result->registration.warnings;
        const bool there = index < warnings.size();
        if (code) *code = there ? warnings[index].first.c_str() : nullptr;
        if (text) *text = there ? warnings[index].second.c_str() : nullptr;
    });
}

double vm_result_seconds(const vm_result *result, const char *stage) {
    if (!result || !stage) return 0;
    for (const auto &one : result->registration.seconds)
        if (one.first == stage) return one.second;
    return 0;
}

void vm_result_free(vm_result *result) { delete result; }
