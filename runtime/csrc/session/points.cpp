// Single places through a registration; see vmruntime/mapping.py's displaced.
#include <algorithm>
#include <cmath>

#include "session/registration.h"

namespace vm {

namespace {

// Voxels over which a displacement fades beyond its grid.
constexpr double fade = 16;

// The displacement at a place given in voxels of its grid, fading outside it.
Point displacement_at(const Registration &result, const Point &place) {
    const auto &shape = result.model.shape;
    std::array<std::int64_t, 3> low{};
    Point share{};
    double distance = 0;
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const auto last = static_cast<double>(shape[axis] - 1);
        const double inside = std::clamp(place[axis], 0.0, last);
        distance += (place[axis] - inside) * (place[axis] - inside);
        low[axis] = std::min(static_cast<std::int64_t>(inside),
                             std::max<std::int64_t>(shape[axis] - 2, 0));
        share[axis] = inside - static_cast<double>(low[axis]);
    }
    const double weight = std::max(0.0, 1 - std::sqrt(distance) / fade);
    Point sum{};
    for (unsigned corner = 0; corner < 8; ++corner) {
        double part = weight;
        std::int64_t at = 0;
        for (unsigned axis = 0; axis < 3; ++axis) {
            const bool far = corner >> axis & 1;
            part *= far ? share[axis] : 1 - share[axis];
            at = at * shape[axis] + std::min(low[axis] + far, shape[axis] - 1);
        }
        if (part == 0) continue;
        for (std::size_t axis = 0; axis < 3; ++axis)
            sum[axis] += part * static_cast<double>(
                                    result.displacement[static_cast<std::size_t>(
                                        static_cast<std::int64_t>(axis) * result.model.voxels() +
                                        at)]);
    }
    return sum;
}

}  // namespace

Point Registration::map(const Point &place) const {
    const Point voxel = vm::inverse(model.affine) * place;
    const Point step = displacement_at(*this, voxel);
    Point moved = place;
    // The step alone through the linear part: the place keeps its precision.
    for (std::size_t row = 0; row < 3; ++row)
        for (std::size_t axis = 0; axis < 3; ++axis)
            moved[row] += model.affine[row * 4 + axis] * step[axis];
    return affine * moved;
}

}  // namespace vm
