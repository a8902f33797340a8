/* Linked into tests that are built with sanitizers, so that they can load OpenVINO. */
#define _GNU_SOURCE
#include <dlfcn.h>

/* OpenVINO's threading library loads a part of itself in a way that the sanitizer refuses. */
void *dlopen(const char *path, int flags) {
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return next(path, flags & ~RTLD_DEEPBIND);
}

/* What the engine keeps until the process ends is not ours. */
const char *__lsan_default_suppressions(void) {
    return "leak:libopenvino\nleak:libtbb\nleak:libhwloc\n";
}
