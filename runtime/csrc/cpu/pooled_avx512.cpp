// The inner loops of pooled.h in AVX-512.
#include "pooled.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f")
#endif

namespace vm {

namespace {

// Floats of a row of the input with a zero in front and zeros behind, so that whole groups of
// columns can be computed.
int64_t padded_row(int64_t w) { return (w + COLUMNS - 1) / COLUMNS * COLUMNS + 2; }

// sum += weight * *value. In assembler, because compilers would rather keep each value in a register
// for its three taps, of which there are too few.
inline void add_product(__m512 &sum, __m512 weight, const float *value) {
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(weight), "m"(*value));
}

// With a mask, because GCC 12 warns of its own header otherwise.
inline __m512 larger(__m512 a, __m512 b) { return _mm512_maskz_max_ps(0xffff, a, b); }

// Two rows of COLUMNS voxels each, without bias. `rows` are the four rows, of each of the three
// planes of each channel, that they depend on, from the voxel left of the first one on.
inline void convolve(const float *rows, int64_t in, int64_t row, const float *weights,
                     __m512 (&sums)[2][COLUMNS]) {
#pragma GCC unroll 2
    for (int r = 0; r < 2; ++r) {
#pragma GCC unroll 12
        for (int64_t c = 0; c < COLUMNS; ++c) sums[r][c] = _mm512_setzero_ps();
    }
    // A channel has four planes of four rows; three of each are looked at from here.
    for (int64_t channel = 0; channel < in; ++channel, rows += 4 * row) {
        for (int64_t plane = 0; plane < 3; ++plane, rows += 4 * row) {
            for (int64_t line = 0; line < 3; ++line, weights += 3 * LANES) {
                const float *upper = rows + line * row, *lower = upper + row;
#pragma GCC unroll 3
                for (int tap = 0; tap < 3; ++tap) {
                    const __m512 weight = _mm512_load_ps(weights + tap * LANES);
#pragma GCC unroll 12
                    for (int64_t c = 0; c < COLUMNS; ++c) {
                        add_product(sums[0][c], weight, upper + c + tap);
                        add_product(sums[1][c], weight, lower + c + tap);
                    }
                }
            }
        }
    }
}

}  // namespace

int64_t pooled_work_size(const PooledLayers &layers) {
    return 16 * layers.in * padded_row(layers.shape[2]);
}

void pooled_row_avx512(const PooledLayers &layers, int64_t d, int64_t h, float *work) {
    const int64_t *shape = layers.shape;
    const int64_t row = padded_row(shape[2]), columns = shape[2] / 2;
    // Rows 2 h - 1 ... 2 h + 2 of planes 2 d - 1 ... 2 d + 2, of each channel.
    for (int64_t i = 0; i < 16 * layers.in; ++i) {
        const int64_t plane = 2 * d - 1 + i / 4 % 4, line = 2 * h - 1 + i % 4;
        float *to = work + i * row;
        const bool inside = plane >= 0 && plane < shape[0] && line >= 0 && line < shape[1];
        const int64_t count = inside ? shape[2] : 0;
        to[0] = 0;
        if (inside) {
            std::memcpy(to + 1, layers.volumes[i / 16] + (plane * shape[1] + line) * shape[2],
                        size_t(count) * sizeof(float));
        }
        std::fill(to + 1 + count, to + row, 0.0f);
    }
    const __m512 slope = _mm512_set1_ps(layers.slope);
    float *out = layers.result + (d * (shape[1] / 2) + h) * columns * layers.out;
    for (int64_t block = 0; block < layers.out / LANES; ++block) {
        const float *weights = layers.weights + block * layers.in * 27 * LANES;
        const __m512 bias = _mm512_loadu_ps(layers.bias + block * LANES);
        for (int64_t first = 0; first < columns; first += COLUMNS / 2) {
            __m512 sums[2][COLUMNS], highest[COLUMNS / 2];
            for (int64_t plane = 0; plane < 2; ++plane) {
                convolve(work + plane * 4 * row + 2 * first, layers.in, row, weights, sums);
#pragma GCC unroll 6
                for (int64_t c = 0; c < COLUMNS / 2; ++c) {
                    const __m512 four =
                        larger(larger(sums[0][2 * c], sums[0][2 * c + 1]),
                                      larger(sums[1][2 * c], sums[1][2 * c + 1]));
                    highest[c] = plane ? larger(highest[c], four) : four;
                }
            }
            // Adding the bias and LeakyReLU keep the order of numbers, so they can follow the
            // maximum.
            const int64_t count = std::min(COLUMNS / 2, columns - first);
            for (int64_t c = 0; c < count; ++c) {
                const __m512 value = _mm512_add_ps(highest[c], bias);
                _mm512_storeu_ps(out + (first + c) * layers.out + block * LANES,
                                 larger(value, _mm512_mul_ps(value, slope)));
            }
        }
    }
}

}  // namespace vm

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
