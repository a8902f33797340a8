// Looking for an engine's library where it is usually installed.
#pragma once

#include <string>

namespace vm {

// Path of lib<name>.so or the newest lib<name>.so.*, or with a version of lib<name>.so.<version>
// (name_version.dll on Windows): beside a library of that engine that the process has loaded
// already, where LD_LIBRARY_PATH says, in the Python environment at hand (`package` is the folder
// in its site-packages), or where the system keeps libraries. Empty where there is none.
std::string find_library(const std::string &name, const std::string &package,
                         const std::string &version = "");

}  // namespace vm
