// The alignment's loops in AVX2; see cpu/rows_avx2.cpp.
#include "alignment/evaluation.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "alignment/level.h"

#if defined(__x86_64__) && defined(__GNUC__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2")
#endif

namespace vm::alignment::avx2 {
#include "alignment/evaluation.inl"
}  // namespace vm::alignment::avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vm::alignment {

const Loops loops_avx2 = {avx2::values, avx2::products};

}  // namespace vm::alignment

#endif
