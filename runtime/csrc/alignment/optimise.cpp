#include "alignment/optimise.h"

#include <algorithm>
#include <cmath>

#include "alignment/products.h"
#include "alignment/rotations.h"
#include "alignment/solve.h"

namespace vm::alignment {

namespace {

constexpr double first_damping = 1e-2, least_damping = 1e-6, most_damping = 1e3;
// Noise in the gradients makes Gauss-Newton steps too short on unsmoothed levels, for many steps
// in the same direction: as long as they succeed they grow.
constexpr double stride_growth = 1.4, longest_stride = 4;

// Far beyond any scan, mm; coordinates that follow from it are finite in float32.
constexpr double largest_element = 1e12;

using Step = std::array<double, 12>;

// How the pose, row after row, changes with each degree of freedom: [element][direction].
using Directions = std::array<std::array<double, 12>, 12>;

Directions directions_of(const Matrix &pose, Freedom freedom) {
    Directions directions{};
    if (freedom == Freedom::affine) {
        for (std::size_t i = 0; i < 12; ++i) directions[i][i] = 1;
        return directions;
    }
    for (std::size_t k = 0; k < 3; ++k) {
        // e_k x each column
        const std::size_t next = (k + 1) % 3, last = (k + 2) % 3;
        for (std::size_t column = 0; column < 3; ++column) {
            directions[4 * next + column][k] = -pose[4 * last + column];
            directions[4 * last + column][k] = pose[4 * next + column];
            directions[4 * k + column][6] = pose[4 * k + column];
        }
        directions[4 * k + 3][3 + k] = 1;
    }
    return directions;
}

// Whether a pose is finite and leads to the same world at all.
bool is_usable(const Matrix &pose) {
    return std::all_of(pose.begin(), pose.end(),
                       [](double element) { return std::abs(element) < largest_element; });
}

// One damped Gauss-Newton step; false where the scans say nothing. gain * (moving + J step) +
// offset = fixed is linear in gain * step, gain and offset: its least squares give the step once
// divided by the gain.
bool step_of(const Products &products, const Directions &directions, Freedom freedom,
             double damping, Step &step) {
    const auto free = static_cast<std::size_t>(freedom), all = free + 2;
    // J in the directions, moving and 1, in terms of the columns.
    std::array<std::array<double, most_unknowns>, column_count> basis{};
    for (std::size_t i = 0; i < 12; ++i)
        std::copy(directions[i].begin(), directions[i].begin() + free, basis[i].begin());
    basis[moving_column][free] = basis[one_column][free + 1] = 1;
    Equations normal{};
    Unknowns right{};
    for (std::size_t j = 0; j < all; ++j) {
        std::array<double, column_count> seen{};  // products with basis vector j
        for (std::size_t a = 0; a < column_count; ++a)
            for (std::size_t b = 0; b < column_count; ++b)
                seen[a] += products.of[a][b] * basis[b][j];
        for (std::size_t i = 0; i < all; ++i)
            for (std::size_t a = 0; a < column_count; ++a) normal[i][j] += basis[a][i] * seen[a];
        right[j] = seen[fixed_column];
    }
    double most = 1e-12;
    for (std::size_t i = 0; i < free; ++i) most = std::max(most, normal[i][i]);
    // A direction without effect (a single slice, all outside) gets a stop instead of a zero.
    for (std::size_t i = 0; i < free; ++i) normal[i][i] += damping * normal[i][i] + 1e-9 * most;
    if (!solve(normal, right, static_cast<int>(all))) return false;
    const double gain = right[free];
    // Without contrast, or with an inverted one, the step would lead away.
    if (!(gain > 1e-6)) return false;
    step = {};
    for (std::size_t i = 0; i < free; ++i) {
        step[i] = right[i] / gain;
        if (!std::isfinite(step[i])) return false;
    }
    return true;
}

Matrix moved(const Matrix &pose, const Step &step, double stride, Freedom freedom) {
    Matrix result = pose;
    if (freedom == Freedom::affine) {
        for (std::size_t i = 0; i < 12; ++i) result[i] += stride * step[i];
        return result;
    }
    // No step of a similarity may turn by more than half a turn or scale beyond measure.
    const double scale = std::exp(std::clamp(stride * step[6], -1.0, 1.0));
    const Matrix turn = rotation_about({stride * step[0], stride * step[1], stride * step[2]});
    const Matrix turned = turn * pose;
    for (std::size_t row = 0; row < 3; ++row) {
        for (std::size_t column = 0; column < 3; ++column)
            result[4 * row + column] = scale * turned[4 * row + column];
        result[4 * row + 3] = pose[4 * row + 3] + stride * step[3 + row];
    }
    return result;
}

}  // namespace

Fit fit(const Level &moving, const Samples &samples, const Matrix &start, const Effort &effort,
        const Pulse &pulse) {
    Products products = products_of(moving, samples, start, effort.threads);
    Fit best{start, products.correlation()};
    double damping = first_damping, stride = 1;
    for (int number = 0; number < effort.steps; ++number) {
        pulse.check();
        Step step{};
        if (!step_of(products, directions_of(best.pose, effort.freedom), effort.freedom, damping,
                     step))
            break;
        const Matrix candidate = moved(best.pose, step, stride, effort.freedom);
        const double moved_by = difference(candidate, best.pose);
        double correlation = -1;
        Products there;
        if (is_usable(candidate) && determinant(candidate) > 0) {
            there = products_of(moving, samples, candidate, effort.threads);
            correlation = there.correlation();
        }
        if (correlation > best.correlation) {
            best = {candidate, correlation};
            products = there;
            damping = std::max(damping / 10, least_damping);
            stride = std::min(stride * stride_growth, longest_stride);
        } else if (stride > 1) {
            stride = 1;
            continue;
        } else {
            damping *= 10;
        }
        if (moved_by < effort.tolerance || damping > most_damping) break;
    }
    return best;
}

double correlation_at(const Level &moving, const Samples &samples, const Matrix &pose,
                      int threads) {
    return products_of(moving, samples, pose, threads).correlation();
}

}  // namespace vm::alignment
