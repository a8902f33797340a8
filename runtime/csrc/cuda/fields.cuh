// Vector fields: integration, resizing, composition, Jacobian.
//
// Fields are planar, (3, d, h, w) float32. While a velocity is squared it is interleaved as float4
// (the fourth value is 0): a squaring gathers eight corners of three components at one place, which
// is 8 loads of 16 bytes instead of 24 of 4, all in the cells' own cache lines; the third more memory
// (14 MB at 80x96x112) stays in the L2 cache. Halving and squaring cannot be fused further: every
// squaring needs the whole field before it.
#pragma once

#include "interpolate.cuh"
#include "warp.cuh"

// packed = velocity * scale; scale is 2^-steps, so that nothing is rounded.
VM_KERNEL(vm_integrate_begin)
(const float* __restrict__ velocity, float4* __restrict__ packed, long long voxels, float scale) {
    for_each_value(voxels, [=](long long i) {
        packed[i] = make_float4(__ldg(velocity + i) * scale, __ldg(velocity + voxels + i) * scale,
                                __ldg(velocity + 2 * voxels + i) * scale, 0.0f);
    });
}

// v(x) + v(x + v(x))
__device__ __forceinline__ Vector squared(const float4* field, Shape shape, Voxel voxel,
                                          int index) {
    const Vector here = load(field + index);
    const Place at = {here.d + static_cast<float>(voxel.d), here.h + static_cast<float>(voxel.h),
                      here.w + static_cast<float>(voxel.w)};
    const Vector there = linear(field, shape, cell_of(at, shape, false));
    return Vector{here.d + there.d, here.h + there.h, here.w + there.w};
}

// One squaring; `result` must not be `field`.
VM_KERNEL(vm_integrate_square)
(const float4* __restrict__ field, float4* __restrict__ result, int d, int h, int w) {
    const Shape shape = {d, h, w};
    for_each_voxel(shape, [=](Voxel voxel, int index) {
        const Vector sum = squared(field, shape, voxel, index);
        result[index] = make_float4(sum.d, sum.h, sum.w, 0.0f);
    });
}

// The last squaring, which leaves a planar field.
extern "C" __global__ void __launch_bounds__(256, 3)  // with four blocks something spills
vm_integrate_end(const float4* __restrict__ field, float* __restrict__ displacement, int d, int h, int w) {
    const Shape shape = {d, h, w};
    const long long voxels = voxels_of(shape);
    for_each_voxel(shape, [=](Voxel voxel, int index) {
        const Vector sum = squared(field, shape, voxel, index);
        displacement[index] = sum.d;
        (displacement + voxels)[index] = sum.h;
        (displacement + 2 * voxels)[index] = sum.w;
    });
}

// Where index i of an axis of `to` voxels lies on one of `from`: corners stay corners.
__device__ __forceinline__ float along_axis(int i, int from, int to) {
    return to > 1 ? static_cast<float>(i) * (static_cast<float>(from - 1) / static_cast<float>(to - 1))
                  : 0.0f;
}

// Trilinear with align_corners, then times `scale` (networks/resize.py: the factor of the sizes).
VM_KERNEL(vm_resize)
(const float* __restrict__ field, float* __restrict__ resized, int channels, int d, int h, int w,
 int out_d, int out_h, int out_w, float scale) {
    const Shape shape = {d, h, w}, out = {out_d, out_h, out_w};
    const long long per_channel = voxels_of(shape), voxels = voxels_of(out);
    for_each_voxel(out, [=](Voxel voxel, int index) {
        const Place at = {along_axis(voxel.d, shape.d, out.d), along_axis(voxel.h, shape.h, out.h),
                          along_axis(voxel.w, shape.w, out.w)};
        // Border padding: rounding may put the last voxel a little outside.
        const Cell cell = cell_of(at, shape, true);
        for (int c = 0; c < channels; ++c)
            resized[c * voxels + index] = linear(field + c * per_channel, shape, cell) * scale;
    });
}

// The same for a field that a squaring left, (d, h, w, 4), with the steps (from - 1) / (to - 1) along
// the axes from the host: a third of the loads, and no divisions.
VM_KERNEL(vm_resize_packed)
(const float4* __restrict__ field, float* __restrict__ resized, int d, int h, int w, int out_d,
 int out_h, int out_w, float step_d, float step_h, float step_w, float scale) {
    const Shape shape = {d, h, w}, out = {out_d, out_h, out_w};
    const long long voxels = voxels_of(out);
    for_each_voxel(out, [=](Voxel voxel, int index) {
        const Place at = {static_cast<float>(voxel.d) * step_d, static_cast<float>(voxel.h) * step_h,
                          static_cast<float>(voxel.w) * step_w};
        const Vector found = linear(field, shape, cell_of(at, shape, true));
        resized[index] = found.d * scale;
        (resized + voxels)[index] = found.h * scale;
        (resized + 2 * voxels)[index] = found.w * scale;
    });
}

// v + u(x + v(x)): first v, then u. `first` is v, on the grid of the result.
VM_KERNEL(vm_compose)
(const float* __restrict__ second, const float* __restrict__ first, float* __restrict__ composed,
 int d, int h, int w, int out_d, int out_h, int out_w) {
    const Shape shape = {d, h, w}, out = {out_d, out_h, out_w};
    const long long per_channel = voxels_of(shape), voxels = voxels_of(out);
    for_each_voxel(out, [=](Voxel voxel, int index) {
        const Cell cell = cell_of(displaced_place(first, voxels, voxel, index), shape, false);
        for (int c = 0; c < 3; ++c)
            composed[c * voxels + index] =
                __ldg(first + c * voxels + index) + linear(second + c * per_channel, shape, cell);
    });
}

// Derivative along one axis as numpy.gradient's: central, one-sided at the border.
__device__ __forceinline__ float derivative(const float* at, int i, int size, int step) {
    const bool before = i > 0, after = i + 1 < size;
    const float difference = __ldg(at + (after ? step : 0)) - __ldg(at - (before ? step : 0));
    return before && after ? difference / 2.0f : difference;
}

// det of the Jacobian of x + u(x); every axis at least 2 long (quality/jacobian.py).
VM_KERNEL(vm_jacobian_determinant)
(const float* __restrict__ displacement, float* __restrict__ determinant, int size_d, int size_h,
 int size_w) {
    const Shape shape = {size_d, size_h, size_w};
    const long long voxels = voxels_of(shape);
    const int plane = shape.h * shape.w;
    for_each_voxel(shape, [=](Voxel voxel, int index) {
        float row[3][3];
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            const float* at = displacement + c * voxels + index;
            row[c][0] = derivative(at, voxel.d, shape.d, plane);
            row[c][1] = derivative(at, voxel.h, shape.h, shape.w);
            row[c][2] = derivative(at, voxel.w, shape.w, 1);
            row[c][c] += 1.0f;
        }
        const float a = row[0][0], b = row[0][1], c = row[0][2];
        const float d = row[1][0], e = row[1][1], f = row[1][2];
        const float g = row[2][0], h = row[2][1], i = row[2][2];
        determinant[index] = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
    });
}
