// Errors inside the library, and how they become a status at its border.
#pragma once

#include <stdexcept>
#include <string>

#include "vmruntime.h"

namespace vm {

// What was wrong, in one line: the fact, and what was expected or can be done.
class Error : public std::runtime_error {
public:
    Error(vm_status status, const std::string &text)
        : std::runtime_error(text), status_(status) {}
    vm_status status() const noexcept { return status_; }

private:
    vm_status status_;
};

inline Error argument_error(const std::string &text) { return Error(VM_ERROR_ARGUMENT, text); }

// Remembers the text of this thread's last error; cut off where it is too long. Allocates nothing.
void set_last_error(const char *function, const char *text) noexcept;

// The status of the exception being handled, with its text remembered. Only inside a catch block.
vm_status status_of_current_exception(const char *function) noexcept;

// Runs a function's body; no exception leaves.
template <typename Body>
vm_status guarded(const char *function, Body &&body) noexcept {
    try {
        body();
        return VM_OK;
    } catch (...) {
        return status_of_current_exception(function);
    }
}

}  // namespace vm
