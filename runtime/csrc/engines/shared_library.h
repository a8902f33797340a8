// A shared library that is loaded at run time.
#pragma once

#include <string>

#include "cpu/error.h"

namespace vm {

class SharedLibrary {
public:
    // Throws Error (UNAVAILABLE). The library stays loaded until the process ends.
    explicit SharedLibrary(const std::string &path);

    // Throws Error (UNAVAILABLE) where the library has no such function.
    template <class Function>
    void take(Function &function, const char *name) const {
        take_if_there(function, name);
        if (!function)
            throw Error(VM_ERROR_UNAVAILABLE,
                        path_ + " has no function " + name + "; another version is needed");
    }

    // nullptr where the library has no such function.
    template <class Function>
    void take_if_there(Function &function, const char *name) const {
        function = reinterpret_cast<Function>(symbol(name));
    }

private:
    void *symbol(const char *name) const;

    std::string path_;
    void *handle_;
};

}  // namespace vm
