#include "session/scan.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/check.h"
#include "cpu/convert.h"
#include "cpu/error.h"

namespace vm {

namespace {

// No scan's values exceed this; sums and squares of them stay finite.
constexpr float largest_value = 1e12f;

Layout layout_of(const vm_image &image, const std::string &name) {
    Layout layout{};
    const bool dense = !image.strides[0] && !image.strides[1] && !image.strides[2];
    std::int64_t step = 1;
    for (int axis = 2; axis >= 0; --axis) {
        layout.shape[axis] = static_cast<std::int32_t>(image.shape[axis]);
        layout.strides[axis] = dense ? step : image.strides[axis];
        if (layout.strides[axis] < 1)
            throw argument_error(name + "->strides must be at least 1 each, or all 0 for C order");
        step *= image.shape[axis];
    }
    return layout;
}

void check_values(const Scan &scan) {
    const float *data = scan.values.data();
    float low = std::numeric_limits<float>::max(), high = -low;
    bool finite = true;
    for (std::int64_t i = 0; i < scan.count(); ++i) {
        finite &= std::abs(data[i]) <= std::numeric_limits<float>::max();
        low = std::min(low, data[i]);
        high = std::max(high, data[i]);
    }
    if (!finite) {
        std::int64_t bad = 0;
        for (std::int64_t i = 0; i < scan.count(); ++i) bad += !std::isfinite(data[i]);
        throw argument_error(scan.name + ": " + std::to_string(bad) +
                             " voxels are NaN or infinite; replace them first");
    }
    if (low == high) throw argument_error(scan.name + ": all voxels are the same; give a scan");
    if (std::max(-low, high) > largest_value)
        throw argument_error(scan.name + ": its values exceed 1e12, which no scan's do; rescale it");
}

}  // namespace

Scan read_scan(const vm_image *image, const char *name, int threads) {
    require(image, name);
    Scan scan;
    scan.name = name;
    scan.grid = grid_of(*image, name);
    size_of(image->type);
    const Layout layout = layout_of(*image, name);
    require(image->data, (scan.name + "->data").c_str());
    scan.given = *image;
    std::copy(layout.strides, layout.strides + 3, scan.given.strides);
    scan.values = Buffer<float>(static_cast<size_t>(scan.count()));
    const std::int64_t box[6] = {0, image->shape[0], 0, image->shape[1], 0, image->shape[2]};
    to_float(image->data, image->type, layout, box, scan.values.data(), threads);
    check_values(scan);
    return scan;
}

void check_labels(const vm_image &image, const Grid &moving, const std::string &name) {
    const Grid grid = grid_of(image, name);
    size_of(image.type);
    layout_of(image, name);
    require(image.data, (name + "->data").c_str());
    if (!is_integer(image.type))
        throw argument_error(name + " is floating point; give labels as integers");
    if (!grid.matches(moving))
        throw Error(VM_ERROR_GRID, name + " does not lie on the moving scan's grid; resample it "
                                          "onto that scan first");
}

vm_look look_of(const vm_image &image, vm_mode mode, void *out) {
    vm_look look = {};
    look.struct_size = sizeof look;
    look.volume = image.data;
    std::copy(image.shape, image.shape + 3, look.shape);
    std::copy(image.strides, image.strides + 3, look.strides);
    look.type = image.type;
    look.mode = mode;
    look.out = out;
    return look;
}

vm_image image_of(const void *data, vm_type type, const Grid &grid) {
    vm_image image = {};
    image.data = data;
    std::copy(grid.shape.begin(), grid.shape.end(), image.shape);
    std::copy(grid.affine.begin(), grid.affine.end(), image.affine);
    image.type = type;
    return image;
}

void check_call(vm_status status) {
    if (status != VM_OK) throw Error(status, vm_last_error());
}

}  // namespace vm
