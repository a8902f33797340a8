// The inner loops; see rows.h. Included once per instruction set, inside namespace vm and a
// namespace of that set. No header is included here: what is inline in one of them would be
// compiled for that set as well, and might be what the linker picks for everyone.

static inline bool within(int32_t index, int32_t size) { return index >= 0 && index < size; }

static inline void corners_inside(const float *volume, const Layout &layout,
                                  const Located &found, Corners &at) {
    for (int k = 0; k < 4; ++k) {
        const float *corner = volume + (k >> 1) * layout.strides[0] + (k & 1) * layout.strides[1];
        load_pairs(corner, found.offset, at.near[k], at.far[k]);
    }
}

// The same where some corners lie outside. What is read instead lies somewhere inside.
static inline void corners_anywhere(const float *volume, const Layout &layout,
                                    const Located &found, Corners &at) {
    alignas(64) int32_t lines[2][2][B], there[2][2][B], start[B], offset[B];
    for (int axis = 0; axis < 2; ++axis) {
        const int32_t last = layout.shape[axis] - 1;
        const int32_t stride = static_cast<int32_t>(layout.strides[axis]);
        for (int side = 0; side < 2; ++side) {
            for (int j = 0; j < B; ++j) {
                const int32_t index = found.low[axis][j] + side;
                int32_t inside = index < 0 ? 0 : index;
                inside = inside > last ? last : inside;
                lines[axis][side][j] = inside * stride;
                there[axis][side][j] = inside == index;
            }
        }
    }
    const int32_t last_pair = layout.shape[2] - 2;
    for (int j = 0; j < B; ++j) {
        const int32_t w = found.low[2][j];
        const int32_t inside = w < 0 ? 0 : w;
        start[j] = inside > last_pair ? last_pair : inside;
    }
    for (int k = 0; k < 4; ++k) {
        const int32_t *d = lines[0][k >> 1], *h = lines[1][k & 1];
        const int32_t *in_d = there[0][k >> 1], *in_h = there[1][k & 1];
        for (int j = 0; j < B; ++j) offset[j] = d[j] + h[j] + start[j];
        float *near = at.near[k], *far = at.far[k];
        load_pairs(volume, offset, near, far);
        for (int j = 0; j < B; ++j) {
            // Beyond the first or last voxel the pair that was read lies one to the side.
            const int32_t aside = in_d[j] & in_h[j] ? found.low[2][j] - start[j] : 2;
            const float a = near[j], b = far[j];
            near[j] = aside == 0 ? a : aside == 1 ? b : 0.0f;
            far[j] = aside == 0 ? b : aside == -1 ? a : 0.0f;
        }
    }
}

// The same for volumes of any strides, or with a single voxel along the last axis.
static inline void corners_strided(const float *volume, const Layout &layout,
                                   const Located &found, Corners &at) {
    for (int j = 0; j < B; ++j) {
        const int32_t w = found.low[2][j];
        const bool in_near = within(w, layout.shape[2]), in_far = within(w + 1, layout.shape[2]);
        for (int k = 0; k < 4; ++k) {
            const int32_t d = found.low[0][j] + (k >> 1), h = found.low[1][j] + (k & 1);
            const bool line = within(d, layout.shape[0]) && within(h, layout.shape[1]);
            const int64_t place =
                d * layout.strides[0] + h * layout.strides[1] + w * layout.strides[2];
            at.near[k][j] = line && in_near ? volume[place] : 0.0f;
            at.far[k][j] = line && in_far ? volume[place + layout.strides[2]] : 0.0f;
        }
    }
}

static void linear(const float *volume, int64_t channel_stride, int64_t channels,
                   const Layout &layout, Places places, int64_t count, float *const *out) {
    alignas(64) Located found;
    alignas(64) Corners at;
    alignas(64) float values[B];
    const bool pairs = layout.strides[2] == 1 && layout.shape[2] > 1;
    for (int64_t start = 0; start < count; start += B) {
        const bool inside = locate(layout, places, start, found);
        const int64_t number = count - start < B ? count - start : B;
        for (int64_t channel = 0; channel < channels; ++channel) {
            const float *data = volume + channel * channel_stride;
            float *to = number == B ? out[channel] + start : values;
            if (!pairs) {
                corners_strided(data, layout, found, at);
            } else if (inside) {
                corners_inside(data, layout, found, at);
            } else {
                corners_anywhere(data, layout, found, at);
            }
            blend_corners(at, found, to);
            if (number < B) {
                __builtin_memcpy(out[channel] + start, values, number * sizeof(float));
            }
        }
    }
}

// The nearest voxels along an axis, halves to the even one; one outside for all that lie there.
static inline void nearest_indices(const float *places, int32_t voxels, int32_t *indices) {
    const float size = static_cast<float>(voxels);
    if (voxels > 1 << 22) {
        for (int j = 0; j < B; ++j) {
            float c = places[j];
            c = c >= -1.0f ? c : -1.0f;  // NaN as well
            c = c > size ? size : c;
            int32_t low = static_cast<int32_t>(c);
            low -= static_cast<float>(low) > c;
            const float part = c - static_cast<float>(low);
            indices[j] = low + (part > 0.5f ? 1 : part == 0.5f ? low & 1 : 0);
        }
        return;
    }
    for (int j = 0; j < B; ++j) {
        float c = places[j];
        c = c >= -1.0f ? c : -1.0f;
        c = c > size ? size : c;
        // Up to 2^22 the last bit of this sum is worth 1: the addition rounds.
        const float sum = c + 12582912.0f;
        int32_t bits;
        __builtin_memcpy(&bits, &sum, sizeof bits);
        indices[j] = bits - 0x4b400000;
    }
}

template <typename T>
static void nearest_of(const T *volume, const Layout &layout, Places places, int64_t count,
                       T *out) {
    alignas(64) int32_t index[3][B];
    alignas(64) uint32_t offset[B];
    alignas(64) int32_t there[B];
    const uint32_t strides[3] = {static_cast<uint32_t>(layout.strides[0]),
                                 static_cast<uint32_t>(layout.strides[1]),
                                 static_cast<uint32_t>(layout.strides[2])};
    for (int64_t start = 0; start < count; start += B) {
        for (int axis = 0; axis < 3; ++axis) {
            nearest_indices(places[axis] + start, layout.shape[axis], index[axis]);
        }
        const uint32_t depth = static_cast<uint32_t>(layout.shape[0]);
        const uint32_t height = static_cast<uint32_t>(layout.shape[1]);
        const uint32_t width = static_cast<uint32_t>(layout.shape[2]);
        int32_t number_inside = 0;
        for (int j = 0; j < B; ++j) {
            const uint32_t d = static_cast<uint32_t>(index[0][j]);
            const uint32_t h = static_cast<uint32_t>(index[1][j]);
            const uint32_t w = static_cast<uint32_t>(index[2][j]);
            there[j] = static_cast<int32_t>(d < depth) & static_cast<int32_t>(h < height) &
                       static_cast<int32_t>(w < width);
            number_inside += there[j];
            const uint32_t at = d * strides[0] + h * strides[1] + w * strides[2];
            offset[j] = there[j] ? at : 0;
        }
        const int number = static_cast<int>(count - start < B ? count - start : B);
        T *to = out + start;
        if (number_inside == B) {
            for (int j = 0; j < number; ++j) {
                uint32_t at = offset[j];
                VM_PLAIN_LOAD(at);
                to[j] = volume[at];
            }
        } else {
            for (int j = 0; j < number; ++j) {
                uint32_t at = offset[j];
                VM_PLAIN_LOAD(at);
                to[j] = there[j] ? volume[at] : T(0);
            }
        }
    }
}

static void nearest(const void *volume, int log2_size, const Layout &layout, Places places,
                    int64_t count, void *out) {
    switch (log2_size) {
        case 0:
            nearest_of(static_cast<const uint8_t *>(volume), layout, places, count,
                       static_cast<uint8_t *>(out));
            break;
        case 1:
            nearest_of(static_cast<const uint16_t *>(volume), layout, places, count,
                       static_cast<uint16_t *>(out));
            break;
        case 2:
            nearest_of(static_cast<const uint32_t *>(volume), layout, places, count,
                       static_cast<uint32_t *>(out));
            break;
        default:
            nearest_of(static_cast<const uint64_t *>(volume), layout, places, count,
                       static_cast<uint64_t *>(out));
    }
}

// Whether eight labels in four pairs of neighbours are one and the same.
template <typename T>
static inline bool uniform(const T *const *rows) {
    T labels[8];
    for (int k = 0; k < 4; ++k) __builtin_memcpy(labels + 2 * k, rows[k], 2 * sizeof(T));
    T other = 0;
    for (int k = 1; k < 8; ++k) other = static_cast<T>(other | (labels[k] ^ labels[0]));
    return other == 0;
}

// The label with the most weight among eight corners, and its weight.
template <typename T>
static inline T elect(const T *votes, const float *fraction, float &share) {
    T labels[8];
    float totals[8];
    int known = 0;
    for (int k = 0; k < 8; ++k) {
        const float d = k & 4 ? fraction[0] : 1.0f - fraction[0];
        const float h = k & 2 ? fraction[1] : 1.0f - fraction[1];
        const float w = k & 1 ? fraction[2] : 1.0f - fraction[2];
        const float weight = d * h * w;
        int i = 0;
        while (i < known && labels[i] != votes[k]) ++i;
        if (i == known) {
            labels[known] = votes[k];
            totals[known++] = weight;
        } else {
            totals[i] += weight;
        }
    }
    int best = 0;
    for (int i = 1; i < known; ++i) {
        if (totals[i] > totals[best] || (totals[i] == totals[best] && labels[i] < labels[best])) {
            best = i;
        }
    }
    share = totals[best] < 1.0f ? totals[best] : 1.0f;
    return labels[best];
}

template <typename T>
static void vote_of(const T *volume, const Layout &layout, Places places, int64_t count, T *out,
                    float *share) {
    alignas(64) Located found;
    const bool neighbours = layout.strides[2] == 1;
    int64_t corners[8];
    for (int k = 0; k < 8; ++k) {
        corners[k] = (k >> 2) * layout.strides[0] + (k >> 1 & 1) * layout.strides[1] +
                     (k & 1) * layout.strides[2];
    }
    for (int64_t start = 0; start < count; start += B) {
        const bool inside = locate(layout, places, start, found);
        const int number = static_cast<int>(count - start < B ? count - start : B);
        for (int j = 0; j < number; ++j) {
            T votes[8];
            if (inside) {
                const T *at = volume + found.offset[j];
                if (neighbours) {
                    // Most places lie inside one structure.
                    const T *const rows[4] = {at, at + corners[2], at + corners[4],
                                              at + corners[6]};
                    if (uniform(rows)) {
                        out[start + j] = *at;
                        if (share) share[start + j] = 1.0f;
                        continue;
                    }
                }
                for (int k = 0; k < 8; ++k) votes[k] = at[corners[k]];
            } else {
                const int32_t d = found.low[0][j], h = found.low[1][j], w = found.low[2][j];
                const int64_t at =
                    d * layout.strides[0] + h * layout.strides[1] + w * layout.strides[2];
                for (int k = 0; k < 8; ++k) {
                    const bool there = within(d + (k >> 2), layout.shape[0]) &&
                                       within(h + (k >> 1 & 1), layout.shape[1]) &&
                                       within(w + (k & 1), layout.shape[2]);
                    votes[k] = there ? volume[at + corners[k]] : T(0);
                }
            }
            T winner = votes[0];
            float sure = 1.0f;
            int other = 0;
            for (int k = 1; k < 8; ++k) other |= votes[k] != winner;
            if (other) {
                const float fraction[3] = {found.fraction[0][j], found.fraction[1][j],
                                           found.fraction[2][j]};
                winner = elect(votes, fraction, sure);
            }
            out[start + j] = winner;
            if (share) share[start + j] = sure;
        }
    }
}

static void vote(const void *volume, vm_type type, const Layout &layout, Places places,
                 int64_t count, void *out, float *share) {
#define VM_VOTE(T) \
    vote_of(static_cast<const T *>(volume), layout, places, count, static_cast<T *>(out), share)
    switch (type) {
        case VM_U8: VM_VOTE(uint8_t); break;
        case VM_I8: VM_VOTE(int8_t); break;
        case VM_U16: VM_VOTE(uint16_t); break;
        case VM_I16: VM_VOTE(int16_t); break;
        case VM_U32: VM_VOTE(uint32_t); break;
        case VM_I32: VM_VOTE(int32_t); break;
        case VM_U64: VM_VOTE(uint64_t); break;
        case VM_I64: VM_VOTE(int64_t); break;
        default: break;  // callers have checked the type
    }
#undef VM_VOTE
}
