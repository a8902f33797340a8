// Convolution, LeakyReLU and max-pooling in one pass: vm_pooled_convolution.
#include "pooled.h"

#include "buffer.h"
#include "check.h"
#include "error.h"
#include "rows.h"
#include "threads.h"

namespace vm {

namespace {

void pooled_convolution(const float *const *volumes, int64_t in, const int64_t *sizes,
                        const float *weights, const float *bias, int64_t out, float slope,
                        float *result, int32_t number) {
    [[maybe_unused]] const int threads = thread_count(number);
    require(volumes, "volumes");
    require(weights, "weights");
    require(bias, "bias");
    require(result, "result");
    const Shape shape = checked_shape(sizes, "shape", 2);
    check_channels(in, shape);
    check_channels(out, shape);
    for (int64_t i = 0; i < in; ++i) require(volumes[i], "volumes");
    for (int64_t size : shape) {
        if (size % 2) throw argument_error("shape has an odd size; pooling halves every axis");
    }
    if (out % LANES) throw argument_error("out_channels is no multiple of 16");
    if (!(slope >= 0 && slope <= 1)) throw argument_error("slope is not within 0 and 1");
    if (level() != Level::avx512) {
        throw Error(VM_ERROR_UNSUPPORTED, "this needs a processor with AVX-512");
    }
#if defined(__x86_64__) && defined(__GNUC__)
    Buffer<float> packed(size_t(out * in * 27));
    for (int64_t o = 0; o < out; ++o) {
        for (int64_t i = 0; i < in * 27; ++i) {
            packed[size_t(((o / LANES) * in * 27 + i) * LANES + o % LANES)] =
                weights[o * in * 27 + i];
        }
    }
    const PooledLayers layers = {volumes, in,    {shape[0], shape[1], shape[2]}, out,
                                 packed.data(), bias, slope, result};
    parallel_for(shape[0] / 2, threads, [&](int64_t d) {
        Buffer<float> work(static_cast<size_t>(pooled_work_size(layers)));
        for (int64_t h = 0; h < shape[1] / 2; ++h) pooled_row_avx512(layers, d, h, work.data());
    });
#endif
}

}  // namespace

}  // namespace vm

vm_status vm_pooled_convolution(const float *const *volumes, int64_t channels,
                                const int64_t shape[3], const float *weights, const float *bias,
                                int64_t out_channels, float slope, float *out, int32_t threads) {
    return vm::guarded("vm_pooled_convolution", [&] {
        vm::pooled_convolution(volumes, channels, shape, weights, bias, out_channels, slope, out,
                               threads);
    });
}
