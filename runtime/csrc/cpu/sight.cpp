#include "sight.h"

#include <algorithm>

#include "rows.h"

namespace vm {

namespace {

// From so many lines of a plane on, what the plane shows as a whole is good enough.
constexpr int32_t MANY = 16;

}  // namespace

Sight::Sight(const Shape &shape)
    : shape_(shape),
      lines_(size_t(shape[0] * shape[1])),
      along_(size_t(shape[0])),
      lying_(size_t(shape[0])) {}

void Sight::finish() {
    for (int64_t d = 0; d < shape_[0]; ++d) {
        for (int64_t h = 0; h < shape_[1]; ++h) {
            const Extent &one = line(d, h);
            if (!one.last) continue;
            along_[size_t(d)].widen(one);
            lying_[size_t(d)].widen({int32_t(h), int32_t(h + 1)});
        }
    }
}

void Sight::look_along(int64_t count, RowSpace &space) const {
    // What a place looks at lies at most one voxel beyond where it is rounded to towards zero.
    int32_t low[2], high[2];
    for (int axis = 0; axis < 2; ++axis) {
        int32_t bounds[2];
        rows().reach(space.places[axis], int32_t(shape_[axis]), count, bounds);
        low[axis] = std::max(bounds[0] - 1, 0);
        high[axis] = std::min(bounds[1] + 1, int32_t(shape_[axis]) - 1);
    }
    Extent seen;
    for (int32_t d = low[0]; d <= high[0]; ++d) {
        const Extent &lying = lying_[size_t(d)];
        const int32_t first = std::max(low[1], lying.first);
        const int32_t last = std::min(high[1] + 1, lying.last);
        if (first >= last) continue;
        if (last - first >= MANY) {
            seen.widen(along_[size_t(d)]);
            continue;
        }
        const Extent *line = &lines_[size_t(d * shape_[1])];
        for (int32_t h = first; h < last; ++h) seen.widen(line[h]);
    }
    if (!seen.last) {
        std::fill(space.blocks.begin(), space.blocks.end(), static_cast<unsigned char>(0));
        return;
    }
    // Linear interpolation reaches farthest: to less than a voxel before the first one that is not
    // zero, and behind the last one.
    rows().between(space.places[2], float(seen.first - 1), float(seen.last), count,
                   space.blocks.data());
}

}  // namespace vm
