// Voxels of a grid, and which thread does which.
//
// Arrays are C-contiguous (D, H, W) with channels first. Sizes of axes and indices of
// voxels are int: a grid has fewer than 2^31 voxels (vmruntime sees to it), and an address is then one
// multiplication. Offsets of channels are long long.
//
// Blocks are boxes (32, 4, 2) of voxels, W fastest. A warp is one row, so that loads of displacement
// fields and stores of results are coalesced, and the rows of a block that look at neighbouring
// places share the corners of each other's cells in the L1 cache; with blocks of 256 x 1 x 1 every
// corner row would be fetched by up to four blocks. One voxel a thread keeps gathers of a warp on
// adjacent addresses; several adjacent voxels a thread would make the stores wider and the gathers,
// of which there are eight times as many, strided.
#pragma once

#define VM_KERNEL(name) extern "C" __global__ void __launch_bounds__(256) name

struct Shape {
    int d, h, w;
};

struct Voxel {
    int d, h, w;
};

__device__ __forceinline__ long long voxels_of(Shape shape) {
    return static_cast<long long>(shape.d) * shape.h * shape.w;
}

__device__ __forceinline__ int index_of(Shape shape, int d, int h, int w) {
    return (d * shape.h + h) * shape.w + w;
}

// Calls body(Voxel, index) for every voxel of this thread, whatever the size of the launch.
template <class Body>
__device__ __forceinline__ void for_each_voxel(Shape shape, Body body) {
    const int first_h = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
    const int first_w = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int step_d = static_cast<int>(gridDim.z * blockDim.z);
    const int step_h = static_cast<int>(gridDim.y * blockDim.y);
    const int step_w = static_cast<int>(gridDim.x * blockDim.x);
    for (int d = static_cast<int>(blockIdx.z * blockDim.z + threadIdx.z); d < shape.d; d += step_d)
        for (int h = first_h; h < shape.h; h += step_h)
            for (int w = first_w; w < shape.w; w += step_w)
                body(Voxel{d, h, w}, index_of(shape, d, h, w));
}

// Calls body(index) for every value of this thread of an array without a shape.
template <class Body>
__device__ __forceinline__ void for_each_value(long long count, Body body) {
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
         i += step)
        body(i);
}
