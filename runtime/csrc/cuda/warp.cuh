// moved(x) = volume(x + u(x)): vxm::Warp3d, and its form for labels.
//
// Displacement u: (3, D', H', W') float32 in voxels of the volume, channel i along axis i. The
// identity is added in float32 whatever the volume's type.
#pragma once

#include "interpolate.cuh"
#include "label_vote.cuh"

__device__ __forceinline__ Place displaced_place(const float* displacement, long long voxels,
                                                 Voxel voxel, int index) {
    return Place{__ldg(displacement + index) + static_cast<float>(voxel.d),
                 __ldg(displacement + voxels + index) + static_cast<float>(voxel.h),
                 __ldg(displacement + 2 * voxels + index) + static_cast<float>(voxel.w)};
}

template <class T>
__device__ __forceinline__ void warp_linear(const T* volume, const float* displacement, T* moved,
                                            int channels, Shape shape, Shape out, bool border) {
    const long long per_channel = voxels_of(shape), voxels = voxels_of(out);
    for_each_voxel(out, [=](Voxel voxel, int index) {
        const Place at = displaced_place(displacement, voxels, voxel, index);
        const Cell cell = cell_of(at, shape, border);
#pragma unroll 1  // one channel is the rule
        for (int c = 0; c < channels; ++c)
            store(moved + c * voxels + index, linear(volume + c * per_channel, shape, cell));
    });
}

template <class T>
__device__ __forceinline__ void warp_nearest(const T* volume, const float* displacement, T* moved,
                                             int channels, Shape shape, Shape out, bool border) {
    const long long per_channel = voxels_of(shape), voxels = voxels_of(out);
    for_each_voxel(out, [=](Voxel voxel, int index) {
        const Place at = displaced_place(displacement, voxels, voxel, index);
        const Voxel found = nearest_voxel(at, shape, border);
#pragma unroll 1
        for (int c = 0; c < channels; ++c)
            moved[c * voxels + index] = value_at(volume + c * per_channel, shape, found);
    });
}

template <class T>
__device__ __forceinline__ void warp_label(const T* labels, const float* displacement, T* moved,
                                           float* share, Shape shape, Shape out) {
    const long long voxels = voxels_of(out);
    for_each_voxel(out, [=](Voxel voxel, int index) {
        const Place at = displaced_place(displacement, voxels, voxel, index);
        const Vote<T> winner = vote(labels, shape, cell_of(at, shape, false));
        moved[index] = winner.label;
        if (share) share[index] = winner.share;
    });
}

#define VM_WARP(name, body, T)                                                                   \
    VM_KERNEL(name)                                                                              \
    (const T* __restrict__ volume, const float* __restrict__ displacement, T* __restrict__ moved, \
     int channels, int d, int h, int w, int out_d, int out_h, int out_w, int border) {           \
        body(volume, displacement, moved, channels, Shape{d, h, w}, Shape{out_d, out_h, out_w},  \
             border != 0);                                                                       \
    }

VM_WARP(vm_warp_linear_f32, warp_linear, float)
VM_WARP(vm_warp_linear_f16, warp_linear, Half)
// By size: nearest copies bytes, so float32 is 32 and float16 is 16.
VM_WARP(vm_warp_nearest_8, warp_nearest, unsigned char)
VM_WARP(vm_warp_nearest_16, warp_nearest, unsigned short)
VM_WARP(vm_warp_nearest_32, warp_nearest, unsigned int)
VM_WARP(vm_warp_nearest_64, warp_nearest, unsigned long long)
#undef VM_WARP

// `share` may be null. Signed and unsigned differ in which label is smaller.
#define VM_WARP_LABEL(name, T)                                                                  \
    VM_KERNEL(name)                                                                             \
    (const T* __restrict__ labels, const float* __restrict__ displacement, T* __restrict__ moved, \
     float* __restrict__ share, int d, int h, int w, int out_d, int out_h, int out_w) {         \
        warp_label(labels, displacement, moved, share, Shape{d, h, w},                          \
                   Shape{out_d, out_h, out_w});                                                 \
    }

VM_WARP_LABEL(vm_warp_label_i8, signed char)
VM_WARP_LABEL(vm_warp_label_u8, unsigned char)
VM_WARP_LABEL(vm_warp_label_i16, short)
VM_WARP_LABEL(vm_warp_label_u16, unsigned short)
VM_WARP_LABEL(vm_warp_label_i32, int)
VM_WARP_LABEL(vm_warp_label_u32, unsigned int)
VM_WARP_LABEL(vm_warp_label_i64, long long)
VM_WARP_LABEL(vm_warp_label_u64, unsigned long long)
#undef VM_WARP_LABEL
