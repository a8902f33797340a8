// vm_session_... and vm_register.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "cpu/check.h"
#include "cpu/error.h"
#include "cpu/threads.h"
#include "info.h"
#include "session/result.h"
#include "session/session.h"

struct vm_session {
    vm::Session session;

    vm_session(std::string model, const vm::EngineOptions &options)
        : session(std::move(model), options) {}
};

namespace {

std::string text_or(const char *text, const char *otherwise) {
    return text ? std::string(text) : std::string(otherwise);
}

std::unique_ptr<vm_session> opened(std::string model, const vm_session_options &options) {
    vm::EngineOptions engine;
    engine.name = text_or(options.engine, "auto");
    engine.library = text_or(options.engine_library, "");
    engine.precision = text_or(options.precision, "");
    engine.cache_dir = text_or(options.cache_dir, "");
    engine.threads = vm::thread_count(options.threads);
    engine.plain = options.plain != 0;
    return std::make_unique<vm_session>(std::move(model), engine);
}

std::string read_file(const std::string &path) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"),
                                                                &std::fclose);
    std::string bytes;
    char part[1 << 16];
    while (file) {
        const size_t count = std::fread(part, 1, sizeof part, file.get());
        bytes.append(part, count);
        if (count < sizeof part) break;
    }
    if (!file || std::ferror(file.get()) || bytes.empty())
        throw vm::Error(VM_ERROR_ARTIFACT,
                        path + ": cannot be read, or is empty; give a model.onnx that vm-export "
                               "made");
    return bytes;
}

}  // namespace

vm_status vm_session_open(const char *path, const vm_session_options *options,
                          vm_session **session) {
    return vm::guarded(__func__, [&] {
        vm::require(session, "session");
        *session = nullptr;
        vm::require(path, "path");
        const auto how = vm::options_from(options, "options");
        *session = opened(read_file(path), how).release();
    });
}

vm_status vm_session_open_memory(const void *model, size_t size,
                                 const vm_session_options *options, vm_session **session) {
    return vm::guarded(__func__, [&] {
        vm::require(session, "session");
        *session = nullptr;
        vm::require(model, "model");
        const auto how = vm::options_from(options, "options");
        *session = opened(std::string(static_cast<const char *>(model), size), how).release();
    });
}

vm_status vm_session_describe(const vm_session *session, vm_session_info *info) {
    return vm::guarded(__func__, [&] {
        vm::require(session, "session");
        const vm::Manifest &manifest = session->session.manifest();
        vm_session_info full = {};
        const vm::EngineFacts &engine = session->session.engine();
        full.engine = engine.name.c_str();
        full.engine_version = engine.version.c_str();
        full.precision = engine.precision.c_str();
        full.manifest = manifest.json.c_str();
        full.orientation = manifest.orientation.c_str();
        full.intensity = manifest.intensity.c_str();
        for (int axis = 0; axis < 3; ++axis) {
            full.shape[axis] = manifest.shape[axis];
            full.voxel_size[axis] = manifest.voxel_size[axis];
        }
        full.stride = manifest.stride;
        full.threads = session->session.threads();
        full.diffeomorphic = manifest.diffeomorphic;
        full.int_steps = manifest.int_steps;
        vm::fill_info(info, full, "info");
    });
}

void vm_session_free(vm_session *session) { delete session; }

vm_status vm_register(vm_session *session, const vm_image *moving, const vm_image *fixed,
                      const vm_register_options *options, vm_result **result) {
    return vm::guarded(__func__, [&] {
        vm::require(result, "result");
        *result = nullptr;
        vm::require(session, "session");
        const auto how = vm::options_from(options, "options");
        auto made = std::make_unique<vm_result>();
        made->registration = vm::register_pair(session->session, moving, fixed, how);
        *result = made.release();
    });
}
