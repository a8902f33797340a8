#include "session/grid.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cpu/check.h"
#include "cpu/error.h"

namespace vm {

namespace {

// Headers store affines in float32; round trips through tools move corners by some 1e-4 mm.
constexpr double corner_tolerance_mm = 1e-2;

// Far beyond any scan, and far from where squares and products overflow or vanish.
constexpr double smallest_mm = 1e-6, largest_mm = 1e6;

// Determinant of the linear part, scaled to a largest element of 1.
constexpr double singular = 1e-9;

using Linear = std::array<std::array<double, 3>, 3>;

// The rotation or reflection nearest to a matrix: its polar factor, by Newton's iteration
// (Higham, SIAM J. Sci. Stat. Comput. 7, 1986).
Linear nearest_rotation(Linear x) {
    for (int step = 0; step < 100; ++step) {
        const Matrix here{x[0][0], x[0][1], x[0][2], 0, x[1][0], x[1][1],
                          x[1][2], 0,       x[2][0], x[2][1], x[2][2], 0};
        const Matrix back = inverse(here);
        double change = 0;
        for (std::size_t i = 0; i < 3; ++i)
            for (std::size_t j = 0; j < 3; ++j) {
                const double next = (x[i][j] + back[j * 4 + i]) / 2;
                change = std::max(change, std::abs(next - x[i][j]));
                x[i][j] = next;
            }
        if (change < 1e-14) break;
    }
    return x;
}

}  // namespace

Matrix operator*(const Matrix &a, const Matrix &b) {
    Matrix result{};
    for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 4; ++j) {
            double sum = j == 3 ? a[i * 4 + 3] : 0;
            for (std::size_t k = 0; k < 3; ++k) sum += a[i * 4 + k] * b[k * 4 + j];
            result[i * 4 + j] = sum;
        }
    return result;
}

Point operator*(const Matrix &matrix, const Point &point) {
    Point result{};
    for (std::size_t i = 0; i < 3; ++i)
        result[i] = matrix[i * 4] * point[0] + matrix[i * 4 + 1] * point[1] +
                    matrix[i * 4 + 2] * point[2] + matrix[i * 4 + 3];
    return result;
}

double determinant(const Matrix &m) {
    return m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) +
           m[2] * (m[4] * m[9] - m[5] * m[8]);
}

Matrix inverse(const Matrix &m) {
    const double scale = 1 / determinant(m);
    Matrix result{(m[5] * m[10] - m[6] * m[9]) * scale, (m[2] * m[9] - m[1] * m[10]) * scale,
                  (m[1] * m[6] - m[2] * m[5]) * scale,  0,
                  (m[6] * m[8] - m[4] * m[10]) * scale, (m[0] * m[10] - m[2] * m[8]) * scale,
                  (m[2] * m[4] - m[0] * m[6]) * scale,  0,
                  (m[4] * m[9] - m[5] * m[8]) * scale,  (m[1] * m[8] - m[0] * m[9]) * scale,
                  (m[0] * m[5] - m[1] * m[4]) * scale,  0};
    for (std::size_t i = 0; i < 3; ++i)
        result[i * 4 + 3] = -(result[i * 4] * m[3] + result[i * 4 + 1] * m[7] +
                              result[i * 4 + 2] * m[11]);
    return result;
}

double difference(const Matrix &a, const Matrix &b) {
    double most = 0;
    for (std::size_t i = 0; i < 12; ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
}

Matrix checked_affine(const double *given, const std::string &name) {
    Matrix matrix{};
    std::copy(given, given + 12, matrix.begin());
    double most = 0, scale = 0;
    for (std::size_t i = 0; i < 12; ++i) {
        if (!std::isfinite(matrix[i]))
            throw Error(VM_ERROR_GRID, name + " holds a number that is not finite; repair it");
        most = std::max(most, std::abs(matrix[i]));
        if (i % 4 != 3) scale = std::max(scale, std::abs(matrix[i]));
    }
    if (scale != 0 && (scale < smallest_mm || most > largest_mm))
        throw Error(VM_ERROR_GRID, name +
                                       " holds sizes or positions that are not between 1e-6 and "
                                       "1e6 millimetres; repair it");
    Matrix scaled = matrix;
    // Relative to the voxel size, so that micron-sized voxels are not called singular.
    for (double &element : scaled) element /= scale != 0 ? scale : 1;
    if (!(std::abs(determinant(scaled)) >= singular))
        throw Error(VM_ERROR_GRID, name + " is singular: two axes point the same way, or one has "
                                          "no length; repair it");
    return matrix;
}

std::string Grid::orientation() const {
    const std::array<double, 3> size = voxel_size();
    Linear linear{};
    for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 3; ++j) linear[i][j] = affine[i * 4 + j] / size[j];
    linear = nearest_rotation(linear);
    // As nibabel's io_orientation: the axis that is nearest to one of the world's chooses first.
    std::array<std::size_t, 3> order{0, 1, 2};
    const auto strongest = [&linear](std::size_t axis) {
        double most = 0;
        for (std::size_t row = 0; row < 3; ++row)
            most = std::max(most, linear[row][axis] * linear[row][axis]);
        return most;
    };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return strongest(a) > strongest(b);
    });
    std::string code = "???";
    std::array<bool, 3> taken{};
    for (const std::size_t axis : order) {
        std::size_t best = 3;
        for (std::size_t row = 0; row < 3; ++row)
            if (!taken[row] &&
                (best == 3 || std::abs(linear[row][axis]) > std::abs(linear[best][axis])))
                best = row;
        taken[best] = true;
        code[axis] = (linear[best][axis] < 0 ? "LPI" : "RAS")[best];
    }
    return code;
}

std::array<double, 3> Grid::voxel_size() const {
    std::array<double, 3> size{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        size[axis] = std::sqrt(affine[axis] * affine[axis] + affine[4 + axis] * affine[4 + axis] +
                               affine[8 + axis] * affine[8 + axis]);
    return size;
}

std::array<Point, 8> Grid::corners() const {
    std::array<Point, 8> result{};
    for (unsigned corner = 0; corner < 8; ++corner) {
        Point index{};
        for (unsigned axis = 0; axis < 3; ++axis)
            index[axis] = corner >> (2 - axis) & 1 ? static_cast<double>(shape[axis] - 1) : 0;
        result[corner] = affine * index;
    }
    return result;
}

double Grid::offset_mm(const Grid &other) const {
    const std::array<Point, 8> here = corners(), there = other.corners();
    double most = 0;
    for (std::size_t i = 0; i < 8; ++i) {
        double sum = 0;
        for (std::size_t axis = 0; axis < 3; ++axis)
            sum += (here[i][axis] - there[i][axis]) * (here[i][axis] - there[i][axis]);
        most = std::max(most, std::sqrt(sum));
    }
    return most;
}

bool Grid::matches(const Grid &other) const {
    return shape == other.shape && offset_mm(other) <= corner_tolerance_mm;
}

Grid grid_of(const vm_image &image, const std::string &name) {
    Grid grid;
    grid.shape = checked_shape(image.shape, (name + "->shape").c_str());
    grid.affine = checked_affine(image.affine, name + "->affine");
    return grid;
}

}  // namespace vm
