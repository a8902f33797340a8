#include "error.h"

#include <cstdio>
#include <new>

namespace vm {

namespace {
// A plain array: nothing to construct or release as threads come and go.
thread_local char last_error[512] = "";
}  // namespace

void set_last_error(const char *function, const char *text) noexcept {
    std::snprintf(last_error, sizeof last_error, "%s: %s", function, text);
    for (char *c = last_error; *c; ++c) {
        if (*c == '\n' || *c == '\r') *c = ' ';
    }
}

vm_status status_of_current_exception(const char *function) noexcept {
    try {
        throw;
    } catch (const Error &error) {
        set_last_error(function, error.what());
        return error.status();
    } catch (const std::bad_alloc &) {
        set_last_error(function, "not enough memory");
        return VM_ERROR_MEMORY;
    } catch (const std::exception &error) {
        set_last_error(function, error.what());
    } catch (...) {
        set_last_error(function, "unknown exception");
    }
    return VM_ERROR_INTERNAL;
}

}  // namespace vm

uint32_t vm_abi_version(void) { return VM_ABI_VERSION; }

const char *vm_last_error(void) { return vm::last_error; }

const char *vm_status_name(vm_status status) {
    // Not by the enum: callers may pass any number.
    switch (static_cast<int>(status)) {
        case VM_OK: return "VM_OK";
        case VM_ERROR_ARGUMENT: return "VM_ERROR_ARGUMENT";
        case VM_ERROR_MEMORY: return "VM_ERROR_MEMORY";
        case VM_ERROR_CANCELLED: return "VM_ERROR_CANCELLED";
        case VM_ERROR_ARTIFACT: return "VM_ERROR_ARTIFACT";
        case VM_ERROR_ENGINE: return "VM_ERROR_ENGINE";
        case VM_ERROR_UNAVAILABLE: return "VM_ERROR_UNAVAILABLE";
        case VM_ERROR_INTERNAL: return "VM_ERROR_INTERNAL";
        case VM_ERROR_GRID: return "VM_ERROR_GRID";
        case VM_ERROR_ALIGNMENT: return "VM_ERROR_ALIGNMENT";
        case VM_ERROR_UNSUPPORTED: return "VM_ERROR_UNSUPPORTED";
        default: return "VM_ERROR_UNKNOWN";
    }
}
