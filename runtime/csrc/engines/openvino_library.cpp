#include "engines/openvino_library.h"

#include <cstdlib>
#include <map>
#include <mutex>

#include "cpu/error.h"
#include "engines/find_library.h"
#include "engines/shared_library.h"

namespace vm::openvino {

namespace {

std::unique_ptr<Library> load(const std::string &path) {
    const SharedLibrary file(path);
    auto library = std::make_unique<Library>();
    library->path = path;
    const auto take = [&file](auto &function, const char *name) { file.take(function, name); };
    take(library->get_openvino_version, "ov_get_openvino_version");
    take(library->version_free, "ov_version_free");
    take(library->get_error_info, "ov_get_error_info");
    take(library->free, "ov_free");
    take(library->core_create, "ov_core_create");
    take(library->core_free, "ov_core_free");
    take(library->core_read_model_from_memory_buffer, "ov_core_read_model_from_memory_buffer");
    take(library->core_compile_model, "ov_core_compile_model");
    take(library->model_free, "ov_model_free");
    take(library->compiled_model_create_infer_request, "ov_compiled_model_create_infer_request");
    take(library->compiled_model_get_property, "ov_compiled_model_get_property");
    take(library->compiled_model_input_by_name, "ov_compiled_model_input_by_name");
    take(library->compiled_model_free, "ov_compiled_model_free");
    take(library->port_get_element_type, "ov_port_get_element_type");
    take(library->output_const_port_free, "ov_output_const_port_free");
    take(library->tensor_create_from_host_ptr, "ov_tensor_create_from_host_ptr");
    take(library->tensor_get_byte_size, "ov_tensor_get_byte_size");
    take(library->tensor_free, "ov_tensor_free");
    take(library->infer_request_set_tensor, "ov_infer_request_set_tensor");
    take(library->infer_request_start_async, "ov_infer_request_start_async");
    take(library->infer_request_wait, "ov_infer_request_wait");
    take(library->infer_request_wait_for, "ov_infer_request_wait_for");
    take(library->infer_request_cancel, "ov_infer_request_cancel");
    take(library->infer_request_free, "ov_infer_request_free");
    file.take_if_there(library->get_last_err_msg, "ov_get_last_err_msg");
    return library;
}

}  // namespace

void Library::check(Status status, const char *doing) const {
    if (status == 0) return;
    const char *last = get_last_err_msg ? get_last_err_msg() : nullptr;
    std::string text = last && *last ? last : get_error_info(status);
    if (last) this->free(last);
    // The cause stands in the last line that says anything, below where it was noticed.
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    const std::size_t line = text.rfind('\n');
    if (line != std::string::npos) text.erase(0, line + 1);
    throw Error(VM_ERROR_ENGINE, std::string("OpenVINO cannot ") + doing + ": " + text);
}

const Library &load_library(const std::string &given) {
    static std::mutex mutex;
    // Never destroyed: engines may be closed while the process ends.
    static auto &loaded = *new std::map<std::string, std::unique_ptr<Library>>();
    const std::lock_guard<std::mutex> lock(mutex);
    std::string path = given;
    const char *wished = std::getenv("VM_OPENVINO_LIBRARY");
    if (path.empty() && wished) path = wished;
    if (path.empty()) path = find_library("openvino_c", "openvino/libs");
    if (path.empty())
        throw Error(VM_ERROR_UNAVAILABLE,
                    "OpenVINO's libopenvino_c.so is nowhere to be found; install it (pip install "
                    "openvino has it) and set VM_OPENVINO_LIBRARY to that file");
    std::unique_ptr<Library> &library = loaded[path];
    if (!library) library = load(path);
    return *library;
}

}  // namespace vm::openvino
