// Where the rows of an output grid look: vmruntime/mapping.py's voxel_map, row by row.
#pragma once

#include <array>
#include <vector>

#include "buffer.h"
#include "check.h"
#include "rows.h"

namespace vm {

using Matrix = std::array<double, 12>;

// a after b
Matrix product(const Matrix &a, const Matrix &b);

// False where a matrix has no inverse worth the name.
bool inverse_of(const Matrix &matrix, Matrix &inverse);

Factors factors_of(const Matrix &matrix);

// Affine places of the voxels of a grid, in the sums of float64 lines that numpy makes.
class AffineRows {
public:
    AffineRows() = default;
    AffineRows(const Matrix &matrix, const Shape &shape);

    // Places of row (d, h), from voxel `first` on; `count` of them.
    void row(int64_t d, int64_t h, int64_t first, int64_t count, float *const *places) const;

private:
    Matrix matrix_{};
    std::vector<double> lines_[3];
};

// One thread's space for a row.
class RowSpace {
public:
    explicit RowSpace(int64_t width);

    std::array<float *, 3> places, inside, steps;
    float *weight;
    std::vector<unsigned char> blocks;  // one for each BLOCK of the row

private:
    Buffer<float> memory_;
};

// Calls body(first, count, flag) for the runs of a row's blocks that have the same flag.
template <typename Body>
void over_runs(const std::vector<unsigned char> &blocks, int64_t width, Body &&body) {
    for (int64_t first = 0, last = 0; first < width; first = last) {
        const unsigned char flag = blocks[size_t(first / BLOCK)];
        do {
            last += BLOCK;
        } while (last < width && blocks[size_t(last / BLOCK)] == flag);
        last = last < width ? last : width;
        body(first, last - first, flag != 0);
    }
}

// Adds a displacement to places given in voxels of its grid, fading outside it.
void displace_row(const float *displacement, const Layout &layout, int64_t count, RowSpace &space);

class Map {
public:
    // Throws Error for what cannot be used. Places are counted from the voxel `origin` of the
    // looked-up grid.
    explicit Map(const vm_map *map, const Shape &origin = {0, 0, 0});

    const Shape &shape() const { return shape_; }
    bool has_displacement() const { return displacement_ != nullptr; }
    // Whether output voxels are voxels of the displacement's grid: then nothing costs less than row.
    bool same_voxels() const { return same_voxels_; }

    // The axis of the looked-up grid that rows of places run along, as far as the affines say.
    int along_width() const;

    // Where `count` voxels of row (d, h) look from voxel `first` on; in space.places, padded.
    void row(int64_t d, int64_t h, int64_t first, int64_t count, RowSpace &space) const;

    // Bounds {d0, d1, h0, h1, w0, w1} of the output voxels that may look nearer than `reach`
    // voxels to the box `seen` of the looked-up grid.
    std::array<int64_t, 6> box_that_sees(const std::array<int64_t, 6> &seen, double reach,
                                         int threads) const;

private:
    std::array<double, 3> longest(int threads) const;

    Shape shape_, model_{};
    Matrix to_model_, to_moving_, whole_;
    const float *displacement_ = nullptr;
    Layout layout_{};
    AffineRows rows_;
    Factors factors_{};
    bool same_voxels_ = false;  // output voxels are voxels of the model's grid, from corner_ on
    Shape corner_{};
    bool aligned_ = false;      // and the looked-up grid's as well, some voxels away
};

// Fills the rest of padded rows with their last place.
void pad(float *const *places, int64_t count);

Layout layout_of(const Shape &shape);

}  // namespace vm
