// The inverse of a displacement by Newton's method: vm_invert, as vmruntime/inversion.py.
//
// The Jacobian that a step needs, (I + du)^-1 at x + v(x), is I + dv of the inverse itself, so that
// it costs differences instead of look-ups.
#include <algorithm>
#include <cmath>
#include <mutex>

#include "error.h"
#include "landings.h"
#include "map.h"
#include "rows.h"
#include "slopes.h"
#include "threads.h"

namespace vm {

namespace {

// Voxels that all but one of a thousand places may miss by: less than any scan can show.
constexpr float GOOD_ENOUGH = 1e-2f;
constexpr double ALL_BUT = 0.999;

// Where the deformation folds there is no inverse; elsewhere two to five steps are enough.
constexpr int MOST_STEPS = 8;

constexpr float LONGEST_STEP = 1.0f;  // voxels; keeps places with no inverse from running away

constexpr int64_t GRAIN = 1 << 15;  // voxels of a task

// How a sample of misses compares with GOOD_ENOUGH.
struct Tally {
    int64_t count = 0, above = 0;
    float most_below = 0, least_above = INFINITY;

    void add(float value) {
        ++count;
        if (value < GOOD_ENOUGH) {
            most_below = std::max(most_below, value);
        } else {  // NaN as well
            ++above;
            if (value < least_above) least_above = value;
        }
    }

    void add(const Tally &other) {
        count += other.count, above += other.above;
        most_below = std::max(most_below, other.most_below);
        least_above = std::min(least_above, other.least_above);
    }

    // Whether the quantile, interpolated between two of the values, is good enough.
    bool good() const {
        const double place = ALL_BUT * double(count - 1);
        const int64_t lower = int64_t(place);
        const int64_t below = count - above;
        if (lower + 1 < below || above == 0) return true;
        if (lower >= below) return false;
        const double part = place - double(lower);
        if (part == 0) return true;
        return double(most_below) + part * (double(least_above) - most_below) < GOOD_ENOUGH;
    }
};

class Inversion {
public:
    Inversion(const float *displacement, const Shape &shape, float *inverse, int threads)
        : displacement_(displacement), shape_(shape), inverse_(inverse), threads_(threads),
          layout_(layout_of(shape)), missed_(size_t(3 * voxels(shape))) {}

    // v(x) + u(x + v(x)) of all voxels; whether it is small enough.
    bool miss() {
        Tally total;
        std::mutex mutex;
        over_rows(shape_, [&](int64_t d, int64_t h, RowSpace &space) {
            const int64_t start = (d * shape_[1] + h) * shape_[2];
            for (int axis = 0; axis < 3; ++axis) {
                rows().displace(inverse_ + axis * voxels(shape_) + start,
                                axis == 0 ? float(d) : axis == 1 ? float(h) : 0.0f, axis == 2,
                                shape_[2], space.places[axis]);
            }
            finish_miss(d, h, 0.0f, space);
            Tally tally;
            for (int axis = 0; axis < 3; ++axis) {
                float *to = missed_.data() + axis * voxels(shape_) + start;
                std::copy_n(space.places[axis], shape_[2], to);
                if (d % 2 || h % 2) continue;
                for (int64_t w = 0; w < shape_[2]; w += 2) tally.add(std::fabs(to[w]));
            }
            std::lock_guard<std::mutex> lock(mutex);
            total.add(tally);
        });
        return total.good();
    }

    // Subtracts (I + dv) missed.
    void step() {
        apply_steps([&](int64_t d, int64_t h, SlopeSpace &, const float *missed[3], float *) {
            for (int axis = 0; axis < 3; ++axis) {
                missed[axis] = missed_.data() + axis * voxels(shape_) +
                               (d * shape_[1] + h) * shape_[2];
            }
        });
    }

    // A step by what is missed between the voxels, where the inverse will be interpolated: it
    // halves the error over the whole volume.
    void step_between() {
        const Shape between = {shape_[0] - 1, shape_[1] - 1, shape_[2] - 1};
        over_rows(between, [&](int64_t d, int64_t h, RowSpace &space) {
            for (int axis = 0; axis < 3; ++axis) {
                const float *v = inverse_ + axis * voxels(shape_);
                float *mean = space.steps[axis];
                average(v, shape_, d, d + 1, h, h + 1, mean, space.weight);
                const float index = axis == 0 ? float(d) : axis == 1 ? float(h) : 0.0f;
                for (int64_t w = 0; w < between[2]; ++w) {
                    const float start = index + (axis == 2 ? float(w) : 0.0f) + 0.5f;
                    space.places[axis][w] = start + mean[w];
                }
            }
            finish_miss(d, h, 0.5f, space, between[2]);
            for (int axis = 0; axis < 3; ++axis) {
                std::copy_n(space.places[axis], between[2],
                            missed_.data() + axis * voxels(between) +
                                (d * between[1] + h) * between[2]);
            }
        });
        apply_steps([&](int64_t d, int64_t h, SlopeSpace &, const float *missed[3], float *row) {
            // The eight places around a voxel; at the border those that there are, twice.
            const int64_t d0 = std::max<int64_t>(d - 1, 0), d1 = std::min(d, between[0] - 1);
            const int64_t h0 = std::max<int64_t>(h - 1, 0), h1 = std::min(h, between[1] - 1);
            for (int axis = 0; axis < 3; ++axis) {
                float *mean = row + axis * 2 * padded(shape_[2]);
                float *sums = mean + padded(shape_[2]);
                const float *from = missed_.data() + axis * voxels(between);
                add_rows(from, between, d0, d1, h0, h1, sums);
                mean[0] = (sums[0] + sums[0]) / 8;
                for (int64_t w = 1; w < between[2]; ++w) mean[w] = (sums[w - 1] + sums[w]) / 8;
                mean[between[2]] = (sums[between[2] - 1] + sums[between[2] - 1]) / 8;
                missed[axis] = mean;
            }
        });
    }

private:
    template <typename Body>
    void over_rows(const Shape &shape, Body &&body) {
        const int64_t grain = std::max<int64_t>(1, GRAIN / shape[2] / 2);
        parallel_ranges(shape[0] * shape[1], grain, threads_, [&](int64_t first, int64_t last) {
            RowSpace space(shape_[2]);
            for (int64_t row = first; row < last; ++row) {
                body(row / shape[1], row % shape[1], space);
            }
        });
    }

    // Turns places into their displaced ones, and these into offsets from the row's voxels.
    void finish_miss(int64_t d, int64_t h, float offset, RowSpace &space, int64_t count = 0) {
        if (!count) count = shape_[2];
        displace_row(displacement_, layout_, count, space);
        for (int64_t w = 0; w < count; ++w) {
            space.places[0][w] -= float(d) + offset;
            space.places[1][w] -= float(h) + offset;
            space.places[2][w] -= float(w) + offset;
        }
    }

    static void add_rows(const float *field, const Shape &shape, int64_t d0, int64_t d1,
                         int64_t h0, int64_t h1, float *sums) {
        const float *a = field + (d0 * shape[1] + h0) * shape[2];
        const float *b = field + (d1 * shape[1] + h0) * shape[2];
        const float *c = field + (d0 * shape[1] + h1) * shape[2];
        const float *e = field + (d1 * shape[1] + h1) * shape[2];
        for (int64_t w = 0; w < shape[2]; ++w) sums[w] = (a[w] + b[w]) + (c[w] + e[w]);
    }

    // Mean of the eight neighbours around the points between voxels.
    static void average(const float *field, const Shape &shape, int64_t d0, int64_t d1,
                        int64_t h0, int64_t h1, float *mean, float *sums) {
        add_rows(field, shape, d0, d1, h0, h1, sums);
        for (int64_t w = 0; w + 1 < shape[2]; ++w) mean[w] = (sums[w] + sums[w + 1]) / 8;
    }

    // Steps are found for some planes at a time and taken when those of the next planes are found
    // too, since these need the inverse as it was: the memory is that of some planes.
    template <typename Missed>
    void apply_steps(Missed &&missed_of_row) {
        const int64_t plane = shape_[1] * shape_[2];
        const int64_t planes = std::clamp<int64_t>((1 << 20) / plane, 1, shape_[0]);
        Buffer<float> found[2] = {Buffer<float>(size_t(3 * planes * plane)),
                                  Buffer<float>(size_t(3 * planes * plane))};
        const int64_t chunks = (shape_[0] + planes - 1) / planes;
        const auto take = [&](int64_t chunk) {
            const int64_t first = chunk * planes, number = std::min(planes, shape_[0] - first);
            for (int axis = 0; axis < 3; ++axis) {
                const float *step = found[chunk % 2].data() + axis * planes * plane;
                float *v = inverse_ + axis * voxels(shape_) + first * plane;
                parallel_ranges(number * plane, GRAIN, threads_, [&](int64_t a, int64_t b) {
                    for (int64_t i = a; i < b; ++i) v[i] -= step[i];
                });
            }
        };
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
            const int64_t first = chunk * planes, number = std::min(planes, shape_[0] - first);
            float *steps = found[chunk % 2].data();
            const int64_t grain = std::max<int64_t>(1, GRAIN / shape_[2] / 2);
            parallel_ranges(number * shape_[1], grain, threads_, [&](int64_t a, int64_t b) {
                SlopeSpace space(shape_[2]);
                Buffer<float> spare(size_t(6 * padded(shape_[2])));
                for (int64_t row = a; row < b; ++row) {
                    const int64_t d = first + row / shape_[1], h = row % shape_[1];
                    space.row(inverse_, shape_, d, h);
                    const float *missed[3];
                    missed_of_row(d, h, space, missed, spare.data());
                    float *to[3];
                    for (int axis = 0; axis < 3; ++axis) {
                        to[axis] = steps + axis * planes * plane + row * shape_[2];
                    }
                    rows().newton(space.slopes, missed, LONGEST_STEP, shape_[2], to);
                }
            });
            if (chunk) take(chunk - 1);
        }
        take(chunks - 1);
    }

    const float *displacement_;
    const Shape shape_;
    float *inverse_;
    const int threads_;
    const Layout layout_;
    Buffer<float> missed_;
};

void invert(const float *displacement, const int64_t *given, const float *start, float *out,
            int32_t number, vm_progress progress, void *context) {
    const int threads = thread_count(number);
    require(displacement, "displacement");
    require(out, "out");
    const Shape shape = checked_shape(given, "shape", 2);
    check_channels(3, shape);
    const auto report = [&](double fraction) {
        if (progress && progress(context, fraction)) {
            throw Error(VM_ERROR_CANCELLED, "cancelled by the progress callback");
        }
    };
    report(0);
    if (start) {
        if (start != out) std::copy_n(start, 3 * voxels(shape), out);
    } else {
        landings(displacement, shape, out, threads);
    }
    Inversion inversion(displacement, shape, out, threads);
    for (int step = 0; step < MOST_STEPS; ++step) {
        report((step + 1.0) / (MOST_STEPS + 2));
        if (inversion.miss()) break;
        inversion.step();
    }
    report((MOST_STEPS + 1.0) / (MOST_STEPS + 2));
    inversion.step_between();
    report(1);
}

}  // namespace

}  // namespace vm

vm_status vm_invert(const float *displacement, const int64_t shape[3], const float *start,
                    float *out, int32_t threads, vm_progress progress, void *context) {
    return vm::guarded("vm_invert", [&] {
        vm::invert(displacement, shape, start, out, threads, progress, context);
    });
}
