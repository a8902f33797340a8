// What runtime/csrc/cuda uses of CUDA, in C++, so that g++ compiles the very same source.
//
// Blocks run one after the other on one thread. So do the threads of a block, unless the kernel has
// barriers: then every thread is a fiber, and __syncthreads switches to the next.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static

struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

extern uint3 threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

template <class T>
inline T __ldg(const T* at) {
    return *at;
}

// As PTX's cvt: NaN gives 0.
inline int __float2int_rn(float value) {
    return std::isnan(value) ? 0 : static_cast<int>(std::nearbyint(value));
}

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline float half_to_float(unsigned short bits) {
    _Float16 value;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<float>(value);
}

inline unsigned short float_to_half(float value) {
    const _Float16 rounded = static_cast<_Float16>(value);
    unsigned short bits;
    std::memcpy(&bits, &rounded, sizeof bits);
    return bits;
}

inline int kept_here(int number) { return number; }

// Nothing runs at the same time.
template <class T>
inline T atomicAdd(T* at, T value) {
    const T before = *at;
    *at += value;
    return before;
}
template <class T>
inline T atomicMin(T* at, T value) {
    const T before = *at;
    *at = value < before ? value : before;
    return before;
}
template <class T>
inline T atomicMax(T* at, T value) {
    const T before = *at;
    *at = value > before ? value : before;
    return before;
}

// What a warp does together (tensor_core.cuh). Each thread leaves what the others want and goes on when
// all have; two places in turn, so that one barrier is enough.
constexpr int MOST_THREADS = 1024;

template <class T>
inline const T* exchanged(const T& own) {
    static T left[2][MOST_THREADS];
    static unsigned char turn[MOST_THREADS];
    T* const place = left[turn[threadIdx.x] ^= 1];
    place[threadIdx.x] = own;
    __syncthreads();
    return place + (threadIdx.x & ~31u);
}

inline float half_of(unsigned two, int number) {
    return half_to_float(static_cast<unsigned short>(two >> 16 * number));
}

inline void load_matrices(unsigned (&part)[4], const void* row) {
    const unsigned lane = threadIdx.x & 31;
    const void* const* rows = exchanged(row);
    for (unsigned i = 0; i < 4; ++i)
        part[i] = static_cast<const unsigned*>(rows[8 * i + lane / 4])[lane & 3];
}

inline void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned upper, unsigned lower) {
    struct Registers {
        unsigned a[4], b[2];
    };
    const unsigned lane = threadIdx.x & 31;
    const Registers* of = exchanged(Registers{{a[0], a[1], a[2], a[3]}, {upper, lower}});
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = lane / 4, column = 2 * (lane & 3) + (i & 1);
        for (unsigned k = 0; k < 16; ++k) {
            const unsigned half = k / 8, at = k % 8 / 2, element = k & 1;
            sum[i] += half_of(of[4 * row + at].a[2 * half + i / 2], element) *
                      half_of(of[4 * column + at].b[half], element);
        }
    }
}

inline float of_lane(float value, int mask) {
    return exchanged(value)[(threadIdx.x & 31) ^ static_cast<unsigned>(mask)];
}
