// What a single scan looks like: cut off by its field of view, a whole head or only a brain. See
// vmruntime/alignment/appearance.py.
#pragma once

#include "alignment/pyramid.h"

namespace vm::alignment {

// Whether the foreground is cut by the edge of the field of view.
bool touches_edge(const Pyramid &scan);

// Whether skull and scalp are still there.
bool looks_like_head(const Pyramid &scan);

}  // namespace vm::alignment
