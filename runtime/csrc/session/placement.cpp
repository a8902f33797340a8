#include "session/placement.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "session/statistics.h"

namespace vm {

namespace {

// Share of the scan's bright end, this percentile of what is above 0, that is foreground.
constexpr float foreground_share = 0.1f;
constexpr double bright_end = 99.5;

// Voxels along an axis from which shares and percentiles are as good as from all of a large scan.
constexpr std::int64_t enough = 64;

// Voxels added on either side of the foreground where a model takes any shape.
constexpr double margin = 8;

// Relative; resampling tools round voxel sizes to a few digits.
constexpr double voxel_size_tolerance = 0.01;

using Box = std::array<std::array<std::int64_t, 2>, 3>;  // first and one past the last

// Calls visit(index, value) for every step-th voxel along each axis.
template <class Visit>
void over_sparse(const Scan &scan, const Visit &visit) {
    const auto &shape = scan.grid.shape;
    std::array<std::int64_t, 3> step{}, i{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        step[axis] = std::max<std::int64_t>(1, shape[axis] / enough);
    for (i[0] = 0; i[0] < shape[0]; i[0] += step[0])
        for (i[1] = 0; i[1] < shape[1]; i[1] += step[1]) {
            const float *row = scan.values.data() + (i[0] * shape[1] + i[1]) * shape[2];
            for (i[2] = 0; i[2] < shape[2]; i[2] += step[2]) visit(i, row[i[2]]);
        }
}

// Bounds of the foreground; false where there is none.
bool foreground_box(const Scan &scan, Box &box) {
    const float threshold = foreground_threshold(scan);
    const auto &shape = scan.grid.shape;
    for (std::size_t axis = 0; axis < 3; ++axis) box[axis] = {shape[axis], 0};
    for (std::int64_t d = 0; d < shape[0]; ++d)
        for (std::int64_t h = 0; h < shape[1]; ++h) {
            const float *row = scan.values.data() + (d * shape[1] + h) * shape[2];
            std::int64_t first = 0, last = shape[2];
            while (first < last && !(row[first] > threshold)) ++first;
            if (first == last) continue;
            while (!(row[last - 1] > threshold)) --last;
            box[0] = {std::min(box[0][0], d), std::max(box[0][1], d + 1)};
            box[1] = {std::min(box[1][0], h), std::max(box[1][1], h + 1)};
            box[2] = {std::min(box[2][0], first), std::max(box[2][1], last)};
        }
    return box[0][1] > 0;
}

// Smallest multiples of the stride that hold the foreground with a margin.
std::array<std::int64_t, 3> shape_around(const Manifest &manifest, const Box &box,
                                         const Grid &grid, const Matrix &linear) {
    Grid around;
    around.affine = inverse(linear) * grid.affine;
    Point low{}, high{};
    for (unsigned corner = 0; corner < 8; ++corner) {
        Point index{};
        for (unsigned axis = 0; axis < 3; ++axis)
            index[axis] = static_cast<double>(box[axis][corner >> axis & 1]);
        const Point place = around.affine * index;
        for (std::size_t axis = 0; axis < 3; ++axis) {
            low[axis] = corner ? std::min(low[axis], place[axis]) : place[axis];
            high[axis] = corner ? std::max(high[axis], place[axis]) : place[axis];
        }
    }
    std::array<std::int64_t, 3> shape{};
    const auto stride = static_cast<double>(manifest.stride);
    for (std::size_t axis = 0; axis < 3; ++axis)
        shape[axis] = static_cast<std::int64_t>(
            std::ceil((high[axis] - low[axis] + 2 * margin) / stride) * stride);
    return shape;
}

}  // namespace

std::string grid_differences(const Manifest &manifest, const Grid &grid) {
    std::string text;
    const auto add = [&text](const std::string &phrase) {
        text += (text.empty() ? "" : ", ") + phrase;
    };
    const auto product = [](const std::array<std::int64_t, 3> &shape) {
        return std::to_string(shape[0]) + " x " + std::to_string(shape[1]) + " x " +
               std::to_string(shape[2]);
    };
    if (!manifest.free_shape() && grid.shape != manifest.shape)
        add(product(grid.shape) + " voxels instead of " + product(manifest.shape));
    else if (std::any_of(grid.shape.begin(), grid.shape.end(),
                         [&](std::int64_t size) { return size % manifest.stride != 0; }))
        add(product(grid.shape) + " voxels, not multiples of " + std::to_string(manifest.stride));
    const std::string orientation = grid.orientation();
    if (orientation != manifest.orientation)
        add("orientation " + orientation + " instead of " + manifest.orientation);
    const std::array<double, 3> found = grid.voxel_size(), &wanted = manifest.voxel_size;
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (std::abs(found[axis] - wanted[axis]) > voxel_size_tolerance * wanted[axis]) {
            add("voxels of " + std::to_string(found[axis]) + " mm along axis " +
                std::to_string(axis) + " instead of " + std::to_string(wanted[axis]));
            break;
        }
    return text;
}

float foreground_threshold(const Scan &scan) {
    std::vector<float> sparse;
    over_sparse(scan, [&](const auto &, float value) { sparse.push_back(value); });
    const Percentiles used(sparse.data(), static_cast<std::int64_t>(sparse.size()), true);
    if (used.count()) return foreground_share * static_cast<float>(used.at(bright_end));
    return *std::min_element(scan.values.data(), scan.values.data() + scan.count());
}

Grid place_model_grid(const Manifest &manifest, const Scan &fixed) {
    if (grid_differences(manifest, fixed.grid).empty()) return fixed.grid;
    Box box{};
    const bool found = foreground_box(fixed, box);
    Point centre{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (!found) box[axis] = {0, fixed.grid.shape[axis]};
        centre[axis] = static_cast<double>(box[axis][0] + box[axis][1] - 1) / 2;
    }
    centre = fixed.grid.affine * centre;
    Grid model;
    model.affine = {};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const std::size_t at = std::string_view("LRPAIS").find(manifest.orientation[axis]);
        model.affine[at / 2 * 4 + axis] = (at % 2 ? 1 : -1) * manifest.voxel_size[axis];
    }
    model.shape = manifest.free_shape() ? shape_around(manifest, box, fixed.grid, model.affine)
                                        : manifest.shape;
    Point middle{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        middle[axis] = static_cast<double>(model.shape[axis] - 1) / 2;
    const Point away = model.affine * middle;
    for (std::size_t row = 0; row < 3; ++row) model.affine[row * 4 + 3] = centre[row] - away[row];
    return model;
}

double share_outside(const Scan &scan, const Grid &model, const Matrix &to_model_world) {
    const float threshold = foreground_threshold(scan);
    const Matrix to_model = inverse(model.affine) * to_model_world * scan.grid.affine;
    std::int64_t used = 0, outside = 0;
    over_sparse(scan, [&](const std::array<std::int64_t, 3> &index, float value) {
        if (!(value > threshold)) return;
        ++used;
        const Point place = to_model * Point{static_cast<double>(index[0]),
                                             static_cast<double>(index[1]),
                                             static_cast<double>(index[2])};
        for (std::size_t axis = 0; axis < 3; ++axis)
            if (!(place[axis] > -0.5 && place[axis] < static_cast<double>(model.shape[axis]) - 0.5)) {
                ++outside;
                return;
            }
    });
    return used ? static_cast<double>(outside) / static_cast<double>(used) : 0;
}

}  // namespace vm
