#include "session/intensity.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "cpu/error.h"
#include "cpu/threads.h"
#include "onnx/json.h"
#include "session/statistics.h"

namespace vm {

namespace {

constexpr const char *rules = "divide:NUMBER, minmax, percentile:LOW,HIGH or none";

// A foreground maximum outside this range does not come from a scan scaled to 0..1.
constexpr float least_maximum = 0.1f, greatest_maximum = 2.0f;
// Share of the foreground's voxels that may be brighter than its maximum.
constexpr double outliers = 0.001;

// Beyond these a scan of any kind overflows or vanishes in float32.
constexpr double smallest_divisor = 1e-6, largest_divisor = 1e12;

constexpr std::int64_t grain = 1 << 16;

// digits [. digits] [e [sign] one or two digits]
bool is_number(const std::string &text, double &number) {
    std::size_t at = 0;
    const auto digits = [&text, &at] {
        const std::size_t start = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
        return at - start;
    };
    if (!digits()) return false;
    if (at < text.size() && text[at] == '.' && (++at, !digits())) return false;
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
        ++at;
        if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
        const std::size_t count = digits();
        if (count < 1 || count > 2) return false;
    }
    return at == text.size() && json::parse_number(text, number);
}

void over(std::int64_t count, int threads,
          const std::function<void(std::int64_t, std::int64_t)> &body) {
    parallel_ranges(count, grain, threads, body);
}

void scale_percentiles(float *data, std::int64_t count, double from, double to, int threads) {
    float low, high;
    {
        const Percentiles foreground(data, count, false);
        if (!foreground.count()) return;
        low = static_cast<float>(foreground.at(from));
        high = static_cast<float>(foreground.at(to));
    }
    if (high <= low) {  // nearly constant foreground: percentiles coincide
        low = high = 0;
        for (std::int64_t i = 0; i < count; ++i) high = std::max(high, std::abs(data[i]));
    }
    const float span = high - low;
    over(count, threads, [=](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i)
            data[i] = data[i] != 0 ? std::max((data[i] - low) / span, 0.0f) : 0.0f;
    });
}

}  // namespace

IntensityRule IntensityRule::parse(const std::string &text) {
    std::string trimmed = text;
    trimmed.erase(0, trimmed.find_first_not_of(" \t\r\n"));
    trimmed.erase(trimmed.find_last_not_of(" \t\r\n") + 1);
    const std::size_t colon = trimmed.find(':');
    const std::string kind = trimmed.substr(0, colon);
    const std::string rest = colon == std::string::npos ? "" : trimmed.substr(colon + 1);
    const std::size_t comma = rest.find(',');
    IntensityRule rule;
    bool right = false;
    if (kind == "none" || kind == "minmax") {
        rule.kind = kind == "none" ? Kind::none : Kind::minmax;
        right = rest.empty();
    } else if (kind == "divide") {
        rule.kind = Kind::divide;
        right = is_number(rest, rule.first) && rule.first >= smallest_divisor &&
                rule.first <= largest_divisor;
    } else if (kind == "percentile" && comma != std::string::npos) {
        rule.kind = Kind::percentile;
        right = is_number(rest.substr(0, comma), rule.first) &&
                is_number(rest.substr(comma + 1), rule.second) && rule.first < rule.second &&
                rule.second <= 100;
    }
    if (!right)
        throw argument_error("\"" + text.substr(0, 60) + "\" is no intensity rule; write " + rules);
    return rule;
}

void IntensityRule::apply(float *data, std::int64_t count, int threads) const {
    if (kind == Kind::divide) {
        const auto divisor = static_cast<float>(first);
        over(count, threads, [=](std::int64_t from, std::int64_t to) {
            for (std::int64_t i = from; i < to; ++i) data[i] /= divisor;
        });
    } else if (kind == Kind::minmax) {
        const auto ends = std::minmax_element(data, data + count);
        const float low = *ends.first, span = *ends.second - low;
        over(count, threads, [=](std::int64_t from, std::int64_t to) {
            for (std::int64_t i = from; i < to; ++i) data[i] = (data[i] - low) / span;
        });
    } else if (kind == Kind::percentile) {
        scale_percentiles(data, count, first, second, threads);
    }
}

std::string suspicion(const float *scaled, std::int64_t count, const std::string &name) {
    std::int64_t used = 0, bright = 0, beyond = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        used += scaled[i] != 0;
        bright += scaled[i] >= least_maximum;
        beyond += scaled[i] > greatest_maximum;
    }
    const std::string remedy =
        std::string("; choose another intensity rule: ") + rules;
    if (!used) return name + ": every voxel is 0 after the intensity rule" + remedy;
    const double most = outliers * static_cast<double>(used);
    const bool dark = static_cast<double>(bright) <= most;
    if (!dark && static_cast<double>(beyond) <= most) return "";
    return name + ": the foreground's maximum is " + (dark ? "below 0.1" : "above 2") +
           " after the intensity rule, the model expects about 1" + remedy;
}

}  // namespace vm
