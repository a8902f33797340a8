// What vectors of lanes.inl need beside arithmetic, with AVX2.

static inline bool any_negative(Ints values) {
    return _mm256_movemask_ps(reinterpret_cast<__m256>(values)) != 0;
}

// Neighbours along the last axis come in one 64-bit load that fills a whole vector, of which a blend
// takes its part: loads and blends have ports to spare. Gather instructions would be shorter, but
// where processors have been mended against Downfall they take several times as long.

static inline __m256d pair_at(const float *volume, int32_t offset) {
    return _mm256_broadcast_sd(reinterpret_cast<const double *>(volume + offset));
}

static inline __m256 four_pairs(const float *volume, int32_t a, int32_t b, int32_t c, int32_t d) {
    const __m256d low = _mm256_blend_pd(pair_at(volume, a), pair_at(volume, b), 2);
    const __m256d high = _mm256_blend_pd(pair_at(volume, c), pair_at(volume, d), 8);
    return _mm256_castpd_ps(_mm256_blend_pd(low, high, 12));
}

static inline void load_pairs(const float *volume, const int32_t *at, Floats &near, Floats &far) {
    const __m256 a = four_pairs(volume, at[0], at[1], at[4], at[5]);
    const __m256 b = four_pairs(volume, at[2], at[3], at[6], at[7]);
    near = _mm256_shuffle_ps(a, b, 0x88);
    far = _mm256_shuffle_ps(a, b, 0xdd);
}

// expand() for as many whole vectors as there are, one load each where what they need lies close
// together: a finer grid's voxels share their neighbours. Returns how many voxels are done.
static inline int64_t expand_blocks(const float *row, const int32_t *low, const float *t,
                                    int32_t step, int64_t count, float *out) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const int32_t start = low[i];
        if (low[i + 7] + step - start > 7) break;
        const __m256 source = _mm256_loadu_ps(row + start);
        const __m256i at = _mm256_sub_epi32(
            _mm256_loadu_si256(reinterpret_cast<const __m256i *>(low + i)),
            _mm256_set1_epi32(start));
        const __m256 a = _mm256_permutevar8x32_ps(source, at);
        const __m256 b =
            _mm256_permutevar8x32_ps(source, _mm256_add_epi32(at, _mm256_set1_epi32(step)));
        const __m256 part = _mm256_mul_ps(_mm256_sub_ps(b, a), _mm256_loadu_ps(t + i));
        _mm256_storeu_ps(out + i, _mm256_add_ps(a, part));
    }
    return i;
}
