// What vectors of lanes.inl need beside arithmetic, in C++ alone.

static inline bool any_negative(Ints values) {
    int32_t found = 0;
    for (int j = 0; j < LANES; ++j) found |= values[j];
    return found < 0;
}

// Neighbours along the last axis.
static inline void load_pairs(const float *volume, const int32_t *offset, Floats &near,
                              Floats &far) {
    for (int j = 0; j < LANES; ++j) {
        near[j] = volume[offset[j]];
        far[j] = volume[offset[j] + 1];
    }
}

// None: every voxel of expand() is computed by itself.
static inline int64_t expand_blocks(const float *, const int32_t *, const float *, int32_t,
                                    int64_t, float *) {
    return 0;
}
