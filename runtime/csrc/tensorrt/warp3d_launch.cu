#include "warp3d_launch.h"

#include "warp.cuh"

namespace vm {
namespace {

template <class T>
using Kernel = void (*)(const T*, const float*, T*, int, int, int, int, int, int, int, int);

// Blocks of a launch along y and z at most; threads stride over the rest.
constexpr unsigned MOST_BLOCKS = 65535;

unsigned blocks(int32_t size, unsigned threads) {
    const unsigned needed = (static_cast<unsigned>(size) + threads - 1) / threads;
    return needed < MOST_BLOCKS ? needed : MOST_BLOCKS;
}

template <class T>
cudaError_t launch(Kernel<T> kernel, const void* volume, const float* displacement, void* moved,
                   const Warp3dSizes& sizes, bool border, cudaStream_t stream) {
    const int32_t(&in)[3] = sizes.volume;
    const int32_t(&out)[3] = sizes.moved;
    const int64_t out_voxels = int64_t{out[0]} * out[1] * out[2];
    const int64_t in_voxels = int64_t{in[0]} * in[1] * in[2];
    if (out_voxels == 0) return cudaSuccess;
    const dim3 block(32, 4, 2);
    const dim3 grid(blocks(out[2], block.x), blocks(out[1], block.y), blocks(out[0], block.z));
    for (int32_t n = 0; n < sizes.batch; ++n) {
        kernel<<<grid, block, 0, stream>>>(
            static_cast<const T*>(volume) + n * sizes.channels * in_voxels,
            displacement + n * 3 * out_voxels,
            static_cast<T*>(moved) + n * sizes.channels * out_voxels, sizes.channels, in[0], in[1],
            in[2], out[0], out[1], out[2], border);
    }
    return cudaGetLastError();
}

}  // namespace

cudaError_t launch_warp3d(const void* volume, const float* displacement, void* moved,
                          const Warp3dSizes& sizes, bool half, bool nearest, bool border,
                          cudaStream_t stream) {
    if (nearest && half)
        return launch(vm_warp_nearest_16, volume, displacement, moved, sizes, border, stream);
    if (nearest)
        return launch(vm_warp_nearest_32, volume, displacement, moved, sizes, border, stream);
    if (half) return launch(vm_warp_linear_f16, volume, displacement, moved, sizes, border, stream);
    return launch(vm_warp_linear_f32, volume, displacement, moved, sizes, border, stream);
}

}  // namespace vm
