// Looking up a volume at a place between its voxels: linear and nearest.
//
// Zeros padding is that of torch's grid_sample with align_corners: values outside count as 0 and are
// blended in. From two voxels outside on nothing but 0 can be found, so a place is first clipped to
// [-2, size], and every address is within reach; border padding clips to [0, size - 1]. A coordinate
// that is not a number becomes the lower bound: with zeros padding it lies outside.
#pragma once

#include "grid.cuh"
#include "half.cuh"

struct Place {
    float d, h, w;
};

// Values of a vector field at one voxel, or between voxels.
struct Vector {
    float d, h, w;
};

// A cell of eight voxels: its first corner, which may lie outside, and the place within.
struct Cell {
    int d, h, w;
    float fraction_d, fraction_h, fraction_w;
};

// Read-only loads, as float32.
template <class T>
__device__ __forceinline__ float load(const T* at) {
    return static_cast<float>(__ldg(at));
}

template <>
__device__ __forceinline__ float load<Half>(const Half* at) {
    return half_to_float(__ldg(&at->bits));
}

__device__ __forceinline__ Vector load(const float4* at) {
    const float4 value = __ldg(at);
    return Vector{value.x, value.y, value.z};
}

__device__ __forceinline__ void store(float* at, float value) { *at = value; }

__device__ __forceinline__ void store(Half* at, float value) { at->bits = float_to_half(value); }

// Not fused (see vm_kernels.cu): seven more instructions of some eighty buy numpy's very bits.
__device__ __forceinline__ float blend(float near, float far, float share) {
    return near + (far - near) * share;
}

__device__ __forceinline__ Vector blend(Vector near, Vector far, float share) {
    return Vector{blend(near.d, far.d, share), blend(near.h, far.h, share),
                  blend(near.w, far.w, share)};
}

// NaN becomes `low`: fmaxf returns the argument that is a number.
__device__ __forceinline__ float clipped(float x, float low, float high) {
    return fminf(fmaxf(x, low), high);
}

__device__ __forceinline__ Place clipped(Place at, Shape shape, bool border) {
    const float low = border ? 0.0f : -2.0f;
    const int beyond = border ? -1 : 0;
    return Place{clipped(at.d, low, static_cast<float>(shape.d + beyond)),
                 clipped(at.h, low, static_cast<float>(shape.h + beyond)),
                 clipped(at.w, low, static_cast<float>(shape.w + beyond))};
}

__device__ __forceinline__ Cell cell_of(Place at, Shape shape, bool border) {
    const Place in = clipped(at, shape, border);
    const float d = floorf(in.d), h = floorf(in.h), w = floorf(in.w);
    return Cell{static_cast<int>(d), static_cast<int>(h), static_cast<int>(w),
                in.d - d,            in.h - h,            in.w - w};
}

__device__ __forceinline__ bool is_inside(Shape shape, int d, int h, int w) {
    return static_cast<unsigned>(d) < static_cast<unsigned>(shape.d) &&
           static_cast<unsigned>(h) < static_cast<unsigned>(shape.h) &&
           static_cast<unsigned>(w) < static_cast<unsigned>(shape.w);
}

// Whether all eight corners are voxels.
__device__ __forceinline__ bool is_whole(Shape shape, Cell cell) {
    return static_cast<unsigned>(cell.d) < static_cast<unsigned>(shape.d - 1) &&
           static_cast<unsigned>(cell.h) < static_cast<unsigned>(shape.h - 1) &&
           static_cast<unsigned>(cell.w) < static_cast<unsigned>(shape.w - 1);
}

template <class Value>
__device__ __forceinline__ Value blend_corners(const Value (&corner)[8], Cell cell) {
    return blend(blend(blend(corner[0], corner[1], cell.fraction_w),
                       blend(corner[2], corner[3], cell.fraction_w), cell.fraction_h),
                 blend(blend(corner[4], corner[5], cell.fraction_w),
                       blend(corner[6], corner[7], cell.fraction_w), cell.fraction_h),
                 cell.fraction_d);
}

#if defined(__CUDACC__)
// The same number, of which the compiler does not know that: nothing that is computed from it moves in
// front of the branch.
__device__ __forceinline__ int kept_here(int number) {
    asm volatile("" : "+r"(number));
    return number;
}
#endif  // elsewhere the including file has defined it

// Trilinear value of a float, Half or integer volume (float), or of a float4 field (Vector).
template <class T>
__device__ __forceinline__ auto linear(const T* volume, Shape shape, Cell cell)
    -> decltype(load(volume)) {
    using Value = decltype(load(volume));
    Value corner[8] = {};
    const int first = index_of(shape, cell.d, cell.h, cell.w), plane = shape.h * shape.w;
    if (is_whole(shape, cell)) {
#pragma unroll
        for (int i = 0; i < 8; ++i)
            corner[i] = load(volume + (first + (i >> 2) * plane + (i >> 1 & 1) * shape.w) + (i & 1));
    } else {
        // What only the border needs is not computed for all.
        const int d = kept_here(cell.d), h = kept_here(cell.h), w = kept_here(cell.w);
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (is_inside(shape, d + (i >> 2), h + (i >> 1 & 1), w + (i & 1)))
                corner[i] = load(volume + index_of(shape, d + (i >> 2), h + (i >> 1 & 1), w + (i & 1)));
    }
    return blend_corners(corner, cell);
}

// The voxel nearest to a place, halves to the even one; it may lie outside.
__device__ __forceinline__ Voxel nearest_voxel(Place at, Shape shape, bool border) {
    const Place in = clipped(at, shape, border);
    return Voxel{__float2int_rn(in.d), __float2int_rn(in.h), __float2int_rn(in.w)};
}

// A copy of the voxel's bytes: T is any type of that size.
template <class T>
__device__ __forceinline__ T value_at(const T* volume, Shape shape, Voxel voxel) {
    if (!is_inside(shape, voxel.d, voxel.h, voxel.w)) return T(0);
    return __ldg(volume + index_of(shape, voxel.d, voxel.h, voxel.w));
}
