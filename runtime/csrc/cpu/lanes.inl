// Vectors of neighbouring voxels, which the inner loops are written in where compilers do not find
// them; see rows.h. To be included first, with LANES set to what a vector of the processor holds.

constexpr int B = static_cast<int>(BLOCK);

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));

static_assert(BLOCK % LANES == 0, "a block holds whole vectors");

static inline Floats floats_at(const float *data) {
    Floats values;
    __builtin_memcpy(&values, data, sizeof values);
    return values;
}

// No further outside an axis of `size` voxels than anything but zero can be blended in, and so is
// NaN.
static inline Floats clipped(Floats places, float size) {
    const Floats outside = -1.0f - Floats{}, end = size - Floats{};
    places = places > outside ? places : outside;
    return places > end ? end : places;
}

static inline Ints truncated(Floats values) { return __builtin_convertvector(values, Ints); }

static inline Floats blended(Floats a, Floats b, Floats share) { return a + (b - a) * share; }
