// Order statistics of large arrays without sorting them.
#pragma once

#include <cstdint>
#include <vector>

namespace vm {

// Counts of the values of an array that are not 0, from which percentiles are found.
class Percentiles {
public:
    // `data` stays the caller's and has to stay as it is. With `positive_only` only values above 0
    // count. NaN must not occur.
    Percentiles(const float *data, std::int64_t count, bool positive_only);

    std::int64_t count() const { return count_; }

    // The percentile as numpy's default method has it, in double; there must be a value.
    double at(double percent) const;

private:
    float ranked(std::int64_t rank) const;

    const float *data_;
    std::int64_t size_;
    bool positive_only_;
    std::int64_t count_ = 0;
    std::vector<std::int64_t> upper_;  // by the upper half of the ordered bits
};

}  // namespace vm
