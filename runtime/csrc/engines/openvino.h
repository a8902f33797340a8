// The U-Net in OpenVINO, on the CPU.
#pragma once

#include "engines/engine.h"

namespace vm {

std::unique_ptr<Engine> open_openvino(const std::string &model, const EngineOptions &options);

}  // namespace vm
