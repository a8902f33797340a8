// Reading structs of callers that were compiled with another version of the header.
#pragma once

#include <cstring>
#include <string>

#include "error.h"

namespace vm {

// A copy of a struct that begins with struct_size, of which the caller filled `struct_size` bytes;
// the rest is 0. Throws where that is less than `least`, the size in version 1.
template <typename Struct>
Struct copied(const Struct *given, size_t least, const char *name) {
    size_t size = 0;
    std::memcpy(&size, given, sizeof size);
    if (size < least || size > 65536) {
        throw argument_error(std::string(name) + ".struct_size is " + std::to_string(size) +
                             "; set it to sizeof of the struct");
    }
    Struct copy{};
    std::memcpy(static_cast<void *>(&copy), given, size < sizeof copy ? size : sizeof copy);
    return copy;
}

}  // namespace vm
