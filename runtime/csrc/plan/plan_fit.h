// Whether a plan runs with what is here.
#pragma once

#include <string>

#include "onnx/manifest.h"

namespace vm {

// Throws Error (UNAVAILABLE), which names what the plan was built for and what is here. Versions
// must be the same; a version-compatible plan also runs on later ones of the same major version,
// and one of TensorRT 10 on 11. The compute capability must be one of the plan's; with a
// hardware-compatible plan it may be a later one.
void check_fit(const BuiltEngine &built, const std::string &version, const std::string &gpu,
               int compute_capability);

}  // namespace vm
