// Carrying images of one scan onto another grid, all of them in one launch.
//
// Output voxel -> model grid -> displaced -> moving grid is computed once a voxel and stays in
// registers; written to memory for several launches it would cost 12 bytes a voxel each way, as much
// as the displacement itself. What differs between images (type, look-up) is the same for all threads,
// so that the switch does not diverge.
//
// Without a displacement this is affine resampling: `to_model` leads to the moving grid itself.
#pragma once

#include "label_vote.cuh"
#include "map.cuh"

enum LookUp { LOOK_UP_LINEAR = 0, LOOK_UP_NEAREST = 1, LOOK_UP_LABEL = 2 };

enum Type {
    TYPE_F32 = 0,
    TYPE_F16 = 1,
    TYPE_I8 = 2,
    TYPE_U8 = 3,
    TYPE_I16 = 4,
    TYPE_U16 = 5,
    TYPE_I32 = 6,
    TYPE_U32 = 7,
    TYPE_I64 = 8,
    TYPE_U64 = 9
};

// 32 bytes. Linear writes float32; nearest and label write the image's own type.
// `share` is null, or float32 for the winner's share (label only).
struct Image {
    const void* data;
    void* moved;
    float* share;
    int type;
    int look_up;
};

#define VM_IMAGES 4

struct Images {
    Image image[VM_IMAGES];
};

template <class T>
__device__ __forceinline__ void carry_linear(const Image& image, Shape shape, Place at,
                                             int index) {
    static_cast<float*>(image.moved)[index] =
        linear(static_cast<const T*>(image.data), shape, cell_of(at, shape, false));
}

template <class T>
__device__ __forceinline__ void carry_nearest(const Image& image, Shape shape, Place at,
                                              int index) {
    static_cast<T*>(image.moved)[index] = value_at(static_cast<const T*>(image.data), shape,
                                                    nearest_voxel(at, shape, false));
}

template <class T>
__device__ __forceinline__ void carry_label(const Image& image, Shape shape, Place at,
                                            int index) {
    const Vote<T> winner = vote(static_cast<const T*>(image.data), shape, cell_of(at, shape, false));
    static_cast<T*>(image.moved)[index] = winner.label;
    if (image.share) image.share[index] = winner.share;
}

__device__ __forceinline__ void carry_one(const Image& image, Shape shape, Place at,
                                          int index) {
    if (image.look_up == LOOK_UP_LINEAR) {
        switch (image.type) {
            case TYPE_F32: return carry_linear<float>(image, shape, at, index);
            case TYPE_F16: return carry_linear<Half>(image, shape, at, index);
            case TYPE_I8: return carry_linear<signed char>(image, shape, at, index);
            case TYPE_U8: return carry_linear<unsigned char>(image, shape, at, index);
            case TYPE_I16: return carry_linear<short>(image, shape, at, index);
            case TYPE_U16: return carry_linear<unsigned short>(image, shape, at, index);
            case TYPE_I32: return carry_linear<int>(image, shape, at, index);
            case TYPE_U32: return carry_linear<unsigned int>(image, shape, at, index);
            case TYPE_I64: return carry_linear<long long>(image, shape, at, index);
            case TYPE_U64: return carry_linear<unsigned long long>(image, shape, at, index);
        }
    } else if (image.look_up == LOOK_UP_NEAREST) {
        switch (image.type) {
            case TYPE_I8:
            case TYPE_U8: return carry_nearest<unsigned char>(image, shape, at, index);
            case TYPE_F16:
            case TYPE_I16:
            case TYPE_U16: return carry_nearest<unsigned short>(image, shape, at, index);
            case TYPE_F32:
            case TYPE_I32:
            case TYPE_U32: return carry_nearest<unsigned int>(image, shape, at, index);
            case TYPE_I64:
            case TYPE_U64: return carry_nearest<unsigned long long>(image, shape, at, index);
        }
    } else {
        switch (image.type) {
            case TYPE_I8: return carry_label<signed char>(image, shape, at, index);
            case TYPE_U8: return carry_label<unsigned char>(image, shape, at, index);
            case TYPE_I16: return carry_label<short>(image, shape, at, index);
            case TYPE_U16: return carry_label<unsigned short>(image, shape, at, index);
            case TYPE_I32: return carry_label<int>(image, shape, at, index);
            case TYPE_U32: return carry_label<unsigned int>(image, shape, at, index);
            case TYPE_I64: return carry_label<long long>(image, shape, at, index);
            case TYPE_U64: return carry_label<unsigned long long>(image, shape, at, index);
        }
    }
}

// Place of an output voxel in the moving grid. `on_grid`: output voxels are voxels of the model's
// grid, from `corner` on, so that the displacement is read and not looked up.
__device__ __forceinline__ Place carried_place(const Matrix& to_model, const float* displacement,
                                               Shape model, const RoundedMatrix& to_moving,
                                               bool on_grid, Voxel corner, Voxel voxel) {
    Place at = place_of(to_model, voxel);
    if (!displacement) return at;
    if (on_grid) {
        const int here =
            index_of(model, voxel.d + corner.d, voxel.h + corner.h, voxel.w + corner.w);
        const long long voxels = voxels_of(model);
        at.d += __ldg(displacement + here);
        at.h += __ldg(displacement + voxels + here);
        at.w += __ldg(displacement + 2 * voxels + here);
    } else {
        at = displaced(displacement, model, at);
    }
    return multiplied(to_moving, at);
}

// The first `count` of `images`, all on one moving grid. `displacement` may be null.
// __grid_constant__: indexed where it lies, and not copied to every thread's stack.
VM_KERNEL(vm_carry)
(const __grid_constant__ Images images, int count, int moving_d, int moving_h, int moving_w,
 const __grid_constant__ Matrix to_model, const float* __restrict__ displacement, int model_d,
 int model_h, int model_w, const __grid_constant__ RoundedMatrix to_moving, int on_grid,
 int corner_d, int corner_h, int corner_w, int out_d, int out_h, int out_w) {
    const Shape moving = {moving_d, moving_h, moving_w}, model = {model_d, model_h, model_w};
    const Voxel corner = {corner_d, corner_h, corner_w};
    for_each_voxel(Shape{out_d, out_h, out_w}, [&](Voxel voxel, int index) {
        const Place at = carried_place(to_model, displacement, model, to_moving, on_grid != 0,
                                       corner, voxel);
        for (int i = 0; i < count; ++i) carry_one(images.image[i], moving, at, index);
    });
}
