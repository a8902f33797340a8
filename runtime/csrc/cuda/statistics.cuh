// What a whole array holds: extremes, zeros, values that are no numbers, folds.
//
// Every thread gathers what it sees in registers; shared and then global atomics join the rest.
// Clear the result first (vm_statistics_begin, or zeros for vm_regularity). Values that are not
// finite count, and take no part in the extremes.
#pragma once

#include "grid.cuh"

// 24 bytes in device memory.
struct Statistics {
    unsigned int smallest, largest;  // keys, see key_of
    unsigned long long nonzero, not_finite;
};

// Integers in the order of the floats they stand for, for atomics and radix selection.
__device__ __forceinline__ unsigned int key_of(float value) {
    const unsigned int bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float value_of(unsigned int key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

VM_KERNEL(vm_statistics_begin)(Statistics* statistics) {
    if (blockIdx.x == 0 && threadIdx.x == 0) *statistics = Statistics{0xffffffffu, 0u, 0ull, 0ull};
}

VM_KERNEL(vm_statistics)
(const float* __restrict__ values, long long count, Statistics* __restrict__ statistics) {
    __shared__ Statistics block;
    if (threadIdx.x == 0) block = Statistics{0xffffffffu, 0u, 0ull, 0ull};
    __syncthreads();
    Statistics own = {0xffffffffu, 0u, 0ull, 0ull};
    for_each_value(count, [&own, values](long long i) {
        const float value = __ldg(values + i);
        if ((__float_as_uint(value) & 0x7f800000u) == 0x7f800000u) {
            own.not_finite += 1;
            return;
        }
        const unsigned int key = key_of(value);
        own.smallest = key < own.smallest ? key : own.smallest;
        own.largest = key > own.largest ? key : own.largest;
        own.nonzero += value != 0.0f;
    });
    atomicMin(&block.smallest, own.smallest);
    atomicMax(&block.largest, own.largest);
    atomicAdd(&block.nonzero, own.nonzero);
    atomicAdd(&block.not_finite, own.not_finite);
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicMin(&statistics->smallest, block.smallest);
        atomicMax(&statistics->largest, block.largest);
        atomicAdd(&statistics->nonzero, block.nonzero);
        atomicAdd(&statistics->not_finite, block.not_finite);
    }
}

// sums (4 float64): voxels that fold (not positive, NaN too), the others, and the sums of their log
// and of its square.
VM_KERNEL(vm_regularity)
(const float* __restrict__ determinant, long long count, double* __restrict__ sums) {
    __shared__ double block[4];
    if (threadIdx.x < 4) block[threadIdx.x] = 0.0;
    __syncthreads();
    double own[4] = {0.0, 0.0, 0.0, 0.0};
    for_each_value(count, [&own, determinant](long long i) {
        const float value = __ldg(determinant + i);
        if (!(value > 0.0f)) {
            own[0] += 1.0;
            return;
        }
        const float log_value = logf(value);
        own[1] += 1.0;
        own[2] += log_value;
        own[3] += static_cast<double>(log_value) * log_value;
    });
    for (int i = 0; i < 4; ++i) atomicAdd(&block[i], own[i]);
    __syncthreads();
    if (threadIdx.x < 4) atomicAdd(&sums[threadIdx.x], block[threadIdx.x]);
}
