// Rules that bring a scan's intensities to a model's range; see vmruntime/intensity.py.
#pragma once

#include <cstdint>
#include <string>

namespace vm {

struct IntensityRule {
    enum class Kind { none, divide, minmax, percentile };

    Kind kind = Kind::none;
    double first = 0, second = 0;

    // Throws Error (ARGUMENT) where the text is no rule.
    static IntensityRule parse(const std::string &text);

    // Scale values that are finite and not all the same, in place.
    void apply(float *data, std::int64_t count, int threads) const;
};

// What looks wrong about a scan after the rule for a model trained on 0 to 1; "" for nothing.
std::string suspicion(const float *scaled, std::int64_t count, const std::string &name);

}  // namespace vm
