// Where places lie in a volume; see rows.h and rows.inl.

// The places of a vector: the corner below each, and how far behind it the place lies.
struct Located {
    Ints low[3];
    Floats fraction[3];
    alignas(4 * LANES) int32_t offset[LANES];  // of the lower corner, where that is inside
    bool inside;                               // whether all eight corners of all places are
};

static inline void locate(const Layout &layout, Places places, int64_t start, Located &found) {
    Ints outside = {};
    // Unsigned, which may overflow where a corner is outside.
    Words offset = {};
    for (int axis = 0; axis < 3; ++axis) {
        const int32_t size = layout.shape[axis];
        const Floats place = clipped(floats_at(places[axis] + start), static_cast<float>(size));
        Ints low = truncated(place);
        low += __builtin_convertvector(low, Floats) > place;  // -1 where that holds
        outside |= low | (size - 2 - low);
        found.low[axis] = low;
        found.fraction[axis] = place - __builtin_convertvector(low, Floats);
        const uint32_t stride = static_cast<uint32_t>(layout.strides[axis]);
        offset += reinterpret_cast<Words>(low) * stride;
    }
    __builtin_memcpy(found.offset, &offset, sizeof offset);
    found.inside = !any_negative(outside);
}

// What lies at the eight corners of places: near and far along the last axis, for each of the four
// pairs of neighbours along the others.
struct Corners {
    Floats near[4], far[4];
};

static inline Floats blended_corners(const Corners &at, const Located &found) {
    const Floats d = found.fraction[0], h = found.fraction[1], w = found.fraction[2];
    Floats lines[4];
    for (int k = 0; k < 4; ++k) lines[k] = blended(at.near[k], at.far[k], w);
    return blended(blended(lines[0], lines[1], h), blended(lines[2], lines[3], h), d);
}
