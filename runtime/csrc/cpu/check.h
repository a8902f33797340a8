// Checks of what callers pass.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "vmruntime.h"

namespace vm {

using Shape = std::array<int64_t, 3>;

inline int64_t voxels(const Shape &shape) { return shape[0] * shape[1] * shape[2]; }

// Throws where a pointer is NULL.
void require(const void *pointer, const char *name);

// A shape with sizes of at least `least` and at most 2^31 - 1 voxels.
Shape checked_shape(const int64_t *shape, const char *name, int64_t least = 1);

// A number of channels whose array of float64 can be addressed.
void check_channels(int64_t channels, const Shape &shape);

// Bytes of an element; throws for an unknown type.
int64_t size_of(vm_type type);

bool is_integer(vm_type type);

// Throws for a mode that is unknown or does not go with the type.
void check_mode(vm_mode mode, vm_type type);

// A 3 x 4 matrix of finite numbers.
std::array<double, 12> checked_matrix(const double *matrix, const char *name);

}  // namespace vm
