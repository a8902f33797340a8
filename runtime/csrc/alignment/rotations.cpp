#include "alignment/rotations.h"

#include <algorithm>
#include <cmath>

namespace vm::alignment {

namespace {

constexpr double pi = 3.14159265358979323846;
constexpr double nearby_degrees = 40;

Point times(double factor, const Point &vector) {
    return {factor * vector[0], factor * vector[1], factor * vector[2]};
}

double radians(double degrees) { return degrees * (pi / 180); }

}  // namespace

Matrix rotation_about(const Point &vector) {
    const double angle = std::sqrt(vector[0] * vector[0] + vector[1] * vector[1] +
                                   vector[2] * vector[2]);
    if (angle < 1e-12) return identity;
    const double x = vector[0] / angle, y = vector[1] / angle, z = vector[2] / angle;
    const Matrix cross{0, -z, y, 0, z, 0, -x, 0, -y, x, 0, 0};
    const Matrix twice = cross * cross;
    Matrix rotation = identity;
    for (std::size_t i = 0; i < 12; ++i)
        rotation[i] += std::sin(angle) * cross[i] + (1 - std::cos(angle)) * twice[i];
    return rotation;
}

std::vector<Matrix> nearby_rotations() {
    std::vector<Point> axes;
    for (const double sign : {1.0, -1.0})
        for (std::size_t axis = 0; axis < 3; ++axis) {
            Point face{};
            face[axis] = sign;
            axes.push_back(face);
        }
    for (const double x : {1.0, -1.0})
        for (const double y : {1.0, -1.0})
            for (const double z : {1.0, -1.0}) axes.push_back(times(1 / std::sqrt(3.0), {x, y, z}));
    std::vector<Matrix> found{identity};
    for (const Point &axis : axes)
        found.push_back(rotation_about(times(radians(nearby_degrees), axis)));
    return found;
}

std::vector<Matrix> all_rotations() {
    const double golden = (1 + std::sqrt(5.0)) / 2;
    const Matrix fifth = rotation_about(
        times(radians(72) / std::sqrt(1 + golden * golden), {0, 1, golden}));
    const Matrix third = rotation_about(times(radians(120) / std::sqrt(3.0), {1, 1, 1}));
    std::vector<Matrix> found{identity};
    // It grows while this runs, up to the whole group.
    for (std::size_t i = 0; i < found.size(); ++i)
        for (const Matrix &generator : {fifth, third}) {
            const Matrix made = generator * found[i];
            if (std::all_of(found.begin(), found.end(), [&](const Matrix &known) {
                    return difference(made, known) > 1e-6;
                }))
                found.push_back(made);
        }
    return found;
}

}  // namespace vm::alignment
