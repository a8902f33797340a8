// What a caller hears of a long call, and how it ends one.
#pragma once

#include "cpu/error.h"

namespace vm {

class Watch {
public:
    Watch() = default;
    Watch(vm_progress progress, vm_cancel cancel, void *context)
        : progress_(progress), cancel_(cancel), context_(context) {}

    // Tell that this share of the work is done; throws Error (CANCELLED) where the caller says so.
    void reach(double share) {
        share_ = share;
        check();
    }

    // What was told last.
    double share() const { return share_; }

    // Tell that the work goes on.
    void check() const {
        if ((progress_ && progress_(context_, share_)) || (cancel_ && cancel_(context_)))
            throw Error(VM_ERROR_CANCELLED, "cancelled by the caller");
    }

    // Whether anyone listens.
    bool is_on() const { return progress_ || cancel_; }

private:
    vm_progress progress_ = nullptr;
    vm_cancel cancel_ = nullptr;
    void *context_ = nullptr;
    double share_ = 0;
};

}  // namespace vm
