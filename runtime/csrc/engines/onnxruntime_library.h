// ONNX Runtime's C API, loaded at run time; its declarations are those of the user's header.
#pragma once

#include <onnxruntime_c_api.h>

#include <string>

namespace vm::onnxruntime {

struct Library {
    std::string path;
    std::string version;  // "1.32.0"
    const OrtApi *api;
    OrtEnv *environment;  // the process's own

    // Throws Error (ENGINE) with the engine's own words where a call did not succeed; takes the
    // status.
    void check(OrtStatus *status, const char *doing) const;
};

// The library at a path, or where it is empty, at $VM_ONNXRUNTIME_LIBRARY, or where it is found.
// Stays loaded until the process ends: its threads do. Throws Error (UNAVAILABLE): there is none,
// or it is older than the header.
const Library &load_library(const std::string &path);

}  // namespace vm::onnxruntime
