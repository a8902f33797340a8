// The inner loops of the alignment, compiled for several instruction sets.
//
// evaluation.inl holds them once, as in cpu/rows.h; all of them give the same bits.
#pragma once

#include <cstdint>

namespace vm::alignment {

// The columns of the least-squares problem: d moving / d pose (12), moving, 1, fixed.
constexpr int column_count = 15;
// Of the symmetric matrix of their inner products, row after row from the diagonal on.
constexpr int product_count = column_count * (column_count + 1) / 2;

// Points of one pass, which stay in the nearest cache; a multiple of the lanes that sums have.
constexpr std::int64_t points_per_block = 256;
constexpr int lanes = 4;

// A level of the moving scan, as the loops want it.
struct Field {
    const float *data;
    std::int32_t size[3];   // voxels along each axis
    std::int32_t step[3];   // elements to the next one; 0 along an axis of one voxel
    float offset, gain;
};

// Points in some coordinates, and how to bring them to the index coordinates of a field.
struct Points {
    const float *place[3];
    const float *fixed;     // values there
    std::int64_t count;     // at most points_per_block
    float linear[9], shift[3];
    float to_world[9];      // derivatives per voxel to derivatives per mm
};

struct Loops {
    // Scaled intensity at index coordinates, count of them at most points_per_block. Up to half a
    // voxel beyond the outermost centres the border repeats; farther outside it is 0. `inside` says
    // where that is not so.
    void (*values)(const Field &field, const float *const *place, std::int64_t count, float *value,
                   float *inside);

    // Adds the inner products of the columns over the points.
    void (*products)(const Field &field, const Points &points, double *total);
};

extern const Loops loops_baseline;
extern const Loops loops_avx2;

// The table for this machine.
const Loops &loops();

}  // namespace vm::alignment
