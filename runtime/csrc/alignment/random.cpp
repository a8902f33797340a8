#include "alignment/random.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>
#include <utility>

namespace vm::alignment {

namespace {

constexpr std::uint64_t multiplier_high = 0x2360ed051fc65da4, multiplier_low = 0x4385df649fccf645;
constexpr std::uint64_t increment_high = 0x418ddadb3af71a82, increment_low = 0x588133bc447873a9;

// From here on numpy shuffles all numbers where more than one in fifty is wanted.
constexpr std::int64_t many = 10000, fraction = 50;

// Upper half of a product.
std::uint64_t high_of_product(std::uint64_t a, std::uint64_t b) {
    constexpr std::uint64_t half = 0xffffffff;
    const std::uint64_t low = (a & half) * (b & half);
    const std::uint64_t one = (a >> 32) * (b & half) + (low >> 32);
    const std::uint64_t other = (a & half) * (b >> 32) + (one & half);
    return (a >> 32) * (b >> 32) + (one >> 32) + (other >> 32);
}

}  // namespace

std::uint64_t Random::next64() {
    const std::uint64_t high = high_of_product(low_, multiplier_low) + high_ * multiplier_low +
                               low_ * multiplier_high;
    const std::uint64_t low = low_ * multiplier_low;
    low_ = low + increment_low;
    high_ = high + increment_high + (low_ < low);
    const std::uint64_t folded = high_ ^ low_;
    const unsigned turn = static_cast<unsigned>(high_ >> 58);
    return folded >> turn | folded << ((64 - turn) & 63);
}

std::uint32_t Random::next32() {
    if (has_kept_) {
        has_kept_ = false;
        return kept_;
    }
    const std::uint64_t number = next64();
    kept_ = static_cast<std::uint32_t>(number >> 32);
    has_kept_ = true;
    return static_cast<std::uint32_t>(number);
}

std::uint32_t Random::up_to(std::uint32_t most) {
    if (most == 0) return 0;  // draws nothing
    const std::uint32_t number = most + 1;
    std::uint64_t product = std::uint64_t{next32()} * number;
    if (static_cast<std::uint32_t>(product) < number) {
        const std::uint32_t unfair = (UINT32_MAX - most) % number;
        while (static_cast<std::uint32_t>(product) < unfair)
            product = std::uint64_t{next32()} * number;
    }
    return static_cast<std::uint32_t>(product >> 32);
}

void Random::shuffle(std::vector<std::int64_t> &numbers, std::int64_t first) {
    for (auto i = static_cast<std::int64_t>(numbers.size()) - 1; i >= first; --i)
        std::swap(numbers[up_to(static_cast<std::uint32_t>(i))],
                  numbers[static_cast<std::size_t>(i)]);
}

// Bentley and Floyd, CACM 30, 1987.
std::vector<std::int64_t> Random::by_floyd(std::int64_t from, std::int64_t count) {
    std::vector<std::int64_t> chosen;
    std::unordered_set<std::int64_t> known;
    for (std::int64_t j = from - count; j < from; ++j) {
        const std::int64_t drawn = up_to(static_cast<std::uint32_t>(j));
        chosen.push_back(known.insert(drawn).second ? drawn : j);
        known.insert(chosen.back());
    }
    shuffle(chosen, 1);  // for the numbers that it draws: what follows is to be numpy's
    return chosen;
}

std::vector<std::int64_t> Random::choice(std::int64_t from, std::int64_t count) {
    std::vector<std::int64_t> chosen;
    if (from > many && count > from / fraction) {
        chosen.resize(static_cast<std::size_t>(from));
        std::iota(chosen.begin(), chosen.end(), std::int64_t{0});
        shuffle(chosen, std::max<std::int64_t>(from - count, 1));
        chosen.erase(chosen.begin(), chosen.end() - count);
    } else {
        chosen = by_floyd(from, count);
    }
    std::sort(chosen.begin(), chosen.end());
    return chosen;
}

}  // namespace vm::alignment
