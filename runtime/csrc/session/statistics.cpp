#include "session/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace vm {

namespace {

constexpr std::size_t half = 1 << 16;

// Bits of a float as a number that grows with it.
std::uint32_t ordered(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

float from_ordered(std::uint32_t key) {
    const std::uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

Percentiles::Percentiles(const float *data, std::int64_t count, bool positive_only)
    : data_(data), size_(count), positive_only_(positive_only), upper_(half) {
    for (std::int64_t i = 0; i < size_; ++i)
        if (positive_only ? data[i] > 0 : data[i] != 0) ++upper_[ordered(data[i]) >> 16];
    for (const std::int64_t number : upper_) count_ += number;
}

double Percentiles::at(double percent) const {
    const double position = static_cast<double>(count_ - 1) * (percent / 100);
    const auto rank = static_cast<std::int64_t>(std::floor(position));
    const double share = position - static_cast<double>(rank);
    const float low = ranked(rank), high = ranked(std::min(rank + 1, count_ - 1));
    const double step = static_cast<double>(high - low);
    return share < 0.5 ? low + step * share : high - step * (1 - share);
}

float Percentiles::ranked(std::int64_t rank) const {
    std::size_t bin = 0;
    while (rank >= upper_[bin]) rank -= upper_[bin++];
    std::vector<std::int64_t> lower(half);
    for (std::int64_t i = 0; i < size_; ++i) {
        const std::uint32_t key = ordered(data_[i]);
        if (key >> 16 == bin && (positive_only_ ? data_[i] > 0 : data_[i] != 0))
            ++lower[key & 0xffff];
    }
    std::size_t at = 0;
    while (rank >= lower[at]) rank -= lower[at++];
    return from_ordered(static_cast<std::uint32_t>(bin << 16 | at));
}

}  // namespace vm
