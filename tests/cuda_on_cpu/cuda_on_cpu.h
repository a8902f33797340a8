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

extern uint3 threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

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
