// The convolutions of a U-Net on tensor cores: FP16 values and weights, FP32 sums.
//
// Tensors are channels last, (d, h, w, c) FP16, c a multiple of 16. A convolution is 3 x 3 x 3 with one
// voxel of zeros around, a bias and a LeakyReLU. What a network does between two of them happens while
// the second one loads: concatenation (a list of sources), nearest doubling of the grid (a source is
// read at half the index); the pooling happens while the first one stores. So a tensor is written once and read once by each convolution that wants it.
//
// A block computes a box of 2 x 8 x 16 voxels, all output channels; a warp two rows of 16 voxels in both
// planes, so that a 2 x 2 x 2 pool lies in one warp. The box with its neighbours lies in shared memory,
// 16 or 32 channels at a time (46 KB, and a third of the registers: three blocks a multiprocessor). A product of matrices is 16
// voxels x 16 channels of one of the 27 neighbours, times 16 x 8 weights. Weights come in the order in
// which lanes want them, 16 bytes at once, through the L1 cache that all warps share.
#pragma once

#include "grid.cuh"
#include "half.cuh"
#include "interpolate.cuh"
#include "tensor_core.cuh"

namespace unet {

constexpr int BOX_D = 2, BOX_H = 8, BOX_W = 16;
constexpr int HALO_H = BOX_H + 2, HALO_W = BOX_W + 2;
constexpr int HALO = (BOX_D + 2) * HALO_H * HALO_W;
constexpr int THREADS = 128;
constexpr int ROWS = 4;          // of 16 voxels, each warp's: two planes of two
constexpr int LOADS = 6;         // in flight, of each thread, while the box is filled
constexpr int MOST_SOURCES = 12;

// Where 16 or 32 channels come from.
struct Source {
    const Half* data;  // (d, h, w, pitch), on half the grid where it is doubled
    int pitch, first;  // channels of a voxel there, and the first that is wanted
    int doubled, unused;
};

struct Sources {
    Source of[MOST_SOURCES];
};

// What becomes of the sums; a null pointer is not written.
struct Results {
    Half* whole;   // (d, h, w, pitch)
    Half* pooled;  // (d / 2, h / 2, w / 2, pitch)
    float* planar; // (channels, d, h, w), without the LeakyReLU's rounding to FP16
    int pitch, first, channels;
    float slope;   // of the LeakyReLU; 1 for none
};

__device__ __forceinline__ unsigned both(float low, float high) {
    return float_to_half(low) | static_cast<unsigned>(float_to_half(high)) << 16;
}

// Where the piece of 16 bytes of a voxel lies: any 8 voxels in a row, one piece of each, are in
// different banks.
template <int PIECES>
__device__ __forceinline__ int place_of_piece(int voxel, int piece) {
    const int turn = PIECES == 4 ? voxel >> 1 & 3 : voxel >> 2 & 1;
    return voxel * PIECES + (piece ^ turn);
}

template <int PIECES>
__device__ __forceinline__ uint4 piece_of(const Source& source, Shape shape, Voxel at, int piece) {
    if (!is_inside(shape, at.d, at.h, at.w)) return make_uint4(0, 0, 0, 0);
    const int half = source.doubled;
    const Shape grid = {shape.d >> half, shape.h >> half, shape.w >> half};
    const long long index = index_of(grid, at.d >> half, at.h >> half, at.w >> half);
    const Half* first = source.data + index * source.pitch + source.first;
    return __ldg(reinterpret_cast<const uint4*>(first) + piece);
}

// The box and its neighbours into shared memory.
template <int PIECES>
__device__ __forceinline__ void fill(uint4* box, const Source& source, Shape shape, Voxel corner) {
    constexpr int COUNT = HALO * PIECES;
    for (int start = static_cast<int>(threadIdx.x); start < COUNT; start += THREADS * LOADS) {
        uint4 loaded[LOADS];
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            const int number = start + i * THREADS, voxel = number / PIECES;
            const Voxel at = {corner.d - 1 + voxel / (HALO_H * HALO_W),
                              corner.h - 1 + voxel / HALO_W % HALO_H, corner.w - 1 + voxel % HALO_W};
            loaded[i] = number < COUNT ? piece_of<PIECES>(source, shape, at, number % PIECES)
                                       : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            const int number = start + i * THREADS;
            if (number < COUNT)
                box[place_of_piece<PIECES>(number / PIECES, number % PIECES)] = loaded[i];
        }
    }
}

// The same of two scans, 4 bytes a voxel.
__device__ __forceinline__ void fill_with_scans(unsigned* box, const float* first,
                                                const float* second, Shape shape, Voxel corner) {
    constexpr int EACH = (HALO + THREADS - 1) / THREADS;
    float loaded[EACH][2] = {};
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const int voxel = static_cast<int>(threadIdx.x) + i * THREADS;
        const int d = corner.d - 1 + voxel / (HALO_H * HALO_W);
        const int h = corner.h - 1 + voxel / HALO_W % HALO_H, w = corner.w - 1 + voxel % HALO_W;
        if (voxel < HALO && is_inside(shape, d, h, w)) {
            const int index = index_of(shape, d, h, w);
            loaded[i][0] = __ldg(first + index);
            loaded[i][1] = __ldg(second + index);
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const int voxel = static_cast<int>(threadIdx.x) + i * THREADS;
        if (voxel < HALO) box[voxel] = both(loaded[i][0], loaded[i][1]);
    }
}

// A step's weights for 8 TILES output channels: two registers for each 8, as multiply_add takes them.
template <int TILES>
__device__ __forceinline__ void load_weights(unsigned (&part)[2 * TILES], const unsigned* weights,
                                             int step, int lane) {
    if constexpr (TILES == 1) {
        const uint2 two = __ldg(reinterpret_cast<const uint2*>(weights) + step * 32 + lane);
        part[0] = two.x;
        part[1] = two.y;
    } else {
#pragma unroll
        for (int pair = 0; pair < TILES / 2; ++pair) {
            const uint4 four = __ldg(reinterpret_cast<const uint4*>(weights) +
                                     (step * (TILES / 2) + pair) * 32 + lane);
            part[4 * pair] = four.x;
            part[4 * pair + 1] = four.y;
            part[4 * pair + 2] = four.z;
            part[4 * pair + 3] = four.w;
        }
    }
}

// Bias and LeakyReLU, and out with it.
template <int TILES>
__device__ __forceinline__ void store(float (&sums)[ROWS][TILES][4], const float* bias,
                                      const Results& results, Shape shape, Voxel corner, int lane) {
    const Shape half = {shape.d >> 1, shape.h >> 1, shape.w >> 1};
    const int row = lane >> 2, column = 2 * (lane & 3);
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
        const int channel = 8 * tile + column;
        const float added[2] = {__ldg(bias + channel), __ldg(bias + channel + 1)};
#pragma unroll
        for (int part = 0; part < ROWS; ++part)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float sum = sums[part][tile][i] + added[i & 1];
                sums[part][tile][i] = sum > 0.0f ? sum : sum * results.slope;
            }
        if (results.whole || results.planar) {
#pragma unroll
            for (int row_of_side = 0; row_of_side < 2 * ROWS; ++row_of_side) {
                const int part = row_of_side >> 1, side = row_of_side & 1;
                const int d = corner.d + (part >> 1), h = corner.h + (part & 1);
                const int w = corner.w + row + 8 * side;
                if (!is_inside(shape, d, h, w)) continue;
                const float* two = &sums[part][tile][2 * side];
                const long long index = index_of(shape, d, h, w);
                if (results.whole)
                    *reinterpret_cast<unsigned*>(results.whole + index * results.pitch +
                                                 results.first + channel) = both(two[0], two[1]);
                if (results.planar)
                    for (int i = 0; i < 2; ++i)
                        if (channel + i < results.channels)
                            results.planar[(results.first + channel + i) * voxels_of(shape) + index] =
                                two[i];
            }
        }
        if (results.pooled) {
            float largest[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                largest[i] = fmaxf(fmaxf(sums[0][tile][i], sums[1][tile][i]),
                                   fmaxf(sums[2][tile][i], sums[3][tile][i]));
                largest[i] = fmaxf(largest[i], of_lane(largest[i], 4));
            }
            const int d = corner.d >> 1, h = corner.h >> 1;
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                const int w = (corner.w + row + 8 * side) >> 1;
                if ((row & 1) == 0 && is_inside(half, d, h, w))
                    *reinterpret_cast<unsigned*>(
                        results.pooled +
                        static_cast<long long>(index_of(half, d, h, w)) * results.pitch +
                        results.first + channel) = both(largest[2 * side], largest[2 * side + 1]);
            }
        }
    }
}

// Any convolution; sources of CHANNELS each, 8 TILES output channels.
template <int CHANNELS, int TILES>
__device__ __forceinline__ void convolve(const Sources& sources, int count, const unsigned* weights,
                                         const float* bias, const Results& results, Shape shape) {
    constexpr int PIECES = CHANNELS / 8, STEPS = CHANNELS / 16;
    __shared__ uint4 box[HALO * PIECES];
    const int lane = threadIdx.x & 31, warp = static_cast<int>(threadIdx.x) >> 5;
    const Voxel corner = {static_cast<int>(blockIdx.z) * BOX_D, static_cast<int>(blockIdx.y) * BOX_H,
                          static_cast<int>(blockIdx.x) * BOX_W};
    float sums[ROWS][TILES][4] = {};
    // A step's weights are asked for one step ahead, over the ends of loops too; behind the last one's
    // lie zeros.
    unsigned b[2 * TILES];
    load_weights<TILES>(b, weights, 0, lane);
    int step = 0;
    for (int number = 0; number < count; ++number) {
        __syncthreads();
        fill<PIECES>(box, sources.of[number], shape, corner);
        __syncthreads();
#pragma unroll 1
        for (int kd = 0; kd < 3; ++kd) {
#pragma unroll
            for (int plane = 0; plane < 9; ++plane)
#pragma unroll
                for (int part_of = 0; part_of < STEPS; ++part_of) {
                    unsigned next[2 * TILES];
                    load_weights<TILES>(next, weights, ++step, lane);
#pragma unroll
                    for (int part = 0; part < ROWS; ++part) {
                        const int voxel = ((kd + (part >> 1)) * HALO_H + 2 * warp + (part & 1) +
                                           plane / 3) * HALO_W + plane % 3 + (lane & 15);
                        unsigned a[4];
                        load_matrices(a, box + place_of_piece<PIECES>(voxel, 2 * part_of + (lane >> 4)));
#pragma unroll
                        for (int tile = 0; tile < TILES; ++tile)
                            multiply_add(sums[part][tile], a, b[2 * tile], b[2 * tile + 1]);
                    }
#pragma unroll
                    for (int i = 0; i < 2 * TILES; ++i) b[i] = next[i];
                }
        }
    }
    store<TILES>(sums, bias, results, shape, Voxel{corner.d, corner.h + 2 * warp, corner.w}, lane);
}

// The convolution of the two scans alone: 27 neighbours x 2 scans are one row of 54 (64) weights, so
// that no product is with a channel that is not there.
template <int TILES>
__device__ __forceinline__ void convolve_scans(const float* first, const float* second,
                                               const unsigned* weights, const float* bias,
                                               const Results& results, Shape shape) {
    __shared__ unsigned box[HALO];
    const int lane = threadIdx.x & 31, warp = static_cast<int>(threadIdx.x) >> 5;
    const Voxel corner = {static_cast<int>(blockIdx.z) * BOX_D, static_cast<int>(blockIdx.y) * BOX_H,
                          static_cast<int>(blockIdx.x) * BOX_W};
    fill_with_scans(box, first, second, shape, corner);
    __syncthreads();
    float sums[ROWS][TILES][4] = {};
#pragma unroll
    for (int step = 0; step < 4; ++step) {
        unsigned b[2 * TILES];
        load_weights<TILES>(b, weights, step, lane);
        int neighbour[2];
#pragma unroll
        for (int side = 0; side < 2; ++side) {
            const int k = 8 * step + 4 * side + (lane & 3);
            // Beyond the 27th the weights are 0; the value has to be a number, and is one here.
            neighbour[side] = k < 27 ? (k / 9 * HALO_H + k / 3 % 3) * HALO_W + k % 3 : 0;
        }
#pragma unroll
        for (int part = 0; part < ROWS; ++part) {
            const unsigned* at =
                box + ((part >> 1) * HALO_H + 2 * warp + (part & 1)) * HALO_W + (lane >> 2);
            const unsigned a[4] = {at[neighbour[0]], at[neighbour[0] + 8], at[neighbour[1]],
                                   at[neighbour[1] + 8]};
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile)
                multiply_add(sums[part][tile], a, b[2 * tile], b[2 * tile + 1]);
        }
    }
    store<TILES>(sums, bias, results, shape, Voxel{corner.d, corner.h + 2 * warp, corner.w}, lane);
}

}  // namespace unet

#define VM_UNET_KERNEL(blocks, name) \
    extern "C" __global__ void __launch_bounds__(unet::THREADS, blocks) name

#if VM_HAS_TENSOR_CORES
#define VM_UNET_CONVOLVE(channels, tiles) \
    unet::convolve<channels, tiles>(sources, count, weights, bias, results, Shape{d, h, w});
#define VM_UNET_SCANS(tiles) \
    unet::convolve_scans<tiles>(first, second, weights, bias, results, Shape{d, h, w});
#else
#define VM_UNET_CONVOLVE(channels, tiles)
#define VM_UNET_SCANS(tiles)
#endif

#define VM_UNET_ARGUMENTS                                                                            \
    (const __grid_constant__ unet::Sources sources, int count, const unsigned* __restrict__ weights, \
     const float* __restrict__ bias, unet::Results results, int d, int h, int w)

VM_UNET_KERNEL(3, vm_unet_convolve_16_8) VM_UNET_ARGUMENTS { VM_UNET_CONVOLVE(16, 1) }
VM_UNET_KERNEL(3, vm_unet_convolve_16_16) VM_UNET_ARGUMENTS { VM_UNET_CONVOLVE(16, 2) }
VM_UNET_KERNEL(3, vm_unet_convolve_16_32) VM_UNET_ARGUMENTS { VM_UNET_CONVOLVE(16, 4) }
VM_UNET_KERNEL(3, vm_unet_convolve_32_8) VM_UNET_ARGUMENTS { VM_UNET_CONVOLVE(32, 1) }
VM_UNET_KERNEL(3, vm_unet_convolve_32_16) VM_UNET_ARGUMENTS { VM_UNET_CONVOLVE(32, 2) }
VM_UNET_KERNEL(3, vm_unet_convolve_32_32) VM_UNET_ARGUMENTS { VM_UNET_CONVOLVE(32, 4) }

#define VM_UNET_SCANS_ARGUMENTS                                                               \
    (const float* __restrict__ first, const float* __restrict__ second,                       \
     const unsigned* __restrict__ weights, const float* __restrict__ bias,                    \
     unet::Results results, int d, int h, int w)

VM_UNET_KERNEL(5, vm_unet_scans_16) VM_UNET_SCANS_ARGUMENTS { VM_UNET_SCANS(2) }
VM_UNET_KERNEL(4, vm_unet_scans_32) VM_UNET_SCANS_ARGUMENTS { VM_UNET_SCANS(4) }
