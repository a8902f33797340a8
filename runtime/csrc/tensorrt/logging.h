// Errors for TensorRT's logger, where TensorRT has given one. Never throws.
#pragma once

#include <NvInferRuntime.h>

namespace vm {

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// The two texts with a space between.
void log_error(const char* fact, const char* detail = "") noexcept;

}  // namespace vm
