#include "engines/engine.h"

#include "cpu/error.h"
#include "engines/onnxruntime.h"
#include "engines/openvino.h"

namespace vm {

void check_names(const EngineOptions &options) {
    const auto is_one_of = [](const std::string &name, auto... known) {
        return ((name == known) || ...);
    };
    if (!is_one_of(options.precision, "", "fp32", "bf16", "auto"))
        throw argument_error("precision \"" + options.precision +
                             "\" is unknown; use fp32, bf16 or auto");
    if (!is_one_of(options.name, "auto", "openvino", "onnxruntime", "tensorrt"))
        throw argument_error("engine \"" + options.name +
                             "\" is unknown; use auto, openvino, onnxruntime or tensorrt");
}

onnx::Form unet_form(const EngineOptions &options) {
    // The official model's rewritten U-Net takes onnxruntime 17 GB.
    if (options.name == "onnxruntime") return onnx::Form::float32;
    return options.plain ? onnx::Form::stored : onnx::Form::rewritten;
}

std::unique_ptr<Engine> open_engine(const std::string &model, const EngineOptions &options) {
    if (options.name == "onnxruntime") return open_onnxruntime(model, options);
    if (options.name == "tensorrt")
        throw Error(VM_ERROR_UNSUPPORTED,
                    "tensorrt runs plans, and this is an ONNX model; build a plan of it with "
                    "vm-export --engine, or use engine auto");
    return open_openvino(model, options);
}

}  // namespace vm
