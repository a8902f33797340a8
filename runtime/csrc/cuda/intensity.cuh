// Intensity rules of runtime/vmruntime/intensity.py, without a value coming down to the host.
//
// divide:      vm_scale with bounds = (0, N)
// minmax:      vm_statistics, vm_bounds, vm_scale
// percentile:  vm_statistics, vm_select_begin, then for pass 0, 1, 2 vm_select_count and
//              vm_select_digit, vm_bounds, vm_scale
//
// Percentiles are exact: the two order statistics around each are found by radix selection over the
// bits of the floats, 11 bits, 11 and 10, and blended as numpy does. A pass reads the array once;
// counting in shared memory keeps the few bins that MRI intensities crowd into out of the L2 cache.
#pragma once

#include "statistics.cuh"

enum Rule { RULE_DIVIDE = 0, RULE_MINMAX = 1, RULE_PERCENTILE = 2 };

#define VM_BINS 2048  // of the largest digit
#define VM_RANKS 4    // below and above the lower percentile, below and above the upper
#define VM_THREADS_A_RANK 64

// In device memory.
struct Selection {
    unsigned long long histogram[VM_RANKS][VM_BINS];
    unsigned long long rank[VM_RANKS];  // among the values that share the prefix
    unsigned int prefix[VM_RANKS];      // bits found; after pass 2 the key itself
    int source[VM_RANKS];               // first rank of the same prefix: one histogram for all
    double fraction[2];                 // between the two order statistics of a percentile
    double share[2];                    // the percentiles as shares, 0 to 1
};
static_assert(sizeof(Selection) == 65632, "who allocates it reads this number in README.md");

// Bits below the digit of a pass.
__device__ __forceinline__ int shift_of(int pass) { return pass == 0 ? 21 : pass == 1 ? 10 : 0; }

__device__ __forceinline__ unsigned int digit_of(unsigned int key, int pass) {
    return key >> shift_of(pass) & (pass == 2 ? 1023u : 2047u);
}

// `low` and `high`: shares, percentiles over 100. One block of 256 threads.
VM_KERNEL(vm_select_begin)(Selection* __restrict__ selection, double low, double high) {
    unsigned long long* bins = selection->histogram[0];
    for (int i = static_cast<int>(threadIdx.x); i < VM_RANKS * VM_BINS; i += 256) bins[i] = 0;
    if (threadIdx.x < VM_RANKS) {
        selection->rank[threadIdx.x] = 0;
        selection->prefix[threadIdx.x] = 0;
        selection->source[threadIdx.x] = 0;
    }
    if (threadIdx.x < 2) {
        selection->fraction[threadIdx.x] = 0.0;
        selection->share[threadIdx.x] = threadIdx.x == 0 ? low : high;
    }
}

// Count the digits of the foreground, which is what is not 0. Blocks of 256 threads.
VM_KERNEL(vm_select_count)
(const float* __restrict__ values, long long count, Selection* __restrict__ selection, int pass) {
    __shared__ unsigned int bins[VM_RANKS][VM_BINS];
    for (int i = static_cast<int>(threadIdx.x); i < VM_RANKS * VM_BINS; i += 256) bins[0][i] = 0;
    __syncthreads();
    unsigned int prefix[VM_RANKS];
    bool counts[VM_RANKS];
    for (int r = 0; r < VM_RANKS; ++r) {
        prefix[r] = selection->prefix[r];
        counts[r] = selection->source[r] == r;
    }
    for_each_value(count, [&](long long i) {
        const float value = __ldg(values + i);
        if (value == 0.0f) return;
        const unsigned int key = key_of(value);
        // In pass 0 every prefix is empty, and a shift by 32 would not be defined.
        const unsigned int found = pass == 0 ? 0 : key >> shift_of(pass - 1);
        for (int r = 0; r < VM_RANKS; ++r)
            if (counts[r] && found == prefix[r]) atomicAdd(&bins[r][digit_of(key, pass)], 1u);
    });
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < VM_RANKS * VM_BINS; i += 256)
        if (bins[0][i]) atomicAdd(&selection->histogram[0][i], static_cast<unsigned long long>(bins[0][i]));
}

// Which values to look for, once the size of the foreground is known (numpy's "linear" method).
__device__ __forceinline__ void choose_ranks(Selection* selection, unsigned long long foreground) {
    const unsigned long long last = foreground ? foreground - 1 : 0;
    for (int p = 0; p < 2; ++p) {
        const double at = static_cast<double>(last) * selection->share[p];
        const double below = floor(at);
        const unsigned long long first = static_cast<unsigned long long>(below);
        selection->rank[2 * p] = first < last ? first : last;
        selection->rank[2 * p + 1] = first + 1 < last ? first + 1 : last;
        selection->fraction[p] = at - below;
    }
}

// Find the digit of each rank and clear the histograms. One block of 256 threads, 64 a rank.
VM_KERNEL(vm_select_digit)(Selection* __restrict__ selection, int pass) {
    __shared__ unsigned long long sums[VM_RANKS][VM_THREADS_A_RANK];
    const int rank = static_cast<int>(threadIdx.x) / VM_THREADS_A_RANK;
    const int part = static_cast<int>(threadIdx.x) % VM_THREADS_A_RANK;
    const int bins = VM_BINS / VM_THREADS_A_RANK;
    const unsigned long long* own = selection->histogram[selection->source[rank]] + part * bins;
    unsigned long long sum = 0;
    for (int i = 0; i < bins; ++i) sum += own[i];
    sums[rank][part] = sum;
    __syncthreads();
    if (pass == 0 && threadIdx.x == 0) {
        unsigned long long foreground = 0;
        for (int i = 0; i < VM_THREADS_A_RANK; ++i) foreground += sums[0][i];
        choose_ranks(selection, foreground);
    }
    __syncthreads();
    unsigned long long before = 0;
    for (int i = 0; i < part; ++i) before += sums[rank][i];
    const unsigned long long wanted = selection->rank[rank];
    if (wanted >= before && wanted < before + sum) {
        int digit = 0;
        while (wanted >= before + own[digit]) before += own[digit++];
        const int width = pass == 2 ? 10 : 11;
        const unsigned int found = static_cast<unsigned int>(part * bins + digit);
        selection->prefix[rank] = pass == 0 ? found : selection->prefix[rank] << width | found;
        selection->rank[rank] = wanted - before;
    }
    __syncthreads();
    if (part == 0) {
        int source = 0;
        while (selection->prefix[source] != selection->prefix[rank]) ++source;
        selection->source[rank] = source;
    }
    unsigned long long* cleared = selection->histogram[0];
    for (int i = static_cast<int>(threadIdx.x); i < VM_RANKS * VM_BINS; i += 256) cleared[i] = 0;
}

// numpy's blend of two neighbours: the difference in float32, the rest in float64.
__device__ __forceinline__ float percentile(const Selection* selection, int p) {
    const float below = value_of(selection->prefix[2 * p]);
    const float above = value_of(selection->prefix[2 * p + 1]);
    const double difference = above - below, fraction = selection->fraction[p];
    return static_cast<float>(fraction >= 0.5 ? above - difference * (1.0 - fraction)
                                              : below + difference * fraction);
}

// bounds (2 float32) of vm_scale; `selection` may be null for minmax. One thread.
VM_KERNEL(vm_bounds)
(const Statistics* __restrict__ statistics, const Selection* __restrict__ selection, int rule,
 float* __restrict__ bounds) {
    if (blockIdx.x != 0 || threadIdx.x != 0) return;
    const float smallest = value_of(statistics->smallest), largest = value_of(statistics->largest);
    bounds[0] = rule == RULE_PERCENTILE ? percentile(selection, 0) : smallest;
    bounds[1] = rule == RULE_PERCENTILE ? percentile(selection, 1) : largest;
    // A foreground that is nearly constant: both percentiles are one value.
    if (rule == RULE_PERCENTILE && bounds[1] <= bounds[0]) {
        bounds[0] = 0.0f;
        bounds[1] = fabsf(smallest) > fabsf(largest) ? fabsf(smallest) : fabsf(largest);
    }
}

// `scaled` may be `values`.
VM_KERNEL(vm_scale)
(const float* values, float* scaled, long long count, int rule, const float* __restrict__ bounds) {
    const float low = bounds[0], high = bounds[1];
    for_each_value(count, [=](long long i) {
        const float value = values[i];
        if (rule == RULE_DIVIDE) {
            scaled[i] = value / high;
        } else if (rule == RULE_MINMAX) {
            scaled[i] = (value - low) / (high - low);
        } else {
            const float share = (value - low) / (high - low);
            scaled[i] = value != 0.0f && share > 0.0f ? share : 0.0f;
        }
    });
}
