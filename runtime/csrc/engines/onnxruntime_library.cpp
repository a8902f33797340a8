#include "engines/onnxruntime_library.h"

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>

#include "cpu/error.h"
#include "engines/find_library.h"
#include "engines/shared_library.h"

namespace vm::onnxruntime {

namespace {

// What goes wrong is in the status of a call; nothing is printed.
void ORT_API_CALL say_nothing(void *, OrtLoggingLevel, const char *, const char *, const char *,
                              const char *) {}

std::unique_ptr<Library> load(const std::string &path) {
    const SharedLibrary file(path);
    const OrtApiBase *(ORT_API_CALL * base)() = nullptr;
    file.take(base, "OrtGetApiBase");
    auto library = std::make_unique<Library>();
    library->path = path;
    library->version = base()->GetVersionString();
    library->api = base()->GetApi(ORT_API_VERSION);
    if (!library->api)
        throw Error(VM_ERROR_UNAVAILABLE,
                    path + " is ONNX Runtime " + library->version +
                        ", and this libvmruntime was built with the headers of 1." +
                        std::to_string(ORT_API_VERSION) + "; install that version or a newer one");
    library->check(library->api->CreateEnvWithCustomLogger(say_nothing, nullptr,
                                                           ORT_LOGGING_LEVEL_FATAL, "vmruntime",
                                                           &library->environment),
                   "start");
    library->check(library->api->DisableTelemetryEvents(library->environment), "start");
    return library;
}

}  // namespace

void Library::check(OrtStatus *status, const char *doing) const {
    if (!status) return;
    std::string text = api->GetErrorMessage(status);
    api->ReleaseStatus(status);
    for (char &letter : text)
        if (letter == '\n' || letter == '\r') letter = ' ';
    throw Error(VM_ERROR_ENGINE, std::string("ONNX Runtime cannot ") + doing + ": " + text);
}

const Library &load_library(const std::string &given) {
    static std::mutex mutex;
    // Never destroyed: engines may be closed while the process ends.
    static auto &loaded = *new std::map<std::string, std::unique_ptr<Library>>();
    const std::lock_guard<std::mutex> lock(mutex);
    std::string path = given;
    const char *wished = std::getenv("VM_ONNXRUNTIME_LIBRARY");
    if (path.empty() && wished) path = wished;
    if (path.empty()) path = find_library("onnxruntime", "onnxruntime/capi");
    if (path.empty())
        throw Error(VM_ERROR_UNAVAILABLE,
                    "ONNX Runtime's libonnxruntime.so is nowhere to be found; install it (pip "
                    "install onnxruntime has it) and set VM_ONNXRUNTIME_LIBRARY to that file");
    std::unique_ptr<Library> &library = loaded[path];
    if (!library) library = load(path);
    return *library;
}

}  // namespace vm::onnxruntime
