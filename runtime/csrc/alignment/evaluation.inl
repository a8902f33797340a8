// The loops of evaluation.h, to be compiled for one instruction set. Every loop is over a whole block:
// points beyond the count are looked up at the first voxel and weigh nothing.

constexpr std::int64_t N = points_per_block;

struct Cell {
    std::int32_t base[N];
    float fraction[3][N];
    float inside[N];
};

// The voxels around index coordinates.
static void find_cells(const Field &field, const float *const *place, Cell &cell) {
    for (std::int64_t i = 0; i < N; ++i) cell.base[i] = 0;
    for (int axis = 0; axis < 3; ++axis) {
        const std::int32_t size = field.size[axis], step = field.step[axis];
        const std::int32_t highest = size > 1 ? size - 2 : 0;
        const auto last = static_cast<float>(size - 1);
        const auto middle = static_cast<float>(static_cast<double>(size - 1) / 2);
        const auto half = static_cast<float>(static_cast<double>(size) / 2);
        const float *at = place[axis];
        float *fraction = cell.fraction[axis];
        for (std::int64_t i = 0; i < N; ++i) {
            cell.inside[i] *= std::abs(at[i] - middle) <= half ? 1.0f : 0.0f;
            const float near = std::min(std::max(0.0f, at[i]), last);  // of NaN: 0
            // The last voxel pairs with the one before it, so that no corner lies outside.
            const std::int32_t low = std::min(static_cast<std::int32_t>(near), highest);
            fraction[i] = near - static_cast<float>(low);
            cell.base[i] += low * step;
        }
    }
}

// One face of the cells, across the first axis: values at the points, and their slopes along the
// other two axes.
static void look_up_face(const Field &field, const Cell &cell, std::int32_t offset, float *value,
                         float *slope_h, float *slope_w) {
    float corner[4][N];
    const float *data = field.data + offset;
    const std::int32_t h = field.step[1], w = field.step[2];
    for (std::int64_t i = 0; i < N; ++i) {
        const float *at = data + cell.base[i];
        corner[0][i] = at[0];
        corner[1][i] = at[w];
        corner[2][i] = at[h];
        corner[3][i] = at[h + w];
    }
    for (std::int64_t i = 0; i < N; ++i) {
        const float near_slope = corner[1][i] - corner[0][i];
        const float far_slope = corner[3][i] - corner[2][i];
        const float near = corner[0][i] + cell.fraction[2][i] * near_slope;
        const float far = corner[2][i] + cell.fraction[2][i] * far_slope;
        slope_h[i] = far - near;
        value[i] = near + cell.fraction[1][i] * slope_h[i];
        slope_w[i] = near_slope + cell.fraction[1][i] * (far_slope - near_slope);
    }
}

// Scaled values, and the gradient of the interpolant per voxel, hence 0 where the value is clipped.
static void look_up(const Field &field, const Cell &cell, float *value, float (*gradient)[N]) {
    float near[3][N], far[3][N];
    look_up_face(field, cell, 0, near[0], near[1], near[2]);
    look_up_face(field, cell, field.step[0], far[0], far[1], far[2]);
    const float offset = field.offset, gain = field.gain;
    for (std::int64_t i = 0; i < N; ++i) {
        const float share = cell.fraction[0][i], slope = far[0][i] - near[0][i];
        const float raw = (near[0][i] + share * slope - offset) * gain;
        const float clipped = std::min(std::max(0.0f, raw), brightest);
        value[i] = clipped * cell.inside[i];
        const float seen = clipped > 0 && clipped < brightest ? gain : 0.0f;
        const float weight = cell.inside[i] * seen;
        gradient[0][i] = slope * weight;
        gradient[1][i] = (near[1][i] + share * (far[1][i] - near[1][i])) * weight;
        gradient[2][i] = (near[2][i] + share * (far[2][i] - near[2][i])) * weight;
    }
}

static void values(const Field &field, const float *const *place, std::int64_t count, float *value,
                   float *inside) {
    float whole[3][N], found[N], gradient[3][N];
    Cell cell;
    for (std::int64_t i = 0; i < N; ++i) cell.inside[i] = i < count ? 1.0f : 0.0f;
    for (int axis = 0; axis < 3; ++axis)
        for (std::int64_t i = 0; i < N; ++i) whole[axis][i] = i < count ? place[axis][i] : 0.0f;
    const float *const at[3] = {whole[0], whole[1], whole[2]};
    find_cells(field, at, cell);
    look_up(field, cell, found, gradient);
    for (std::int64_t i = 0; i < count; ++i) value[i] = found[i];
    for (std::int64_t i = 0; i < count; ++i) inside[i] = cell.inside[i];
}

#if defined(__GNUC__)
typedef double Lanes __attribute__((vector_size(lanes * sizeof(double))));
typedef float Narrow __attribute__((vector_size(lanes * sizeof(float))));

static void widen(const float *from, Lanes &to) {
    Narrow values;
    std::memcpy(&values, from, sizeof values);
    to = __builtin_convertvector(values, Lanes);
}
#else
struct Lanes {
    double lane[lanes];
    Lanes operator*(const Lanes &other) const {
        Lanes result;
        for (int i = 0; i < lanes; ++i) result.lane[i] = lane[i] * other.lane[i];
        return result;
    }
    Lanes &operator+=(const Lanes &other) {
        for (int i = 0; i < lanes; ++i) lane[i] += other.lane[i];
        return *this;
    }
    double operator[](int i) const { return lane[i]; }
};

static void widen(const float *from, Lanes &to) {
    for (int i = 0; i < lanes; ++i) to.lane[i] = from[i];
}
#endif

// Inner products of one column with `number` others, in float64, where the products are exact; in
// lanes whose sums are added up in one order on every machine.
template <int number>
static void dots(const Lanes *a, const Lanes (*b)[N / lanes], double *total) {
    Lanes sum[number] = {};
    for (std::int64_t i = 0; i < N / lanes; ++i)
        for (int k = 0; k < number; ++k) sum[k] += a[i] * b[k][i];
    for (int k = 0; k < number; ++k) {
        double whole = 0;
        for (int lane = 0; lane < lanes; ++lane) whole += sum[k][lane];
        total[k] += whole;
    }
}

static void products(const Field &field, const Points &points, double *total) {
    float whole[3][N], at[3][N], gradient[3][N], columns[column_count][N];
    Cell cell;
    const std::int64_t count = points.count;
    float *one = columns[13], *fixed = columns[14];
    for (int axis = 0; axis < 3; ++axis) {
        std::copy(points.place[axis], points.place[axis] + count, whole[axis]);
        std::fill(whole[axis] + count, whole[axis] + N, 0.0f);
    }
    std::copy(points.fixed, points.fixed + count, fixed);
    std::fill(fixed + count, fixed + N, 0.0f);
    std::fill(one, one + count, 1.0f);
    std::fill(one + count, one + N, 0.0f);
    for (int axis = 0; axis < 3; ++axis) {
        const float *row = points.linear + 3 * axis, shift = points.shift[axis];
        for (std::int64_t i = 0; i < N; ++i)
            at[axis][i] =
                row[0] * whole[0][i] + row[1] * whole[1][i] + row[2] * whole[2][i] + shift;
    }
    std::copy(one, one + N, cell.inside);
    const float *const place[3] = {at[0], at[1], at[2]};
    find_cells(field, place, cell);
    look_up(field, cell, columns[12], gradient);
    for (int row = 0; row < 3; ++row) {
        const float *factor = points.to_world + 3 * row;
        float(*by_axis)[N] = columns + 4 * row;
        for (std::int64_t i = 0; i < N; ++i) {
            const float slope = factor[0] * gradient[0][i] + factor[1] * gradient[1][i] +
                                factor[2] * gradient[2][i];
            by_axis[0][i] = slope * whole[0][i];
            by_axis[1][i] = slope * whole[1][i];
            by_axis[2][i] = slope * whole[2][i];
            by_axis[3][i] = slope;
        }
    }
    Lanes wide[column_count][N / lanes];
    for (int a = 0; a < column_count; ++a)
        for (std::int64_t i = 0; i < N / lanes; ++i) widen(columns[a] + i * lanes, wide[a][i]);
    for (int a = 0; a < column_count; ++a)
        for (int b = a; b < column_count;) {
            if (column_count - b >= 3) {
                dots<3>(wide[a], wide + b, total);
                total += 3, b += 3;
            } else {
                dots<1>(wide[a], wide + b, total);
                ++total, ++b;
            }
        }
}
