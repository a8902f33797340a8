// Volumes of any type as float32.
#pragma once

#include "extent.h"
#include "rows.h"

namespace vm {

// Copies a box {d0, d1, h0, h1, w0, w1} of a volume of any type and layout as float32, C order.
void to_float(const void *volume, vm_type type, const Layout &layout, const int64_t box[6],
              float *out, int threads);

// The same of elements of `size` bytes as they are.
void to_c_order(const void *volume, int64_t size, const Layout &layout, const int64_t box[6],
                void *out, int threads);

// Rounds float32 to half precision, to even.
void to_half(const float *values, int64_t count, uint16_t *out, int threads);

// What is not zero of each row of a volume of elements of `size` bytes.
void nonzero_rows(const void *volume, int64_t size, const Layout &layout, Extent *rows,
                  int threads);

}  // namespace vm
