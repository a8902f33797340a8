// Corners of places and blending what lies at them; see rows.h and rows.inl.
//
// Loops over a block have a constant length and no branches, so that compilers make vectors of them.

constexpr int B = static_cast<int>(BLOCK);

struct Located {
    int32_t low[3][B];
    float fraction[3][B];
    int32_t offset[B];  // of the lower corner, where that is inside
};

// Lower corners and fractions; whether all eight corners of all places are inside.
static inline bool locate(const Layout &layout, Places places, int64_t start, Located &found) {
    bool inside = true;
    for (int axis = 0; axis < 3; ++axis) {
        const float *x = places[axis] + start;
        const float size = static_cast<float>(layout.shape[axis]);
        int32_t least = 0, most = 0;
        for (int j = 0; j < B; ++j) {
            float c = x[j];
            // As far outside as anything but zero can be blended in, and so is NaN.
            c = c >= -1.0f ? c : -1.0f;
            c = c > size ? size : c;
            int32_t low = static_cast<int32_t>(c);
            low -= static_cast<float>(low) > c;
            found.low[axis][j] = low;
            found.fraction[axis][j] = c - static_cast<float>(low);
            least = low < least ? low : least;
            const int32_t beyond = low + 2 - layout.shape[axis];
            most = beyond > most ? beyond : most;
        }
        inside = inside && least == 0 && most == 0;
    }
    // Unsigned, which may overflow where a corner is outside.
    const uint32_t s0 = static_cast<uint32_t>(layout.strides[0]);
    const uint32_t s1 = static_cast<uint32_t>(layout.strides[1]);
    const uint32_t s2 = static_cast<uint32_t>(layout.strides[2]);
    for (int j = 0; j < B; ++j) {
        const uint32_t d = static_cast<uint32_t>(found.low[0][j]);
        const uint32_t h = static_cast<uint32_t>(found.low[1][j]);
        const uint32_t w = static_cast<uint32_t>(found.low[2][j]);
        found.offset[j] = static_cast<int32_t>(d * s0 + h * s1 + w * s2);
    }
    return inside;
}

// What lies at the eight corners of places: near and far along the last axis, for each of the four
// pairs of neighbours along the others.
struct Corners {
    float near[4][B], far[4][B];
};

static inline void blend_corners(const Corners &at, const Located &found, float *out) {
    for (int j = 0; j < B; ++j) {
        const float d = found.fraction[0][j], h = found.fraction[1][j], w = found.fraction[2][j];
        const float a = at.near[0][j] + (at.far[0][j] - at.near[0][j]) * w;
        const float b = at.near[1][j] + (at.far[1][j] - at.near[1][j]) * w;
        const float e = at.near[2][j] + (at.far[2][j] - at.near[2][j]) * w;
        const float f = at.near[3][j] + (at.far[3][j] - at.near[3][j]) * w;
        const float near = a + (b - a) * h;
        const float far = e + (f - e) * h;
        out[j] = near + (far - near) * d;
    }
}
