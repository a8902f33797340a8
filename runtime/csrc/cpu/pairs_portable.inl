// Loading neighbours along the last axis in C++ alone; see locate.inl.

static inline void load_pairs(const float *volume, const int32_t *offset, float *near,
                              float *far) {
    for (int j = 0; j < B; ++j) {
        near[j] = volume[offset[j]];
        far[j] = volume[offset[j] + 1];
    }
}

// None: every voxel of expand() is computed by itself.
static inline int64_t expand_blocks(const float *, const int32_t *, const float *, int32_t,
                                    int64_t, float *) {
    return 0;
}
