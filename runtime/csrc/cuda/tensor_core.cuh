// What a warp does together: products of small matrices, and looking at each other's registers.
//
// Single instructions, written out so that no header of CUDA's is needed. They want compute
// capability 8.0; below it the kernels that use them are empty, and vmruntime refuses to launch them.
#pragma once

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define VM_HAS_TENSOR_CORES 1
#else
#define VM_HAS_TENSOR_CORES 0
#endif

#if defined(__CUDACC__) && VM_HAS_TENSOR_CORES
// Four 8 x 8 matrices of FP16 in shared memory. Lane l gives where row l % 8 of matrix l / 8 begins,
// 16 bytes, aligned to them. In each matrix the lane gets columns 2 (l % 4) and the next of row l / 4.
__device__ __forceinline__ void load_matrices(unsigned (&part)[4], const void* row) {
    const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(part[0]), "=r"(part[1]), "=r"(part[2]), "=r"(part[3])
                 : "r"(at)
                 : "memory");
}

// sum += a * b with a 16 x 16 and b 16 x 8 in FP16, sum 16 x 8 in FP32. Of `a` a lane holds four 8 x 8
// matrices as load_matrices gives them: above left, below left, above right, below right; of `b`, upper
// and lower half, rows 2 (l % 4) and the next of column l / 4; of `sum`, rows l / 4 and l / 4 + 8,
// columns 2 (l % 4) and the next.
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned upper,
                                             unsigned lower) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(upper), "r"(lower));
}

// Another lane's value: of the one whose number differs in the bits of `mask`.
__device__ __forceinline__ float of_lane(float value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
#endif  // elsewhere the including file has defined them (tests/cuda_on_cpu)
