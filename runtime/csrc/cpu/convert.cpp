#include "convert.h"

#include <algorithm>
#include <cstring>

#include "threads.h"

namespace vm {

namespace {

constexpr int64_t GRAIN = 1 << 16;  // voxels of a task

struct Half {
    uint16_t bits;
};

inline float as_float(Half half) {
    const uint32_t sign = uint32_t(half.bits & 0x8000u) << 16;
    const uint32_t rest = half.bits & 0x7fffu;
    float value;
    if (rest >= 0x7c00u) {  // infinite or NaN
        const uint32_t bits = sign | 0x7f800000u | (rest & 0x3ffu) << 13;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    }
    // The exponents are made to match by a multiplication, which serves subnormals as well.
    const uint32_t bits = rest << 13;
    std::memcpy(&value, &bits, sizeof value);
    value *= 5.192296858534828e33f;  // 2^112
    uint32_t with_sign;
    std::memcpy(&with_sign, &value, sizeof value);
    with_sign |= sign;
    std::memcpy(&value, &with_sign, sizeof value);
    return value;
}

template <typename T>
inline float as_float(T value) {
    return static_cast<float>(value);
}

inline uint16_t as_half(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return uint16_t(sign | 0x7e00u);   // NaN
    if (bits >= 0x477ff000u) return uint16_t(sign | 0x7c00u);  // 65520 and more: infinite
    if (bits < 0x38800000u) {
        // Subnormal in half precision: adding 0.5 leaves the rounded bits at the low end.
        float small;
        std::memcpy(&small, &bits, sizeof small);
        small += 0.5f;
        std::memcpy(&bits, &small, sizeof bits);
        return uint16_t(sign | (bits - 0x3f000000u));
    }
    bits += 0xfffu + (bits >> 13 & 1u);
    return uint16_t(sign | (bits - 0x38000000u) >> 13);
}

// A box of a volume, each value through `as`, where neighbours in memory lie along the axis `near`, 0
// or 1: tiles of them are read row by row and turned in a space that fits the first cache. Read along
// the last axis, whose steps are long and often of a power of two, they would push each other out.
template <typename T, typename U, typename As>
void turn(const T *volume, const Layout &layout, const int64_t box[6], int near, U *out, As as,
          int threads) {
    constexpr int64_t TILE = 32;
    const int other = 1 - near;
    const int64_t length[3] = {box[1] - box[0], box[3] - box[2], box[5] - box[4]};
    const int64_t to[2] = {length[1] * length[2], length[2]};
    const int64_t across = layout.strides[2], tiles = (length[near] + TILE - 1) / TILE;
    parallel_for(length[other] * tiles, threads, [&](int64_t task) {
        const int64_t i = task / tiles, first = task % tiles * TILE;
        const int64_t count = std::min(TILE, length[near] - first);
        const T *plane = volume + (box[2 * other] + i) * layout.strides[other] +
                         (box[2 * near] + first) * layout.strides[near] + box[4] * across;
        U *target = out + i * to[other] + first * to[near];
        T tile[TILE][TILE];
        for (int64_t w = 0; w < length[2]; w += TILE) {
            const int64_t width = std::min(TILE, length[2] - w);
            for (int64_t k = 0; k < width; ++k) {
                std::copy_n(plane + (w + k) * across, count, tile[k]);
            }
            for (int64_t j = 0; j < count; ++j) {
                U *row = target + j * to[near] + w;
                for (int64_t k = 0; k < width; ++k) row[k] = as(tile[k][j]);
            }
        }
    });
}

template <typename T, typename U, typename As>
void copy_box(const T *volume, const Layout &layout, const int64_t box[6], U *out, As as,
              int threads) {
    const int64_t h = box[3] - box[2], w = box[5] - box[4], rows = (box[1] - box[0]) * h;
    const int64_t step = layout.strides[2];
    for (int near = 0; near < 2; ++near) {
        if (step != 1 && layout.strides[near] == 1) {
            turn(volume, layout, box, near, out, as, threads);
            return;
        }
    }
    parallel_ranges(rows, std::max<int64_t>(1, GRAIN / w), threads, [&](int64_t a, int64_t b) {
        for (int64_t row = a; row < b; ++row) {
            const T *from = volume + (box[0] + row / h) * layout.strides[0] +
                            (box[2] + row % h) * layout.strides[1] + box[4] * step;
            U *to = out + row * w;
            if (step == 1) {
                for (int64_t i = 0; i < w; ++i) to[i] = as(from[i]);
            } else {
                for (int64_t i = 0; i < w; ++i) to[i] = as(from[i * step]);
            }
        }
    });
}

template <typename T>
bool any(const T *row, int64_t count, int64_t step) {
    T found = 0;
    if (step == 1) {
        for (int64_t i = 0; i < count; ++i) found = T(found | row[i]);
    } else {
        for (int64_t i = 0; i < count; ++i) found = T(found | row[i * step]);
    }
    return found != 0;
}

// What of `count` elements is not zero. Compilers make vectors of what goes part by part.
template <typename T>
Extent search(const T *row, int64_t count, int64_t step) {
    constexpr int64_t PART = 64;
    int64_t first = 0, last = count;
    while (first + PART <= count && !any(row + first * step, PART, step)) first += PART;
    while (first < count && row[first * step] == 0) ++first;
    while (last - PART > first && !any(row + (last - PART) * step, PART, step)) last -= PART;
    while (last > first && row[(last - 1) * step] == 0) --last;
    return last > first ? Extent{int32_t(first), int32_t(last)} : Extent{};
}

template <typename T>
void rows_of(const T *volume, const Layout &layout, Extent *rows, int threads) {
    const int64_t h = layout.shape[1], w = layout.shape[2], step = layout.strides[2];
    const int64_t grain = std::max<int64_t>(1, GRAIN / w);
    parallel_ranges(layout.shape[0] * h, grain, threads, [&](int64_t a, int64_t b) {
        for (int64_t i = a; i < b; ++i) {
            const T *row = volume + i / h * layout.strides[0] + i % h * layout.strides[1];
            rows[i] = search(row, w, step);
        }
    });
}

}  // namespace

void nonzero_rows(const void *volume, int64_t size, const Layout &layout, Extent *rows,
                  int threads) {
    switch (size) {
        case 1: rows_of(static_cast<const uint8_t *>(volume), layout, rows, threads); break;
        case 2: rows_of(static_cast<const uint16_t *>(volume), layout, rows, threads); break;
        case 4: rows_of(static_cast<const uint32_t *>(volume), layout, rows, threads); break;
        default: rows_of(static_cast<const uint64_t *>(volume), layout, rows, threads);
    }
}

void to_float(const void *volume, vm_type type, const Layout &layout, const int64_t box[6],
              float *out, int threads) {
#define VM_CONVERT(T)                                                                          \
    copy_box(static_cast<const T *>(volume), layout, box, out, [](T x) { return as_float(x); }, \
             threads)
    switch (type) {
        case VM_U8: VM_CONVERT(uint8_t); break;
        case VM_I8: VM_CONVERT(int8_t); break;
        case VM_U16: VM_CONVERT(uint16_t); break;
        case VM_I16: VM_CONVERT(int16_t); break;
        case VM_U32: VM_CONVERT(uint32_t); break;
        case VM_I32: VM_CONVERT(int32_t); break;
        case VM_U64: VM_CONVERT(uint64_t); break;
        case VM_I64: VM_CONVERT(int64_t); break;
        case VM_F16: VM_CONVERT(Half); break;
        case VM_F32: VM_CONVERT(float); break;
        case VM_F64: VM_CONVERT(double); break;
    }
#undef VM_CONVERT
}

void to_c_order(const void *volume, int64_t size, const Layout &layout, const int64_t box[6],
                void *out, int threads) {
#define VM_COPY(T)                                                                            \
    copy_box(static_cast<const T *>(volume), layout, box, static_cast<T *>(out),              \
             [](T x) { return x; }, threads)
    switch (size) {
        case 1: VM_COPY(uint8_t); break;
        case 2: VM_COPY(uint16_t); break;
        case 4: VM_COPY(uint32_t); break;
        default: VM_COPY(uint64_t);
    }
#undef VM_COPY
}

void to_half(const float *values, int64_t count, uint16_t *out, int threads) {
    parallel_ranges(count, GRAIN, threads, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) out[i] = as_half(values[i]);
    });
}

}  // namespace vm
