#include "engines/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace vm {

bool has_bf16_instructions() {
#if defined(__x86_64__)
    // Intel's manual, CPUID leaf 7: AMX-BF16 in EDX bit 22 of subleaf 0; AVX512_BF16 in EAX bit 5
    // and AVX-NE-CONVERT in EDX bit 5 of subleaf 1.
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const unsigned subleaves = a;
    if (d >> 22 & 1) return true;
    if (subleaves < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d)) return false;
    return (a >> 5 & 1) || (d >> 5 & 1);
#elif defined(__aarch64__) && defined(__linux__)
    constexpr unsigned long bf16 = 1ul << 14;  // HWCAP2_BF16
    return (getauxval(AT_HWCAP2) & bf16) != 0;
#else
    return false;
#endif
}

}  // namespace vm
