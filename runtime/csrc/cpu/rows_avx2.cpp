// The inner loops in AVX2 (Haswell and later). The instructions are chosen by a pragma and not by the
// compiler's flags, so that both builds compile every file alike.
#include "rows.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2")
#endif

namespace vm {
namespace avx2 {
#define LANES 8
#include "lanes.inl"
#include "lanes_avx2.inl"
#include "locate.inl"
#include "rows.inl"
#include "near.inl"
#include "fields.inl"
}  // namespace avx2
}  // namespace vm

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vm {

const Rows rows_avx2 = {
    "avx2",
    avx2::linear, avx2::nearby, avx2::nearest, avx2::vote,
    avx2::affine, avx2::multiply, avx2::displace, avx2::fade,
    avx2::reach, avx2::between, avx2::blend, avx2::expand,
    avx2::slope_along, avx2::slope_across, avx2::determinant, avx2::newton,
};

}  // namespace vm

#endif
