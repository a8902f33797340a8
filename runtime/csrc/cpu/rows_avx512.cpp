// The one inner loop that AVX-512 makes faster: arithmetic decides there, and not loads.
#include "rows.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f")
#endif

namespace vm {
namespace avx512 {
#define LANES 16
#include "lanes.inl"

static inline bool any_negative(Ints values) {
    const __m512i zero = _mm512_setzero_si512();
    return _mm512_cmplt_epi32_mask(reinterpret_cast<__m512i>(values), zero) != 0;
}

#include "near.inl"
}  // namespace avx512

void nearby_avx512(const FramedRows &field, const float *const *u, float *const *out,
                   int64_t count, unsigned char *blocks) {
    avx512::nearby(field, u, out, count, blocks);
}

}  // namespace vm

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
