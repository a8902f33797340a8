#include "alignment/shape.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace vm::alignment {

namespace {

using Columns = std::array<Point, 3>;

double dot(const Point &a, const Point &b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

void turn(Point &a, Point &b, double cosine, double sine) {
    for (std::size_t i = 0; i < 3; ++i) {
        const double x = a[i], y = b[i];
        a[i] = cosine * x - sine * y;
        b[i] = sine * x + cosine * y;
    }
}

// Columns of U S and of V, of a matrix U S V^T: Jacobi rotations until the former are orthogonal.
void decompose(Columns &left, Columns &right) {
    for (int sweep = 0; sweep < 50; ++sweep) {
        bool done = true;
        for (std::size_t p = 0; p < 2; ++p)
            for (std::size_t q = p + 1; q < 3; ++q) {
                const double a = dot(left[p], left[p]), b = dot(left[q], left[q]);
                const double mixed = dot(left[p], left[q]);
                if (std::abs(mixed) <= 1e-15 * std::sqrt(a * b)) continue;
                done = false;
                const double zeta = (b - a) / (2 * mixed);
                const double tangent =
                    (zeta < 0 ? -1 : 1) / (std::abs(zeta) + std::sqrt(1 + zeta * zeta));
                const double cosine = 1 / std::sqrt(1 + tangent * tangent);
                turn(left[p], left[q], cosine, cosine * tangent);
                turn(right[p], right[q], cosine, cosine * tangent);
            }
        if (done) return;
    }
}

}  // namespace

MapShape shape_of(const Matrix &matrix) {
    Columns left{}, right{};
    for (std::size_t column = 0; column < 3; ++column) {
        right[column][column] = 1;
        for (std::size_t row = 0; row < 3; ++row) left[column][row] = matrix[row * 4 + column];
    }
    decompose(left, right);
    MapShape shape;
    double trace = 0;
    for (std::size_t k = 0; k < 3; ++k) {
        shape.scale[k] = std::sqrt(dot(left[k], left[k]));
        if (shape.scale[k] > 0) trace += dot(left[k], right[k]) / shape.scale[k];
    }
    std::sort(shape.scale.begin(), shape.scale.end(), std::greater<double>());
    constexpr double degrees = 180 / 3.14159265358979323846;
    shape.rotation_degrees = std::acos(std::clamp((trace - 1) / 2, -1.0, 1.0)) * degrees;
    return shape;
}

bool fields_overlap(const Grid &one, const Grid &other) {
    std::array<Point, 2> low{}, high{};
    for (std::size_t which = 0; which < 2; ++which) {
        const Grid &grid = which ? other : one;
        const std::array<Point, 8> corners = grid.corners();
        for (std::size_t row = 0; row < 3; ++row) {
            // Voxels reach half their size beyond their centres.
            double half = 0;
            for (std::size_t axis = 0; axis < 3; ++axis)
                half += std::abs(grid.affine[row * 4 + axis]) / 2;
            low[which][row] = high[which][row] = corners[0][row];
            for (const Point &corner : corners) {
                low[which][row] = std::min(low[which][row], corner[row]);
                high[which][row] = std::max(high[which][row], corner[row]);
            }
            low[which][row] -= half;
            high[which][row] += half;
        }
    }
    for (std::size_t row = 0; row < 3; ++row)
        if (!(low[0][row] <= high[1][row] && low[1][row] <= high[0][row])) return false;
    return true;
}

}  // namespace vm::alignment
