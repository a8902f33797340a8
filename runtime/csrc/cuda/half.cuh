// FP16 as 16 bits of storage; arithmetic is always in float32.
//
// The conversions are single instructions, written out so that cuda_fp16.h is not needed: NVRTC
// then compiles these files on a machine that has a driver and no CUDA toolkit.
#pragma once

struct Half {
    unsigned short bits;
};

#if defined(__CUDACC__)
__device__ __forceinline__ float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ __forceinline__ unsigned short float_to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif  // elsewhere the including file has defined both (tests/cuda_on_cpu)
