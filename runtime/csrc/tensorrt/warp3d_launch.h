// Launches the warp kernels of ../cuda on a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace vm {

struct Warp3dSizes {
    int32_t batch, channels;
    int32_t volume[3];  // D, H, W
    int32_t moved[3];
};

// Volume (N, C, D, H, W) float32 or, with `half`, float16; displacement (N, 3, D', H', W') float32 in
// voxels; moved (N, C, D', H', W') of the volume's type. Keeps no state: any thread, any stream.
cudaError_t launch_warp3d(const void* volume, const float* displacement, void* moved,
                          const Warp3dSizes& sizes, bool half, bool nearest, bool border,
                          cudaStream_t stream);

}  // namespace vm
