#include "landings.h"

#include <algorithm>
#include <cmath>

#include "map.h"
#include "rows.h"
#include "threads.h"

namespace vm {

namespace {

constexpr int64_t CELL = 2;  // voxels along a cell

constexpr int64_t GRAIN = 1 << 15;  // voxels of a task

constexpr int32_t NOWHERE = -1;

// The cell that every voxel lands in.
Buffer<int32_t> landed_cells(const float *displacement, const Shape &shape, const Shape &cells,
                             int threads) {
    Buffer<int32_t> landed(size_t(voxels(shape)));
    const int64_t grain = std::max<int64_t>(1, GRAIN / shape[2]);
    parallel_ranges(shape[0] * shape[1], grain, threads, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
            for (int64_t w = 0; w < shape[2]; ++w) {
                const int64_t voxel = row * shape[2] + w;
                const int64_t index[3] = {row / shape[1], row % shape[1], w};
                int64_t cell = 0;
                bool inside = true;
                for (int axis = 0; axis < 3; ++axis) {
                    const float u = displacement[axis * voxels(shape) + voxel];
                    const float place = std::nearbyint(float(index[axis]) + u);
                    // NaN as well as far away: negated.
                    if (!(place >= 0 && place < float(shape[axis]))) {
                        inside = false;
                        break;
                    }
                    cell = cell * cells[axis] + int64_t(place) / CELL;
                }
                landed[voxel] = inside ? int32_t(cell) : NOWHERE;
            }
        }
    });
    return landed;
}

// Weighted with 1 2 1 along each axis; the border counts twice.
void smooth(float *values, const Shape &shape) {
    int64_t stride = 1;
    for (int axis = 2; axis >= 0; --axis) {
        const int64_t size = shape[axis];
        for (int64_t outer = 0; outer < voxels(shape) / (size * stride); ++outer) {
            for (int64_t inner = 0; inner < stride; ++inner) {
                float *line = values + outer * size * stride + inner;
                float before = line[0];
                for (int64_t i = 0; i < size; ++i) {
                    const float here = line[i * stride];
                    const float after = i + 1 < size ? line[(i + 1) * stride] : here;
                    line[i * stride] = (before + 2 * here + after) / 4;
                    before = here;
                }
            }
        }
        stride *= size;
    }
}

}  // namespace

void landings(const float *displacement, const Shape &shape, float *inverse, int threads) {
    Shape cells;
    for (int axis = 0; axis < 3; ++axis) cells[axis] = (shape[axis] + CELL - 1) / CELL;
    const int64_t count = voxels(cells);
    Buffer<float> back(size_t(4 * count));  // the three components and their number
    {
        const Buffer<int32_t> landed = landed_cells(displacement, shape, cells, threads);
        // Each sum by one thread, in one order: the result does not depend on their number.
        parallel_for(4, threads, [&](int64_t component) {
            Buffer<double> sums(static_cast<size_t>(count));
            std::fill(sums.data(), sums.data() + count, 0.0);
            const float *u = displacement + component * voxels(shape);
            for (int64_t i = 0; i < voxels(shape); ++i) {
                if (landed[i] != NOWHERE) sums[landed[i]] += component < 3 ? u[i] : 1.0;
            }
            float *to = back.data() + component * count;
            for (int64_t i = 0; i < count; ++i) to[i] = float(sums[i]);
            smooth(to, cells);
        });
    }
    parallel_ranges(count, GRAIN, threads, [&](int64_t first, int64_t last) {
        const float *number = back.data() + 3 * count;
        for (int component = 0; component < 3; ++component) {
            float *total = back.data() + component * count;
            for (int64_t i = first; i < last; ++i) {
                total[i] = -total[i] / std::max(number[i], 1e-6f);
            }
        }
    });
    // A cell's middle lies between its voxels.
    const auto place = [&](int64_t index, int axis) {
        const float middle = (float(index) - float(CELL - 1) / 2) / float(CELL);
        return std::clamp(middle, 0.0f, float(cells[axis] - 1));
    };
    const Layout layout = layout_of(cells);
    const int64_t grain = std::max<int64_t>(1, GRAIN / shape[2]);
    parallel_ranges(shape[0] * shape[1], grain, threads, [&](int64_t first, int64_t last) {
        RowSpace space(shape[2]);
        for (int64_t w = 0; w < shape[2]; ++w) space.places[2][w] = place(w, 2);
        for (int64_t row = first; row < last; ++row) {
            std::fill_n(space.places[0], shape[2], place(row / shape[1], 0));
            std::fill_n(space.places[1], shape[2], place(row % shape[1], 1));
            pad(space.places.data(), shape[2]);
            float *to[3];
            for (int axis = 0; axis < 3; ++axis) {
                to[axis] = inverse + axis * voxels(shape) + row * shape[2];
            }
            rows().linear(back.data(), count, 3, layout, space.places.data(), shape[2], to);
        }
    });
}

}  // namespace vm
