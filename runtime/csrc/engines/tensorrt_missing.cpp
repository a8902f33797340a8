// Built in place of tensorrt.cpp where TensorRT's headers are not given.
#include "cpu/error.h"
#include "engines/tensorrt.h"

namespace vm {

std::unique_ptr<PlanEngine> open_tensorrt(const std::string &, const BuiltEngine &,
                                          const EngineOptions &) {
    throw Error(VM_ERROR_UNSUPPORTED,
                "this libvmruntime was built without engine \"tensorrt\"; build it with cmake "
                "-DTENSORRT_ROOT=FOLDER, which has include/NvInferRuntime.h, or use the plan's "
                "model.onnx");
}

}  // namespace vm
