// Plans in TensorRT.
#pragma once

#include "engines/plan_engine.h"

namespace vm {

// Load a plan that was built for TensorRT. Throws Error: UNSUPPORTED in a build without TensorRT's
// headers (-DTENSORRT_ROOT), UNAVAILABLE without a GPU, without TensorRT or with one that the plan
// was not built for, ENGINE where TensorRT does not take the plan.
std::unique_ptr<PlanEngine> open_tensorrt(const std::string &plan, const BuiltEngine &built,
                                          const EngineOptions &options);

}  // namespace vm
