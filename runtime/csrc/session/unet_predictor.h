// A model.onnx: its U-Net in an engine, its tail in our kernels.
#pragma once

#include <string>

#include "session/predictor.h"

namespace vm {

// Throws Error: ARTIFACT, UNSUPPORTED, or what open_engine throws.
std::unique_ptr<Predictor> open_unet(std::string model, const EngineOptions &options);

}  // namespace vm
