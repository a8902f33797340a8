// Looking a field up where it is short; see rows.h.
//
// At most one voxel away the eight corners are among the 27 neighbours, each with a weight that may
// be 0: those are loaded in order, and nothing has to be gathered.
//
// To be included with NEAR_LANES set to what a vector of the processor holds.

typedef float Lanes __attribute__((vector_size(4 * NEAR_LANES)));

static inline Lanes lanes_at(const float *data) {
    Lanes values;
    __builtin_memcpy(&values, data, sizeof values);
    return values;
}

// Whether no place of a block is farther away than a voxel, or nowhere (NaN).
static inline bool all_near(const float *const *u, int64_t start) {
    int32_t far = 0;
    for (int axis = 0; axis < 3; ++axis) {
        const float *x = u[axis] + start;
        for (int64_t j = 0; j < BLOCK; ++j) far |= !(x[j] >= -1.0f && x[j] <= 1.0f);
    }
    return far == 0;
}

// Of the voxel before, the voxel itself and the one behind it, along one axis.
struct Weights {
    Lanes before, own, behind;

    explicit Weights(const float *u) {
        const Lanes step = lanes_at(u), zero = {};
        before = step < zero ? -step : zero;
        behind = step > zero ? step : zero;
        own = 1.0f - (before + behind);
    }

    Lanes mixed(Lanes a, Lanes b, Lanes c) const { return (a * before + b * own) + c * behind; }
};

static void nearby(const FramedRows &field, const float *const *u, float *const *out,
                   int64_t count, unsigned char *blocks) {
    for (int64_t start = 0; start < count; start += NEAR_LANES) {
        if (start % BLOCK == 0) blocks[start / BLOCK] = all_near(u, start);
        if (!blocks[start / BLOCK]) continue;
        const Weights deep(u[0] + start), aside(u[1] + start), along(u[2] + start);
        for (int channel = 0; channel < 3; ++channel) {
            Lanes planes[3];
            for (int d = 0; d < 3; ++d) {
                Lanes lines[3];
                for (int h = 0; h < 3; ++h) {
                    const float *row = field.rows[channel][d][h] + start;
                    lines[h] = along.mixed(lanes_at(row - 1), lanes_at(row), lanes_at(row + 1));
                }
                planes[d] = aside.mixed(lines[0], lines[1], lines[2]);
            }
            const Lanes value = deep.mixed(planes[0], planes[1], planes[2]);
            __builtin_memcpy(out[channel] + start, &value, sizeof value);
        }
    }
}

#undef NEAR_LANES
