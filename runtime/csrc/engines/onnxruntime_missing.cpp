// Built in place of onnxruntime.cpp where ONNX Runtime's headers are not given.
#include "cpu/error.h"
#include "engines/onnxruntime.h"

namespace vm {

std::unique_ptr<Engine> open_onnxruntime(const std::string &, const EngineOptions &) {
    throw Error(VM_ERROR_UNSUPPORTED,
                "this libvmruntime was built without engine \"onnxruntime\"; use openvino, or "
                "build it with cmake -DONNXRUNTIME_ROOT=FOLDER, which has "
                "include/onnxruntime_c_api.h");
}

}  // namespace vm
