// All CUDA kernels of voxelmorph-deploy, as one source: nvcc and NVRTC compile this file, and the
// tests compile and run it on the CPU (tests/cuda_on_cpu).
//
// Compile with --fmad=false (nvcc and NVRTC alike): products and sums are then rounded one by one as
// numpy does, which gives the same values to the bit, and a tie there is a tie here. The price is some
// arithmetic in kernels that wait for memory. No header but those beside this file is needed.
//
// Launch: voxel kernels with blocks (32, 4, 2), array kernels with 256 x 1 x 1; any grid does, see
// README.md for every kernel's arguments.
#include "carry.cuh"
#include "fields.cuh"
#include "intensity.cuh"
#include "statistics.cuh"
#include "unet.cuh"
#include "warp.cuh"
