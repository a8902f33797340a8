// The inner loops, each over one row of voxels, compiled for several instruction sets.
//
// The .inl files hold them once. rows_baseline.cpp and rows_avx2.cpp compile them for what their
// names say, and rows() is the table for this machine. All give the same bits: built with
// -ffp-contract=off, no result depends on the processor. With AVX-512 most take as long as with
// AVX2, since loads decide; rows_avx512.cpp has the one that does not.
#pragma once

#include <cstdint>

#include "vmruntime.h"

namespace vm {

// Rows of places hold a multiple of this many numbers; what lies beyond the row's end is looked up
// as well and thrown away, so it must be written.
constexpr int64_t BLOCK = 16;

// Keeps compilers from making a gather instruction of a loop's loads: these are slow on many
// processors, see lanes_avx2.inl.
#if defined(__GNUC__)
#define VM_PLAIN_LOAD(index) __asm__("" : "+r"(index))
#else
#define VM_PLAIN_LOAD(index) (void)(index)
#endif

inline int64_t padded(int64_t count) { return (count + BLOCK - 1) / BLOCK * BLOCK; }

// How the elements of a volume lie in memory.
struct Layout {
    int32_t shape[3];
    int64_t strides[3];  // in elements
};

// Coordinates of a row's places along the three axes.
using Places = const float *const *;

// An affine map of coordinates: out[i] = f[i][0] x0 + f[i][1] x1 + f[i][2] x2 + offset[i].
struct Factors {
    float factor[3][3];
    float offset[3];
};

// One row of a field and those beside it, rows[component][plane][line], with itself in the middle.
// Each may be read from a voxel before it to a voxel behind its last BLOCK.
struct FramedRows {
    const float *rows[3][3][3];
};

struct Rows {
    const char *name;

    // Trilinear look-up of `channels` volumes that lie `channel_stride` elements apart.
    void (*linear)(const float *volume, int64_t channel_stride, int64_t channels,
                   const Layout &layout, Places places, int64_t count, float *const *out);

    // A field at x + u(x), for a row of its own grid, in those BLOCKs of the row where no component
    // of u is longer than a voxel: blocks[i] says so.
    void (*nearby)(const FramedRows &field, const float *const *u, float *const *out,
                   int64_t count, unsigned char *blocks);

    // Nearest look-up of elements of 1 << `log2_size` bytes.
    void (*nearest)(const void *volume, int log2_size, const Layout &layout, Places places,
                    int64_t count, void *out);

    // The label with the largest trilinear share; share may be NULL.
    void (*vote)(const void *volume, vm_type type, const Layout &layout, Places places,
                 int64_t count, void *out, float *share);

    // out[i] = first + float(start + line[i])
    void (*affine)(const double *line, double start, float first, int64_t count, float *out);

    // Replaces coordinates by the map of them.
    void (*multiply)(const Factors &factors, int64_t count, float *const *places);

    // out[i] = u[i] + (index + i), with i only where `along` is not 0.
    void (*displace)(const float *u, float index, int along, int64_t count, float *out);

    // The nearest places inside a volume of this shape, and the weight that a displacement has
    // left so far from it. Returns 0 where all are inside (nothing is written then), 2 where all
    // weights are 0, else 1.
    int (*fade)(const int32_t *shape, Places places, int64_t count, float *const *inside,
                float *weight);

    // Smallest and largest coordinate of a row's places along one axis, rounded towards zero and
    // clipped to one voxel outside; NaN counts as before the first voxel.
    void (*reach)(const float *places, int32_t voxels, int64_t count, int32_t *bounds);

    // For each BLOCK of a row whether any coordinate lies from `low` to less than `high`.
    void (*between)(const float *places, float low, float high, int64_t count,
                    unsigned char *blocks);

    // out[i] = a[i] + (b[i] - a[i]) * t
    void (*blend)(const float *a, const float *b, float t, int64_t count, float *out);

    // out[i] = a + (b - a) * t[i] with a, b = row[low[i]], row[low[i] + step]; `low` grows, and the
    // row may be read to 8 numbers beyond its end.
    void (*expand)(const float *row, const int32_t *low, const float *t, int32_t step,
                   int64_t count, float *out);

    // Central differences of row[-1..1] along w (one-sided at both ends), and (b - a) * scale.
    void (*slope_along)(const float *row, int64_t count, float *out);
    void (*slope_across)(const float *a, const float *b, float scale, int64_t count, float *out);

    // det(I + rows), rows[3 * i + j] being the derivative of component i along axis j.
    void (*determinant)(const float *const *slopes, int64_t count, float *out);

    // steps[i] = clipped(missed[i] + sum of slopes[3 i + j] * missed[j])
    void (*newton)(const float *const *slopes, const float *const *missed, float longest,
                   int64_t count, float *const *steps);
};

extern const Rows rows_baseline;
extern const Rows rows_avx2;
void nearby_avx512(const FramedRows &field, const float *const *u, float *const *out,
                   int64_t count, unsigned char *blocks);

// Vector instructions, each level with all that the ones before have.
enum class Level { baseline, avx2, avx512 };

// What this machine has. VM_KERNELS=baseline|avx2|avx512 sets an upper limit, for tests.
Level level();

// The table for this machine.
const Rows &rows();

}  // namespace vm
