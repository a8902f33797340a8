// TensorRT's runtime, loaded at run time; its declarations are those of the user's headers.
#pragma once

#include <NvInferRuntime.h>

#include <mutex>
#include <string>

namespace vm::tensorrt {

struct Library {
    std::string path;
    std::string version;  // "11.1.0"
    void *(*create_runtime)(void *logger, std::int32_t version);
};

// The library at a path, or where it is empty, at $VM_TENSORRT_LIBRARY, or where it is found: the
// full runtime, or for plans that do with it (`lean`) the lean one. Stays loaded until the process
// ends. To be called where a GPU is only: the lean one crashes without. Throws Error (UNAVAILABLE):
// there is none, or it is of another major version than the headers.
const Library &load_library(const std::string &path, bool lean);

// Keeps what TensorRT says went wrong, and prints nothing.
class Listener final : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char *text) noexcept override;

    // The last of it, in one line; forgets it.
    std::string reason();

private:
    std::mutex mutex_;
    std::string last_;
};

}  // namespace vm::tensorrt
