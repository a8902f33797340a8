// Plans of TensorRT as files; see vmruntime/plan_file.py.
#pragma once

#include <string>
#include <string_view>

namespace vm {

// Whether a file's bytes begin as a plan does.
bool is_plan(std::string_view content);

// The manifest's JSON, which a plan keeps as its network's name. Needs no library and no GPU.
// Throws Error (ARTIFACT): incomplete, or without a manifest.
std::string read_plan_manifest(std::string_view plan);

}  // namespace vm
