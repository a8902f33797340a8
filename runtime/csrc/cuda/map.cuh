// Where the voxels of one grid look in another: an affine, a displacement, an affine.
//
// The same sums in the same order and precision as runtime/vmruntime/mapping.py: a place that falls
// on a tie there does so here. Matrices are 3 x 4, row by row, and passed by value: launch parameters
// lie in constant memory, which a warp reads as fast as a register.
#pragma once

#include "interpolate.cuh"

// Voxels over which a displacement fades beyond its grid (mapping.FADE).
#define VM_FADE 16.0f

struct Matrix {
    double rows[3][4];
};

// Its factors are rounded, and those under 1e-9 are 0 (mapping.NEGLIGIBLE).
struct RoundedMatrix {
    float rows[3][4];
};

// A voxel through a float64 matrix: the depth's share and that of height and width are each rounded
// to float32, then added, as mapping._affine_map does. Twelve double operations a voxel are hidden
// behind the gathers on data-centre GPUs; on others they cost about as much as one more look-up.
__device__ __forceinline__ float coordinate(const double (&row)[4], Voxel voxel) {
    const float along_d = static_cast<float>(row[0] * voxel.d + row[3]);
    const float in_plane = static_cast<float>(row[1] * voxel.h + row[2] * voxel.w);
    return along_d + in_plane;
}

__device__ __forceinline__ Place place_of(const Matrix& matrix, Voxel voxel) {
    return Place{coordinate(matrix.rows[0], voxel), coordinate(matrix.rows[1], voxel),
                 coordinate(matrix.rows[2], voxel)};
}

// A place through a float32 matrix, as mapping._multiplied does.
__device__ __forceinline__ float row_times(const float (&row)[4], Place at) {
    return row[0] * at.d + row[1] * at.h + row[2] * at.w + row[3];
}

__device__ __forceinline__ Place multiplied(const RoundedMatrix& matrix, Place at) {
    return Place{row_times(matrix.rows[0], at), row_times(matrix.rows[1], at),
                 row_times(matrix.rows[2], at)};
}

// A place of the model's grid plus the displacement there, which fades outside (mapping.displaced).
__device__ __forceinline__ Place displaced(const float* displacement, Shape model, Place at) {
    const Place in = clipped(at, model, true);
    const float off_d = at.d - in.d, off_h = at.h - in.h, off_w = at.w - in.w;
    const float distance = off_d * off_d + off_h * off_h + off_w * off_w;
    const float weight = clipped(1.0f - sqrtf(distance) / VM_FADE, 0.0f, 1.0f);
    if (weight == 0.0f) return at;
    const Cell cell = cell_of(in, model, true);
    const long long voxels = voxels_of(model);
    return Place{at.d + linear(displacement, model, cell) * weight,
                 at.h + linear(displacement + voxels, model, cell) * weight,
                 at.w + linear(displacement + 2 * voxels, model, cell) * weight};
}
