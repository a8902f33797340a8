// The label with the largest trilinear share of a place (runtime/vmruntime/label_vote.py).
//
// Sums are made in the order of the corners for every label, without contraction: a tie is a tie on
// the processor and here, and the smaller label wins it.
#pragma once

#include "interpolate.cuh"

template <class T>
struct Vote {
    T label;
    float share;
};

template <class T>
__device__ __forceinline__ Vote<T> vote(const T* labels, Shape shape, Cell cell) {
    T corner[8];
    bool mixed = false;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        corner[i] = value_at(
            labels, shape,
            Voxel{cell.d + (i >> 2), cell.h + (i >> 1 & 1), cell.w + (i & 1)});
        mixed = mixed || corner[i] != corner[0];
    }
    // Most places lie inside one structure.
    if (!mixed) return Vote<T>{corner[0], 1.0f};

    float weight[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const float along_d = i & 4 ? cell.fraction_d : 1.0f - cell.fraction_d;
        const float along_h = i & 2 ? cell.fraction_h : 1.0f - cell.fraction_h;
        const float along_w = i & 1 ? cell.fraction_w : 1.0f - cell.fraction_w;
        weight[i] = along_d * along_h * along_w;
    }
    Vote<T> best = {corner[0], -1.0f};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        float total = 0.0f;
#pragma unroll
        for (int j = 0; j < 8; ++j)
            if (corner[j] == corner[i]) total += weight[j];
        if (total > best.share || (total == best.share && corner[i] < best.label))
            best = Vote<T>{corner[i], total};
    }
    best.share = best.share < 1.0f ? best.share : 1.0f;
    return best;
}
