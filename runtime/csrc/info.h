// Info structs of programs that were compiled with another version of the header.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "cpu/check.h"
#include "cpu/structs.h"

namespace vm {

// Options as the caller gave them; all 0 for NULL. Every option struct may have come with no more
// than its size: whatever is missing is 0.
template <class Struct>
Struct options_from(const Struct *given, const char *name) {
    return given ? copied(given, sizeof given->struct_size, name) : Struct{};
}

// Fill in the members that the caller knows; its struct_size stays.
template <class Struct>
void fill_info(Struct *given, const Struct &info, const char *name) {
    require(given, name);
    const std::size_t size = copied(given, sizeof given->struct_size, name).struct_size;
    std::memcpy(static_cast<void *>(given), &info, std::min(size, sizeof info));
    given->struct_size = size;
}

}  // namespace vm
