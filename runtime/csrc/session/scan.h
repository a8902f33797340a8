// A scan that was handed over: its grid and its values as float32.
#pragma once

#include <string>
#include <vector>

#include "cpu/buffer.h"
#include "session/grid.h"

namespace vm {

struct Scan {
    std::string name;  // what messages call it
    Grid grid;
    Buffer<float> values;  // C order
    vm_image given{};      // the caller's own array, for as long as its call takes; with its strides

    std::int64_t count() const { return grid.voxels(); }
};

// Copy a caller's scan as float32. Throws Error: ARGUMENT for NULL, a shape or type that cannot be
// used, values that are NaN, infinite, beyond those of any scan or all the same; GRID for its
// affine.
Scan read_scan(const vm_image *image, const char *name, int threads);

// A caller's integer image, found to lie on a grid; throws Error otherwise.
void check_labels(const vm_image &image, const Grid &moving, const std::string &name);

// How to look an image up; `out` is where to.
vm_look look_of(const vm_image &image, vm_mode mode, void *out);

// C order, float32 or another type.
vm_image image_of(const void *data, vm_type type, const Grid &grid);

// Throws what a kernel of this library found wrong.
void check_call(vm_status status);

}  // namespace vm
