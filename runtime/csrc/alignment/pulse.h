// The caller's watch while work is spread over threads: only its own thread may ask it.
#pragma once

#include <thread>

#include "session/watch.h"

namespace vm::alignment {

class Pulse {
public:
    // The work's shares 0 to 1 stand for those from `from` to `to` of the watch.
    Pulse(Watch &watch, double from, double to) : watch_(watch), from_(from), to_(to) {}

    void reach(double share) const { watch_.reach(from_ + (to_ - from_) * share); }

    // From any thread, often.
    void check() const {
        if (std::this_thread::get_id() == home_) watch_.check();
    }

private:
    Watch &watch_;
    double from_, to_;
    std::thread::id home_ = std::this_thread::get_id();
};

}  // namespace vm::alignment
