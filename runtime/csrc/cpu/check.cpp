#include "check.h"

#include <cmath>

#include "error.h"

namespace vm {

namespace {

// Positions inside a volume are kept as 32-bit numbers.
constexpr int64_t MOST_VOXELS = INT32_MAX;

// Beyond this products might leave the range of numbers.
constexpr double LARGEST_FACTOR = 1e15;

std::string text(const int64_t *shape) {
    return "(" + std::to_string(shape[0]) + ", " + std::to_string(shape[1]) + ", " +
           std::to_string(shape[2]) + ")";
}

}  // namespace

void require(const void *pointer, const char *name) {
    if (!pointer) throw argument_error(std::string(name) + " is NULL");
}

Shape checked_shape(const int64_t *shape, const char *name, int64_t least) {
    require(shape, name);
    int64_t total = 1;
    for (int axis = 0; axis < 3; ++axis) {
        if (shape[axis] < least) {
            throw argument_error(std::string(name) + " is " + text(shape) +
                                 "; every size must be at least " + std::to_string(least));
        }
        if (shape[axis] > MOST_VOXELS / total) {
            throw argument_error(std::string(name) + " is " + text(shape) +
                                 "; at most 2^31 - 1 voxels can be used");
        }
        total *= shape[axis];
    }
    return {shape[0], shape[1], shape[2]};
}

void check_channels(int64_t channels, const Shape &shape) {
    if (channels < 1 || channels > INT64_MAX / 16 / voxels(shape)) {
        throw argument_error("channels is " + std::to_string(channels) +
                             "; it must be at least 1 and fit into memory");
    }
}

int64_t size_of(vm_type type) {
    switch (static_cast<int>(type)) {
        case VM_U8:
        case VM_I8: return 1;
        case VM_U16:
        case VM_I16:
        case VM_F16: return 2;
        case VM_U32:
        case VM_I32:
        case VM_F32: return 4;
        case VM_U64:
        case VM_I64:
        case VM_F64: return 8;
        default:
            throw argument_error("type " + std::to_string(static_cast<int>(type)) +
                                 " is unknown; use one of vm_type");
    }
}

bool is_integer(vm_type type) { return type != VM_F16 && type != VM_F32 && type != VM_F64; }

void check_mode(vm_mode mode, vm_type type) {
    switch (static_cast<int>(mode)) {
        case VM_LINEAR:
        case VM_NEAREST: return;
        case VM_LABEL:
            if (is_integer(type)) return;
            throw argument_error("VM_LABEL needs a volume of integers; use VM_NEAREST");
        default:
            throw argument_error("mode " + std::to_string(static_cast<int>(mode)) +
                                 " is unknown; use one of vm_mode");
    }
}

std::array<double, 12> checked_matrix(const double *matrix, const char *name) {
    require(matrix, name);
    std::array<double, 12> copy;
    for (int i = 0; i < 12; ++i) {
        // Negated, so that NaN counts.
        if (!(std::abs(matrix[i]) <= LARGEST_FACTOR)) {
            throw argument_error(std::string(name) + " holds " + std::to_string(matrix[i]) +
                                 "; its numbers must be finite and at most 1e15");
        }
        copy[i] = matrix[i];
    }
    return copy;
}

}  // namespace vm
