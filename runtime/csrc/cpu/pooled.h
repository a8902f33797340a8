// The first layers of a U-Net in one pass: 3x3x3 convolution, LeakyReLU, 2x2x2 max-pooling.
//
// What the convolution gives is 64 times as large as what the pooling leaves of it (with 16
// channels out of 2), so it is never written to memory.
#pragma once

#include <cstdint>

namespace vm {

// Channels that are computed together: one vector of AVX-512.
constexpr int64_t LANES = 16;

// Voxels of a row that are computed together.
constexpr int64_t COLUMNS = 12;

struct PooledLayers {
    const float *const *volumes;  // `in` arrays of `shape`
    int64_t in;
    int64_t shape[3];      // even numbers
    int64_t out;           // channels, a multiple of LANES
    const float *weights;  // (out / LANES, in, 27, LANES)
    const float *bias;     // (out)
    float slope;           // of LeakyReLU below 0; 0 to 1
    float *result;         // (D/2, H/2, W/2, out)
};

// Floats that pooled_row_avx512 needs to work in.
int64_t pooled_work_size(const PooledLayers &layers);

// Row h of plane d of the result. `work` is aligned to 64 bytes.
void pooled_row_avx512(const PooledLayers &layers, int64_t d, int64_t h, float *work);

}  // namespace vm
