// Affine alignment of two scans in world millimetres, before the network; see
// vmruntime/alignment/align.py. The same numbers in the same order: both take the same steps.
#pragma once

#include "alignment/alignment.h"
#include "alignment/pulse.h"
#include "alignment/starts.h"
#include "session/scan.h"

namespace vm::alignment {

// Find the affine map that carries the fixed scan's world onto the moving scan's: twelve degrees of
// freedom, by correlation, from steps of 8 mm down to the native voxels. The result does not depend
// on the number of threads; whether it can be trusted is written in it. Throws Error (CANCELLED).
Alignment align(const Scan &moving, const Scan &fixed, Search search, int threads,
                const Pulse &pulse);

}  // namespace vm::alignment
