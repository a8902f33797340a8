// Where an array of voxels lies in the world; see vmruntime/grid.py.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "vmruntime.h"

namespace vm {

// The first three rows of an affine 4 x 4 matrix, row after row.
using Matrix = std::array<double, 12>;
using Point = std::array<double, 3>;

constexpr Matrix identity{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};

// First b, then a.
Matrix operator*(const Matrix &a, const Matrix &b);
Point operator*(const Matrix &matrix, const Point &point);
double determinant(const Matrix &matrix);
Matrix inverse(const Matrix &matrix);
// Largest difference of two elements.
double difference(const Matrix &a, const Matrix &b);

// A copy that was found finite, of believable size and invertible; throws Error (GRID).
Matrix checked_affine(const double *matrix, const std::string &name);

struct Grid {
    std::array<std::int64_t, 3> shape{};
    Matrix affine = identity;

    std::int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }
    // World direction that each array axis runs toward, such as "LIA".
    std::string orientation() const;
    std::array<double, 3> voxel_size() const;
    // World positions of the corner voxels; bit 2 - i of the index says which end of axis i.
    std::array<Point, 8> corners() const;
    // Largest distance in mm between matching corners.
    double offset_mm(const Grid &other) const;
    // Whether both have the same voxels at the same places.
    bool matches(const Grid &other) const;
};

// Grid of an image whose shape and affine were found right; throws Error (ARGUMENT, GRID).
Grid grid_of(const vm_image &image, const std::string &name);

}  // namespace vm
