// Looking a field up where it is short; see rows.h.
//
// At most one voxel away the eight corners are among the 27 neighbours: those are loaded in order,
// and nothing has to be gathered. Along each axis the corners are the voxel itself and the one
// before or behind it, as the displacement's sign says.

// Whether no place of a block is farther away than a voxel, or nowhere (NaN).
static inline bool all_near(const float *const *u, int64_t start) {
    Ints far = {};
    for (int axis = 0; axis < 3; ++axis) {
        for (int64_t j = 0; j < BLOCK; j += LANES) {
            const Floats x = floats_at(u[axis] + start + j);
            far |= ~((x >= -1.0f) & (x <= 1.0f));
        }
    }
    return !any_negative(far);
}

// The corners along one axis.
struct Side {
    Ints before;   // whether the other one is the one before
    Floats share;  // of the other one

    explicit Side(const float *u) {
        const Floats step = floats_at(u), zero = {};
        before = step < zero;
        share = before ? -step : step;
    }

    Floats other(Floats one_before, Floats one_behind) const {
        return before ? one_before : one_behind;
    }

    Floats mixed(const Floats (&line)[3]) const {
        return blended(line[1], other(line[0], line[2]), share);
    }
};

static void nearby(const FramedRows &field, const float *const *u, float *const *out,
                   int64_t count, unsigned char *blocks) {
    for (int64_t start = 0; start < count; start += LANES) {
        if (start % BLOCK == 0) blocks[start / BLOCK] = all_near(u, start);
        if (!blocks[start / BLOCK]) continue;
        const Side deep(u[0] + start), aside(u[1] + start), along(u[2] + start);
        for (int channel = 0; channel < 3; ++channel) {
            const float *const(&rows)[3][3] = field.rows[channel];
            // In the own plane and the other one: lines before, own and behind, likewise along them.
            Floats found[2][3][3];
            for (int h = 0; h < 3; ++h) {
                for (int w = 0; w < 3; ++w) {
                    const int64_t at = start + w - 1;
                    found[0][h][w] = floats_at(rows[1][h] + at);
                    found[1][h][w] =
                        deep.other(floats_at(rows[0][h] + at), floats_at(rows[2][h] + at));
                }
            }
            Floats planes[2];
            for (int d = 0; d < 2; ++d) {
                const Floats(&own)[3] = found[d][1];
                Floats other[3];
                for (int w = 0; w < 3; ++w) other[w] = aside.other(found[d][0][w], found[d][2][w]);
                planes[d] = blended(along.mixed(own), along.mixed(other), aside.share);
            }
            const Floats value = blended(planes[0], planes[1], deep.share);
            __builtin_memcpy(out[channel] + start, &value, sizeof value);
        }
    }
}
