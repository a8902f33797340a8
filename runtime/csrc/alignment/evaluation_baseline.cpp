// The alignment's loops for any processor.
#include "alignment/evaluation.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "alignment/level.h"
#include "cpu/rows.h"

namespace vm::alignment {
namespace baseline {
#include "alignment/evaluation.inl"
}  // namespace baseline

const Loops loops_baseline = {baseline::values, baseline::products};

const Loops &loops() {
#if defined(__x86_64__) && defined(__GNUC__)
    if (level() >= vm::Level::avx2) return loops_avx2;
#endif
    return loops_baseline;
}

}  // namespace vm::alignment
