// The kernels against a few lines of plain C++ each, on odd shapes, borders and numbers that are
// none. Small enough for sanitizers; tests/conformance has the whole table.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "expect.h"

namespace {

struct Shape {
    int64_t size[3];
    int64_t voxels() const { return size[0] * size[1] * size[2]; }
};

const Shape SHAPES[] = {{{1, 1, 1}}, {{2, 3, 2}}, {{7, 11, 5}}, {{5, 1, 19}},
                        {{4, 6, 1}}, {{3, 2, 33}}, {{9, 17, 16}}};

std::mt19937 generator(7);

std::vector<float> noise(int64_t count, float size) {
    std::normal_distribution<float> normal(0, size);
    std::vector<float> values(static_cast<size_t>(count));
    for (float &value : values) value = normal(generator);
    return values;
}

// Displacements of all sizes; some exactly onto voxels and borders, some that are no numbers.
std::vector<float> displacement(const Shape &shape) {
    auto field = noise(3 * shape.voxels(), 3);
    const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -1e30f, 0.0f, -1.0f, 0.5f, 2.0f};
    for (size_t i = 0; i < field.size(); i += 5) field[i] = odd[i / 5 % 9];
    return field;
}

template <typename T>
double voxel(const std::vector<T> &volume, const Shape &shape, int64_t d, int64_t h, int64_t w) {
    const bool inside = d >= 0 && h >= 0 && w >= 0 && d < shape.size[0] && h < shape.size[1] &&
                        w < shape.size[2];
    return inside ? double(volume[size_t((d * shape.size[1] + h) * shape.size[2] + w)]) : 0.0;
}

// Where voxel `index` looks; far outside for what is no number.
void place(const Shape &shape, const std::vector<float> &u, int64_t index, float *x) {
    const int64_t w = index % shape.size[2], h = index / shape.size[2] % shape.size[1];
    const int64_t voxel[3] = {index / shape.size[2] / shape.size[1], h, w};
    for (int axis = 0; axis < 3; ++axis) {
        const float sum = float(voxel[axis]) + u[size_t(axis * shape.voxels() + index)];
        x[axis] = std::isfinite(sum) && std::fabs(sum) < 1e6f ? sum : -1e6f;
    }
}

template <typename T>
double linear(const std::vector<T> &volume, const Shape &shape, const float *x) {
    double sum = 0;
    for (int corner = 0; corner < 8; ++corner) {
        int64_t at[3];
        double weight = 1;
        for (int axis = 0; axis < 3; ++axis) {
            const double low = std::floor(x[axis]), part = double(x[axis]) - low;
            const int upper = corner >> (2 - axis) & 1;
            at[axis] = int64_t(low) + upper;
            weight *= upper ? part : 1 - part;
        }
        sum += weight * voxel(volume, shape, at[0], at[1], at[2]);
    }
    return sum;
}

template <typename T>
double largest_share(const std::vector<T> &volume, const Shape &shape, const float *x, T label) {
    std::vector<T> mask(volume.size());
    // Outside is label 0: counted apart.
    for (size_t i = 0; i < volume.size(); ++i) mask[i] = volume[i] == label;
    if (label != 0) return linear(mask, shape, x);
    for (size_t i = 0; i < volume.size(); ++i) mask[i] = volume[i] != 0;
    return 1 - linear(mask, shape, x);
}

void warps() {
    for (const Shape &from : SHAPES) {
        for (const Shape &to : SHAPES) {
            const auto volume = noise(2 * from.voxels(), 1);
            const auto u = displacement(to);
            std::vector<float> out(size_t(2 * to.voxels()), NAN), nearest(out);
            EXPECT_STATUS(vm_warp(volume.data(), VM_F32, 2, from.size, u.data(), to.size,
                                  VM_LINEAR, out.data(), nullptr, 3), VM_OK);
            EXPECT_STATUS(vm_warp(volume.data(), VM_F32, 2, from.size, u.data(), to.size,
                                  VM_NEAREST, nearest.data(), nullptr, 1), VM_OK);
            std::vector<int16_t> labels(static_cast<size_t>(from.voxels()));
            for (auto &label : labels) label = int16_t(generator() % 3 * 1000 - 1000);
            std::vector<int16_t> winners(static_cast<size_t>(to.voxels()));
            std::vector<float> shares(static_cast<size_t>(to.voxels()));
            EXPECT_STATUS(vm_warp(labels.data(), VM_I16, 1, from.size, u.data(), to.size,
                                  VM_LABEL, winners.data(), shares.data(), 2), VM_OK);
            for (int64_t i = 0; i < to.voxels(); ++i) {
                float x[3];
                place(to, u, i, x);
                for (int channel = 0; channel < 2; ++channel) {
                    const auto begin = volume.begin() + channel * from.voxels();
                    const std::vector<float> one(begin, begin + from.voxels());
                    const auto at = size_t(channel * to.voxels() + i);
                    EXPECT(std::fabs(out[at] - linear(one, from, x)) < 1e-4);
                    const double expected = voxel(one, from, int64_t(std::nearbyint(x[0])),
                                                  int64_t(std::nearbyint(x[1])),
                                                  int64_t(std::nearbyint(x[2])));
                    EXPECT(double(nearest[at]) == expected);
                }
                const auto at = static_cast<size_t>(i);
                const double share = largest_share(labels, from, x, winners[at]);
                EXPECT(std::fabs(share - shares[at]) < 1e-4);
                for (int16_t label : {-1000, 0, 1000}) {
                    EXPECT(largest_share(labels, from, x, label) <= share + 1e-4);
                }
            }
        }
    }
}

void types() {
    const Shape shape = {{5, 6, 7}};
    const std::vector<float> u(size_t(3 * shape.voxels()), 0.25f);
    const vm_type all[] = {VM_U8, VM_I8, VM_U16, VM_I16, VM_U32, VM_I32,
                           VM_U64, VM_I64, VM_F16, VM_F32, VM_F64};
    const int64_t bytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};
    for (int i = 0; i < 11; ++i) {
        // Exactly as large as it has to be, for the sanitizer.
        std::vector<unsigned char> volume(size_t(shape.voxels() * bytes[i]), 1);
        std::vector<unsigned char> out(volume.size(), 255);
        EXPECT_STATUS(vm_warp(volume.data(), all[i], 1, shape.size, u.data(), shape.size,
                              VM_NEAREST, out.data(), nullptr, 2), VM_OK);
        EXPECT(out == volume);
        std::vector<unsigned char> values(size_t(shape.voxels() * (all[i] == VM_F16 ? 2 : 4)));
        EXPECT_STATUS(vm_warp(volume.data(), all[i], 1, shape.size, u.data(), shape.size,
                              VM_LINEAR, values.data(), nullptr, 2), VM_OK);
        const vm_status vote = vm_warp(volume.data(), all[i], 1, shape.size, u.data(), shape.size,
                                       VM_LABEL, out.data(), nullptr, 2);
        EXPECT(vote == (all[i] >= VM_F16 ? VM_ERROR_ARGUMENT : VM_OK));
    }
}

float largest_difference(const std::vector<float> &a, const std::vector<float> &b) {
    float largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        const float difference = std::fabs(a[i] - b[i]);
        if (std::isnan(difference)) return difference;
        largest = std::max(largest, difference);
    }
    return largest;
}

void fields() {
    for (const Shape &shape : SHAPES) {
        const auto v = noise(3 * shape.voxels(), 2);
        std::vector<float> out(v.size(), NAN), other(v.size(), NAN);
        EXPECT_STATUS(vm_integrate(v.data(), shape.size, 0, out.data(), 2), VM_OK);
        EXPECT(out == v);
        // One squaring of v is half of it after itself.
        std::vector<float> half(v);
        for (float &value : half) value /= 2;
        EXPECT_STATUS(vm_integrate(v.data(), shape.size, 1, out.data(), 2), VM_OK);
        EXPECT_STATUS(vm_compose(half.data(), shape.size, half.data(), shape.size, other.data(),
                                 1), VM_OK);
        // Short vectors are looked up by weights of their neighbours: another order of the sums.
        EXPECT(largest_difference(out, other) < 1e-5f);
        for (int steps = 1; steps < 5; ++steps) {
            std::vector<float> in_place(v);
            EXPECT_STATUS(vm_integrate(v.data(), shape.size, steps, out.data(), 1), VM_OK);
            EXPECT_STATUS(vm_integrate(in_place.data(), shape.size, steps, in_place.data(), 3),
                          VM_OK);
            EXPECT(out == in_place);
        }
        for (const Shape &to : SHAPES) {
            std::vector<float> resized(size_t(3 * to.voxels()), NAN);
            EXPECT_STATUS(vm_resize(v.data(), 3, shape.size, to.size, 2, resized.data(), 2),
                          VM_OK);
            EXPECT(resized[0] == 2 * v[0]);
            EXPECT(std::all_of(resized.begin(), resized.end(),
                               [](float x) { return std::isfinite(x); }));
        }
        const bool thin = *std::min_element(shape.size, shape.size + 3) < 2;
        const vm_status wanted = thin ? VM_ERROR_ARGUMENT : VM_OK;
        std::vector<float> determinant(size_t(shape.voxels()), NAN);
        EXPECT_STATUS(vm_jacobian_determinant(v.data(), shape.size, determinant.data(), 2),
                      wanted);
        EXPECT_STATUS(vm_invert(v.data(), shape.size, nullptr, out.data(), 2, nullptr, nullptr),
                      wanted);
        EXPECT_STATUS(vm_invert(v.data(), shape.size, v.data(), out.data(), 2, nullptr, nullptr),
                      wanted);
    }
}

// The inverse of a smooth field leads back.
void inverse() {
    const Shape shape = {{24, 30, 21}};
    std::vector<float> u(size_t(3 * shape.voxels()));
    for (int64_t i = 0; i < shape.voxels(); ++i) {
        for (int axis = 0; axis < 3; ++axis) {
            const double phase = double(i % shape.size[2]) / 5 + double(i / shape.size[2]) / 97;
            u[size_t(axis * shape.voxels() + i)] = float(1.5 * std::sin(phase + axis));
        }
    }
    std::vector<float> v(u.size()), missed(u.size());
    EXPECT_STATUS(vm_invert(u.data(), shape.size, nullptr, v.data(), 3, nullptr, nullptr), VM_OK);
    EXPECT_STATUS(vm_compose(u.data(), shape.size, v.data(), shape.size, missed.data(), 1), VM_OK);
    for (int64_t d = 4; d < shape.size[0] - 4; ++d) {
        for (int64_t h = 4; h < shape.size[1] - 4; ++h) {
            for (int64_t w = 4; w < shape.size[2] - 4; ++w) {
                EXPECT(std::fabs(missed[size_t((d * 30 + h) * 21 + w)]) < 0.1);
            }
        }
    }
}

// Every map of a few, every order of the volume in memory: against vm_places and the formula.
void carries() {
    const Shape from = {{9, 6, 13}}, to = {{11, 5, 18}}, model = {{6, 8, 7}};
    const auto field = noise(3 * model.voxels(), 1.5f);
    auto volume = noise(from.voxels(), 1);
    std::fill(volume.begin(), volume.begin() + from.voxels() / 3, 0.0f);
    for (int number = 0; number < 60; ++number) {
        vm_map map{};
        map.struct_size = sizeof map;
        std::copy_n(to.size, 3, map.shape);
        std::copy_n(model.size, 3, map.model_shape);
        map.displacement = number % 3 ? field.data() : nullptr;
        std::normal_distribution<double> normal(0, number % 4 ? 0.4 : 20);
        for (int i = 0; i < 12; ++i) {
            map.to_model[i] = (i % 5 == 0 ? 0.6 : 0) + normal(generator) / (i % 4 == 3 ? 0.2 : 1);
            map.to_moving[i] = (i % 5 == 0) + normal(generator) / 4;
        }
        // The volume with its axes in another order of memory.
        const int order[] = {number % 3, (number + 1 + number % 2) % 3,
                             (number + 2 - number % 2) % 3};
        vm_look look{};
        look.struct_size = sizeof look;
        int64_t stride = 1;
        for (int i = 2; i >= 0; --i) {
            look.strides[order[i]] = stride;
            stride *= from.size[order[i]];
        }
        std::vector<float> stored(volume.size());
        for (int64_t i = 0; i < from.voxels(); ++i) {
            const int64_t d = i / 78, h = i / 13 % 6, w = i % 13;
            stored[size_t(d * look.strides[0] + h * look.strides[1] + w * look.strides[2])] =
                volume[size_t(i)];
        }
        std::vector<float> out(size_t(to.voxels()), NAN), places(size_t(3 * to.voxels()));
        look.volume = stored.data();
        std::copy_n(from.size, 3, look.shape);
        look.type = VM_F32;
        look.mode = VM_LINEAR;
        look.out = out.data();
        EXPECT_STATUS(vm_carry(&map, &look, 1, 1 + number % 3), VM_OK);
        EXPECT_STATUS(vm_places(&map, 0, to.size[0], places.data(), 2), VM_OK);
        for (int64_t i = 0; i < to.voxels(); ++i) {
            float x[3];
            for (int axis = 0; axis < 3; ++axis) {
                x[axis] = std::clamp(places[size_t(axis * to.voxels() + i)], -1e6f, 1e6f);
            }
            EXPECT(std::fabs(out[size_t(i)] - linear(volume, from, x)) < 1e-3);
        }
        std::vector<float> offsets(size_t(3 * to.voxels()));
        const double here[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
        EXPECT_STATUS(vm_offsets(&map, here, offsets.data(), 2), VM_OK);
        EXPECT(offsets[0] == places[0]);
    }
}

}  // namespace

int main() {
    warps();
    types();
    fields();
    inverse();
    carries();
    return disappointed;
}
