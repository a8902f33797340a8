// The U-Net in ONNX Runtime, on the CPU.
#pragma once

#include "engines/engine.h"

namespace vm {

// Throws Error (UNSUPPORTED) in a build without ONNX Runtime's headers (-DONNXRUNTIME_ROOT).
std::unique_ptr<Engine> open_onnxruntime(const std::string &model, const EngineOptions &options);

}  // namespace vm
