// The inner loops on coordinates and fields; see rows.h and rows.inl.

static void affine(const double *line, double start, float first, int64_t count, float *out) {
    for (int64_t i = 0; i < count; ++i) out[i] = first + static_cast<float>(start + line[i]);
}

static void multiply(const Factors &m, int64_t count, float *const *places) {
    float *x = places[0], *y = places[1], *z = places[2];
    for (int64_t i = 0; i < count; ++i) {
        const float a = x[i], b = y[i], c = z[i];
        x[i] = m.factor[0][0] * a + m.factor[0][1] * b + m.factor[0][2] * c + m.offset[0];
        y[i] = m.factor[1][0] * a + m.factor[1][1] * b + m.factor[1][2] * c + m.offset[1];
        z[i] = m.factor[2][0] * a + m.factor[2][1] * b + m.factor[2][2] * c + m.offset[2];
    }
}

static void displace(const float *u, float index, int along, int64_t count, float *out) {
    if (!along) {
        for (int64_t i = 0; i < count; ++i) out[i] = u[i] + index;
        return;
    }
    for (int32_t i = 0; i < count; ++i) out[i] = u[i] + (index + static_cast<float>(i));
}

static int fade(const int32_t *shape, Places places, int64_t count, float *const *inside,
                float *weight) {
    constexpr float FADE = 16.0f;  // voxels, as in vmruntime/mapping.py
    const float d = static_cast<float>(shape[0] - 1), h = static_cast<float>(shape[1] - 1),
                w = static_cast<float>(shape[2] - 1);
    const float *x = places[0], *y = places[1], *z = places[2];
    int32_t inner = 0;
    for (int64_t i = 0; i < count; ++i) {
        const int32_t first = x[i] >= 0 && x[i] <= d, second = y[i] >= 0 && y[i] <= h;
        inner += first & second & (z[i] >= 0 && z[i] <= w);
    }
    if (inner == count) return 0;
    float *near_d = inside[0], *near_h = inside[1], *near_w = inside[2];
    int32_t any = 0;
    for (int64_t i = 0; i < count; ++i) {
        float a = x[i], b = y[i], c = z[i];
        a = a < 0 ? 0 : a, b = b < 0 ? 0 : b, c = c < 0 ? 0 : c;
        a = a > d ? d : a, b = b > h ? h : b, c = c > w ? w : c;
        const float p = x[i] - a, q = y[i] - b, r = z[i] - c;
        near_d[i] = a, near_h[i] = b, near_w[i] = c;
        float left = 1.0f - __builtin_sqrtf(p * p + q * q + r * r) / FADE;
        left = left < 0 ? 0 : left;
        weight[i] = left;
        any += left > 0 ? 1 : 0;
    }
    return any ? 1 : 2;
}

static void reach(const float *places, int32_t voxels, int64_t count, int32_t *bounds) {
    const float size = static_cast<float>(voxels);
    Floats least = size - Floats{}, most = -1.0f - Floats{};
    for (int64_t start = 0; start < count; start += LANES) {
        const Floats place = clipped(floats_at(places + start), size);
        least = place < least ? place : least;
        most = place > most ? place : most;
    }
    float low = least[0], high = most[0];
    for (int j = 1; j < LANES; ++j) {
        low = least[j] < low ? least[j] : low;
        high = most[j] > high ? most[j] : high;
    }
    bounds[0] = static_cast<int32_t>(low);
    bounds[1] = static_cast<int32_t>(high);
}

static void between(const float *places, float low, float high, int64_t count,
                    unsigned char *blocks) {
    for (int64_t start = 0; start < count; start += B) {
        Ints any = {};
        for (int j = 0; j < B; j += LANES) {
            const Floats place = floats_at(places + start + j);
            any |= (place >= low) & (place < high);
        }
        blocks[start / B] = any_negative(any);
    }
}

static void blend(const float *a, const float *b, float t, int64_t count, float *out) {
    for (int64_t i = 0; i < count; ++i) out[i] = a[i] + (b[i] - a[i]) * t;
}

static void expand(const float *row, const int32_t *low, const float *t, int32_t step,
                   int64_t count, float *out) {
    for (int64_t i = expand_blocks(row, low, t, step, count, out); i < count; ++i) {
        const float a = row[low[i]], b = row[low[i] + step];
        out[i] = a + (b - a) * t[i];
    }
}

static void slope_along(const float *row, int64_t count, float *out) {
    out[0] = row[1] - row[0];
    for (int64_t i = 1; i < count - 1; ++i) out[i] = (row[i + 1] - row[i - 1]) * 0.5f;
    out[count - 1] = row[count - 1] - row[count - 2];
}

static void slope_across(const float *a, const float *b, float scale, int64_t count, float *out) {
    for (int64_t i = 0; i < count; ++i) out[i] = (b[i] - a[i]) * scale;
}

static void determinant(const float *const *slopes, int64_t count, float *out) {
    const float *const s0 = slopes[0], *const s1 = slopes[1], *const s2 = slopes[2];
    const float *const s3 = slopes[3], *const s4 = slopes[4], *const s5 = slopes[5];
    const float *const s6 = slopes[6], *const s7 = slopes[7], *const s8 = slopes[8];
    for (int64_t n = 0; n < count; ++n) {
        const float a = s0[n] + 1, b = s1[n], c = s2[n];
        const float d = s3[n], e = s4[n] + 1, f = s5[n];
        const float g = s6[n], h = s7[n], i = s8[n] + 1;
        out[n] = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
    }
}

static void newton(const float *const *slopes, const float *const *missed, float longest,
                   int64_t count, float *const *steps) {
    for (int row = 0; row < 3; ++row) {
        const float *a = slopes[3 * row], *b = slopes[3 * row + 1], *c = slopes[3 * row + 2];
        const float *m0 = missed[0], *m1 = missed[1], *m2 = missed[2], *own = missed[row];
        float *out = steps[row];
        for (int64_t i = 0; i < count; ++i) {
            float step = own[i] + (a[i] * m0[i] + b[i] * m1[i] + c[i] * m2[i]);
            step = step < -longest ? -longest : step;
            out[i] = step > longest ? longest : step;
        }
    }
}
