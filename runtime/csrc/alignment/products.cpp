#include "alignment/products.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/threads.h"

namespace vm::alignment {

namespace {

// Points that one thread does at a time; their sums are added up in order.
constexpr std::int64_t points_per_chunk = 16 * points_per_block;

using Sums = std::array<double, product_count>;

Points points_template(const Level &moving, const Matrix &pose) {
    const Matrix to_index = inverse(moving.affine);
    const Matrix whole = to_index * pose;
    Points points{};
    for (std::size_t row = 0; row < 3; ++row) {
        for (std::size_t column = 0; column < 3; ++column) {
            points.linear[3 * row + column] = static_cast<float>(whole[4 * row + column]);
            points.to_world[3 * row + column] = static_cast<float>(to_index[4 * column + row]);
        }
        points.shift[row] = static_cast<float>(whole[4 * row + 3]);
    }
    return points;
}

}  // namespace

double Products::covariance(std::size_t a, std::size_t b) const {
    return of[a][b] - of[a][one_column] * of[b][one_column] / of[one_column][one_column];
}

double Products::correlation() const {
    const double number = of[one_column][one_column];
    if (number == 0) return 0;
    const double variance =
        covariance(moving_column, moving_column) * covariance(fixed_column, fixed_column);
    // What rounding leaves of a constant image is no contrast.
    if (!(variance > 1e-12 * number * number)) return 0;
    return covariance(moving_column, fixed_column) / std::sqrt(variance);
}

Field field_of(const Level &level) {
    Field field{};
    field.data = level.data;
    std::int64_t step = 1;
    for (std::size_t axis = 3; axis-- > 0;) {
        field.size[axis] = static_cast<std::int32_t>(level.shape[axis]);
        field.step[axis] = level.shape[axis] > 1 ? static_cast<std::int32_t>(step) : 0;
        step *= level.shape[axis];
    }
    field.offset = level.offset;
    field.gain = level.gain;
    return field;
}

Products products_of(const Level &moving, const Samples &samples, const Matrix &pose, int threads) {
    const Field field = field_of(moving);
    const Points whole = points_template(moving, pose);
    const Loops &table = loops();
    const std::int64_t chunks = (samples.count + points_per_chunk - 1) / points_per_chunk;
    std::vector<Sums> sums(static_cast<std::size_t>(chunks));
    parallel_for(chunks, threads, [&](std::int64_t chunk) {
        Points points = whole;
        const std::int64_t end = std::min((chunk + 1) * points_per_chunk, samples.count);
        for (std::int64_t at = chunk * points_per_chunk; at < end; at += points_per_block) {
            for (std::size_t axis = 0; axis < 3; ++axis)
                points.place[axis] = samples.points[axis].data() + at;
            points.fixed = samples.values.data() + at;
            points.count = std::min(points_per_block, end - at);
            table.products(field, points, sums[static_cast<std::size_t>(chunk)].data());
        }
    });
    Products result;
    std::size_t number = 0;
    for (std::size_t a = 0; a < column_count; ++a)
        for (std::size_t b = a; b < column_count; ++b, ++number) {
            double sum = 0;
            for (const Sums &part : sums) sum += part[number];
            result.of[a][b] = result.of[b][a] = sum;
        }
    return result;
}

}  // namespace vm::alignment
