// A model.plan: the whole model in TensorRT.
#pragma once

#include <string>

#include "session/predictor.h"

namespace vm {

// Throws Error: ARTIFACT, UNSUPPORTED, or what open_tensorrt throws.
std::unique_ptr<Predictor> open_plan(const std::string &plan, const EngineOptions &options);

}  // namespace vm
