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
    Ints lines[2][2], there[2][2];
    for (int axis = 0; axis < 2; ++axis) {
        const Ints last = layout.shape[axis] - 1 - Ints{};
        for (int side = 0; side < 2; ++side) {
            const Ints index = found.low[axis] + side;
            Ints inside = index < 0 ? Ints{} : index;
            inside = inside > last ? last : inside;
            lines[axis][side] = inside * static_cast<int32_t>(layout.strides[axis]);
            there[axis][side] = inside == index;
        }
    }
    const Ints last_pair = layout.shape[2] - 2 - Ints{}, w = found.low[2];
    Ints start = w < 0 ? Ints{} : w;
    start = start > last_pair ? last_pair : start;
    // Beyond the first or last voxel the pair that is read lies one to the side.
    const Ints aside = w - start;
    for (int k = 0; k < 4; ++k) {
        const Ints at_line = lines[0][k >> 1] + lines[1][k & 1] + start;
        alignas(4 * LANES) int32_t offset[LANES];
        __builtin_memcpy(offset, &at_line, sizeof offset);
        Floats a, b;
        load_pairs(volume, offset, a, b);
        const Ints line = there[0][k >> 1] & there[1][k & 1];
        const Floats zero = {};
        at.near[k] = (line & (aside == 0)) ? a : (line & (aside == 1)) ? b : zero;
        at.far[k] = (line & (aside == 0)) ? b : (line & (aside == -1)) ? a : zero;
    }
}

// The same for volumes of any strides, or with a single voxel along the last axis.
static inline void corners_strided(const float *volume, const Layout &layout,
                                   const Located &found, Corners &at) {
    for (int j = 0; j < LANES; ++j) {
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
    const bool pairs = layout.strides[2] == 1 && layout.shape[2] > 1;
    for (int64_t start = 0; start < count; start += LANES) {
        Located found;
        locate(layout, places, start, found);
        for (int64_t channel = 0; channel < channels; ++channel) {
            const float *data = volume + channel * channel_stride;
            Corners at;
            if (!pairs) {
                corners_strided(data, layout, found, at);
            } else if (found.inside) {
                corners_inside(data, layout, found, at);
            } else {
                corners_anywhere(data, layout, found, at);
            }
            const Floats values = blended_corners(at, found);
            float *to = out[channel] + start;
            if (count - start >= LANES) {
                __builtin_memcpy(to, &values, sizeof values);
            } else {
                __builtin_memcpy(to, &values, size_t(count - start) * sizeof(float));
            }
        }
    }
}

// The nearest voxels along an axis, halves to the even one; one outside for all that lie there.
static inline Ints nearest_indices(const float *places, int32_t voxels) {
    const Floats place = clipped(floats_at(places), static_cast<float>(voxels));
    if (voxels > 1 << 22) {
        Ints low = truncated(place);
        low += __builtin_convertvector(low, Floats) > place;
        const Floats part = place - __builtin_convertvector(low, Floats);
        return low + (part == 0.5f ? low & 1 : -(part > 0.5f));
    }
    // Up to 2^22 the last bit of this sum is worth 1: the addition rounds.
    const Floats sum = place + 12582912.0f;
    return reinterpret_cast<Ints>(sum) - 0x4b400000;
}

template <typename T>
static void nearest_of(const T *volume, const Layout &layout, Places places, int64_t count,
                       T *out) {
    for (int64_t start = 0; start < count; start += LANES) {
        Ints outside = {};
        Words at = {};
        for (int axis = 0; axis < 3; ++axis) {
            const Ints index = nearest_indices(places[axis] + start, layout.shape[axis]);
            outside |= index | (layout.shape[axis] - 1 - index);
            at += reinterpret_cast<Words>(index) * static_cast<uint32_t>(layout.strides[axis]);
        }
        // What is read instead of what lies outside is the first voxel.
        const Ints there = outside >= 0;
        at &= reinterpret_cast<Words>(there);
        alignas(4 * LANES) uint32_t offset[LANES];
        __builtin_memcpy(offset, &at, sizeof offset);
        const int number = static_cast<int>(count - start < LANES ? count - start : LANES);
        T *to = out + start;
        if (!any_negative(outside) && number == LANES) {
            for (int j = 0; j < LANES; ++j) {
                uint32_t place = offset[j];
                VM_PLAIN_LOAD(place);
                to[j] = volume[place];
            }
        } else {
            for (int j = 0; j < number; ++j) to[j] = there[j] ? volume[offset[j]] : T(0);
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
    const bool neighbours = layout.strides[2] == 1;
    int64_t corners[8];
    for (int k = 0; k < 8; ++k) {
        corners[k] = (k >> 2) * layout.strides[0] + (k >> 1 & 1) * layout.strides[1] +
                     (k & 1) * layout.strides[2];
    }
    for (int64_t start = 0; start < count; start += LANES) {
        Located found;
        locate(layout, places, start, found);
        const int number = static_cast<int>(count - start < LANES ? count - start : LANES);
        for (int j = 0; j < number; ++j) {
            T votes[8];
            if (found.inside) {
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
