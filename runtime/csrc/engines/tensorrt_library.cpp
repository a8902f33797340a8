#include "engines/tensorrt_library.h"

#include <cstdlib>
#include <map>
#include <memory>

#include "cpu/error.h"
#include "engines/find_library.h"
#include "engines/shared_library.h"

namespace vm::tensorrt {

namespace {

constexpr int header_major = NV_TENSORRT_MAJOR;
constexpr std::size_t longest_reason = 300;

std::string dotted(int version) {
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
}

std::unique_ptr<Library> load(const std::string &path) {
    const SharedLibrary file(path);
    auto library = std::make_unique<Library>();
    std::int32_t (*get_version)() = nullptr;
    library->path = path;
    file.take(get_version, "getInferLibVersion");
    const std::int32_t version = get_version();
    library->version = dotted(version);
    // Its classes have other tables of functions in every major version.
    if (version / 10000 != header_major)
        throw Error(VM_ERROR_UNAVAILABLE,
                    path + " is TensorRT " + library->version +
                        ", and this libvmruntime was built with the headers of " +
                        dotted(NV_TENSORRT_VERSION) + "; install TensorRT " +
                        std::to_string(header_major) + ", or build with the headers of that one");
    file.take(library->create_runtime, "createInferRuntime_INTERNAL");
    return library;
}

std::string find(bool lean) {
    const std::string major = std::to_string(header_major);
    std::string path = find_library("nvinfer", "tensorrt_libs", major);
    if (path.empty() && lean) path = find_library("nvinfer_lean", "tensorrt_lean_libs", major);
    if (path.empty())
        throw Error(VM_ERROR_UNAVAILABLE,
                    "TensorRT's libnvinfer.so." + major +
                        " is nowhere to be found; install TensorRT " + major +
                        " and set VM_TENSORRT_LIBRARY to that file");
    return path;
}

}  // namespace

const Library &load_library(const std::string &given, bool lean) {
    static std::mutex mutex;
    // Never destroyed: engines may be closed while the process ends.
    static auto &loaded = *new std::map<std::string, std::unique_ptr<Library>>();
    const std::lock_guard<std::mutex> lock(mutex);
    std::string path = given;
    const char *wished = std::getenv("VM_TENSORRT_LIBRARY");
    if (path.empty() && wished) path = wished;
    if (path.empty()) path = find(lean);
    std::unique_ptr<Library> &library = loaded[path];
    if (!library) library = load(path);
    return *library;
}

void Listener::log(Severity severity, const char *text) noexcept {
    if (severity != Severity::kERROR && severity != Severity::kINTERNAL_ERROR) return;
    try {
        const std::lock_guard<std::mutex> lock(mutex_);
        last_ = std::string(text).substr(0, longest_reason);
    } catch (const std::exception &) {  // no memory even for the reason
    }
}

std::string Listener::reason() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string reason = last_.empty() ? "it does not say why" : last_;
    last_.clear();
    for (char &letter : reason)
        if (letter == '\n' || letter == '\r') letter = ' ';
    return reason;
}

}  // namespace vm::tensorrt
