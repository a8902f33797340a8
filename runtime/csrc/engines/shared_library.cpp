#include "engines/shared_library.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace vm {

#if defined(_WIN32)

SharedLibrary::SharedLibrary(const std::string &path) : path_(path) {
    handle_ = LoadLibraryExA(path.c_str(), nullptr, LOAD_WITH_ALTERED_SEARCH_PATH);
    if (!handle_)
        throw Error(VM_ERROR_UNAVAILABLE, path + " cannot be loaded (error " +
                                              std::to_string(GetLastError()) + ")");
}

void *SharedLibrary::symbol(const char *name) const {
    return reinterpret_cast<void *>(GetProcAddress(static_cast<HMODULE>(handle_), name));
}

#else

SharedLibrary::SharedLibrary(const std::string &path) : path_(path) {
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle_) {
        const char *why = dlerror();
        throw Error(VM_ERROR_UNAVAILABLE,
                    path + " cannot be loaded: " + (why ? why : "no reason is known"));
    }
}

void *SharedLibrary::symbol(const char *name) const { return dlsym(handle_, name); }

#endif

}  // namespace vm
