// Choosing the inner loops for this machine, once.
#include "rows.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace vm {

namespace {

constexpr const char *NAMES[] = {"baseline", "avx2", "avx512"};

Level of_processor() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2")) return Level::baseline;
    return __builtin_cpu_supports("avx512f") ? Level::avx512 : Level::avx2;
#else
    return Level::baseline;
#endif
}

Level limited() {
    const Level found = of_processor();
    const char *asked = std::getenv("VM_KERNELS");
    for (const Level limit : {Level::baseline, Level::avx2}) {
        const bool this_one = asked && std::strcmp(asked, NAMES[static_cast<int>(limit)]) == 0;
        if (this_one) return std::min(found, limit);
    }
    return found;
}

}  // namespace

Level level() {
    static const Level chosen = limited();
    return chosen;
}

const Rows &rows() {
#if defined(__x86_64__) && defined(__GNUC__)
    static const Rows with_avx512 = [] {
        Rows table = rows_avx2;
        table.name = "avx512";
        table.nearby = nearby_avx512;
        return table;
    }();
    if (level() == Level::avx512) return with_avx512;
    if (level() == Level::avx2) return rows_avx2;
#endif
    return rows_baseline;
}

}  // namespace vm

const char *vm_kernel_instructions(void) { return vm::NAMES[static_cast<int>(vm::level())]; }
