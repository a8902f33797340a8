// The random numbers of numpy's default_rng(0), so that C and Python look at the same voxels.
//
// PCG64 (O'Neill, HMC-CS-2014-0905: 128-bit congruential generator, output XSL-RR) with the state
// that numpy's SeedSequence(0) gives it; bounded numbers by Lemire's method (ACM TOMACS 29, 2019).
// numpy does not promise that its sequence stays: tests/test_c_alignment.py would tell.
#pragma once

#include <cstdint>
#include <vector>

namespace vm::alignment {

class Random {
public:
    // 0 ... most, each as likely. `most` below 2^32 - 1.
    std::uint32_t up_to(std::uint32_t most);

    // `count` different numbers of 0 ... from - 1, sorted: numpy's choice(from, count,
    // replace=False).
    std::vector<std::int64_t> choice(std::int64_t from, std::int64_t count);

private:
    std::uint64_t next64();
    std::uint32_t next32();
    void shuffle(std::vector<std::int64_t> &numbers, std::int64_t first);
    std::vector<std::int64_t> by_floyd(std::int64_t from, std::int64_t count);

    std::uint64_t high_ = 0x1aa1b5345996452d, low_ = 0x09585eb7a69561e3;
    std::uint32_t kept_ = 0;  // upper half of a number whose lower one was given out
    bool has_kept_ = false;
};

}  // namespace vm::alignment
