// libcuda.so.1 without a GPU: what `vmruntime.cuda` calls of CUDA's driver, on host memory.
//
// cuda-bindings loads it in place of the driver, so that our calls go through the real bindings. What
// is asynchronous on a GPU is put off as long as the driver may: copies and launches run when someone
// waits for them, so that memory that is reused too early shows. Launches go to the kernels' source
// on the CPU (tests/emulated_device.py). Calls without a current context are refused.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum { OK = 0, INVALID = 1, MEMORY = 2, NO_CONTEXT = 201, NOT_FOUND = 500, CAPTURING = 900 };

using Launch = void (*)(int, const unsigned*, const unsigned*, void**);
using Parameters = int (*)(int, int*);

std::mutex mutex;
std::deque<std::function<void()>> stream;
std::map<std::uintptr_t, std::size_t> memory;
std::map<std::uintptr_t, std::size_t> registered;
std::map<std::string, int> kernels;
std::map<std::string, std::pair<int, int>> failures;  // calls still to go, code
Launch launch;
Parameters parameters;
std::size_t limit = std::size_t{1} << 30, used = 0;
thread_local int contexts = 0;
int retained = 0, driver_version = 13000, devices = 1;
bool created_stream = false, capturing = false;

using Graph = std::deque<std::function<void()>>;
int graphs = 0;

void flush() {
    while (!stream.empty()) {
        auto work = stream.front();
        stream.pop_front();
        work();
    }
}

int begin(const char* name, bool needs_context = true) {
    auto found = failures.find(name);
    if (found != failures.end() && found->second.first-- == 0) {
        const int code = found->second.second;
        failures.erase(found);
        return code;
    }
    return needs_context && contexts == 0 ? NO_CONTEXT : OK;
}

#define BEGIN_ANYWHERE()                     \
    std::lock_guard<std::mutex> lock(mutex); \
    if (const int code = begin(__func__, false)) return code
#define BEGIN()                              \
    std::lock_guard<std::mutex> lock(mutex); \
    if (const int code = begin(__func__)) return code

}  // namespace

// For the tests.
API void fake_kernels(Launch l, Parameters p, int count, const char** names) {
    launch = l;
    parameters = p;
    for (int i = 0; i < count; ++i) kernels[names[i]] = i + 1;
}
API void fake_failure(const char* name, int after, int code) { failures[name] = {after, code}; }
API void fake_machine(int version, int count, std::size_t bytes) {
    driver_version = version;
    devices = count;
    limit = bytes;
}
API std::size_t fake_used() { return used; }
API int fake_left() { return retained + static_cast<int>(registered.size()) + created_stream + contexts +
           graphs; }

API int cuInit(unsigned) { return begin(__func__, false); }
API int cuDriverGetVersion(int* version) { return *version = driver_version, 0; }
API int cuDeviceGetCount(int* count) { return *count = devices, devices ? OK : 100; }
API int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, begin(__func__, false); }
API int cuDeviceGetName(char* name, int length, int) {
    return std::strncpy(name, "Fake GPU", length), OK;
}
API int cuDeviceTotalMem_v2(std::size_t* bytes, int) { return *bytes = limit, OK; }
API int cuDeviceGetAttribute(int* value, int attribute, int) {
    return *value = attribute == 75 ? 9 : 0, OK;
}
API int cuDevicePrimaryCtxRetain(void** context, int) {
    BEGIN_ANYWHERE();
    ++retained;
    return *context = reinterpret_cast<void*>(0x1000), OK;
}
API int cuDevicePrimaryCtxRelease_v2(int) { return --retained, OK; }
API int cuCtxPushCurrent_v2(void*) {
    BEGIN_ANYWHERE();
    return ++contexts, OK;
}
API int cuCtxPopCurrent_v2(void** context) {
    BEGIN();
    --contexts;
    return *context = reinterpret_cast<void*>(0x1000), OK;
}
API int cuStreamCreate(void** created, unsigned) {
    BEGIN();
    created_stream = true;
    return *created = reinterpret_cast<void*>(0x2000), OK;
}
API int cuStreamDestroy_v2(void*) {
    BEGIN();
    created_stream = false;
    return OK;
}
API int cuStreamSynchronize(void*) {
    BEGIN();
    if (capturing) return CAPTURING;
    return flush(), OK;
}
// What is put on the stream while it captures is kept and not done.
API int cuStreamBeginCapture_v2(void*, int) {
    BEGIN();
    flush();
    return capturing = true, OK;
}
API int cuStreamEndCapture(void*, void** graph) {
    BEGIN();
    capturing = false;
    ++graphs;
    *graph = new Graph(std::move(stream));
    stream.clear();
    return OK;
}
API int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
    BEGIN();
    ++graphs;
    return *executable = new Graph(*static_cast<Graph*>(graph)), OK;
}
API int cuGraphLaunch(void* executable, void*) {
    BEGIN();
    for (auto& work : *static_cast<Graph*>(executable)) stream.push_back(work);
    return OK;
}
API int cuGraphDestroy(void* graph) {
    BEGIN();
    --graphs;
    return delete static_cast<Graph*>(graph), OK;
}
API int cuGraphExecDestroy(void* executable) {
    BEGIN();
    flush();
    --graphs;
    return delete static_cast<Graph*>(executable), OK;
}
API int cuEventCreate(void** event, unsigned) {
    BEGIN();
    return *event = reinterpret_cast<void*>(0x3000), OK;
}
API int cuEventDestroy_v2(void*) { return begin(__func__); }
API int cuEventRecord(void*, void*) { return begin(__func__); }
API int cuEventSynchronize(void*) {
    BEGIN();
    return flush(), OK;
}
API int cuMemAlloc_v2(std::uintptr_t* address, std::size_t bytes) {
    BEGIN();
    if (used + bytes > limit) return MEMORY;
    void* piece = nullptr;
    if (posix_memalign(&piece, 256, (bytes + 255) / 256 * 256)) return MEMORY;
    std::memset(piece, 0xff, bytes);
    used += bytes;
    *address = reinterpret_cast<std::uintptr_t>(piece);
    memory[*address] = bytes;
    return OK;
}
API int cuMemFree_v2(std::uintptr_t address) {
    BEGIN();
    flush();
    if (!memory.count(address)) return INVALID;
    used -= memory[address];
    memory.erase(address);
    std::free(reinterpret_cast<void*>(address));
    return OK;
}
API int cuMemcpyHtoDAsync_v2(std::uintptr_t to, const void* from, std::size_t bytes, void*) {
    BEGIN();
    stream.push_back([=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
    return OK;
}
API int cuMemcpyDtoHAsync_v2(void* to, std::uintptr_t from, std::size_t bytes, void*) {
    BEGIN();
    stream.push_back([=] { std::memcpy(to, reinterpret_cast<const void*>(from), bytes); });
    return OK;
}
API int cuMemsetD8Async(std::uintptr_t to, unsigned char value, std::size_t bytes, void*) {
    BEGIN();
    stream.push_back([=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
    return OK;
}
API int cuMemHostRegister_v2(void* address, std::size_t bytes, unsigned) {
    BEGIN();
    registered[reinterpret_cast<std::uintptr_t>(address)] = bytes;
    return OK;
}
API int cuMemHostUnregister(void* address) {
    BEGIN();
    return registered.erase(reinterpret_cast<std::uintptr_t>(address)) ? OK : INVALID;
}
API int cuModuleLoadData(void** module, const void* image) {
    BEGIN();
    if (std::memcmp(image, "\x7f" "ELF", 4)) return 200;  // a cubin is an ELF file
    return *module = reinterpret_cast<void*>(0x4000), OK;
}
API int cuModuleUnload(void*) { return begin(__func__); }
API int cuModuleGetFunction(void** function, void*, const char* name) {
    BEGIN();
    if (!kernels.count(name)) return NOT_FOUND;
    return *function = reinterpret_cast<void*>(std::uintptr_t(kernels[name])), OK;
}
API int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                       unsigned by, unsigned bz, unsigned, void*, void** arguments, void**) {
    BEGIN();
    const int number = static_cast<int>(reinterpret_cast<std::uintptr_t>(function)) - 1;
    int sizes[64];
    const int count = parameters(number, sizes);
    // As the driver does: the values are copied here, the arrays read when the kernel runs.
    std::vector<std::vector<char>> values;
    for (int i = 0; i < count; ++i) {
        const char* value = static_cast<const char*>(arguments[i]);
        values.emplace_back(value, value + sizes[i]);
    }
    stream.push_back([=]() mutable {
        std::vector<void*> pointers;
        for (auto& value : values) pointers.push_back(value.data());
        const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
        launch(number, grid, block, pointers.data());
    });
    return OK;
}

// What has a newer form is asked for by its first name.
API int cuGetProcAddress_v2(const char* symbol, void** function, int, std::uint64_t, int* status) {
#define FUNCTION(name, is) {name, reinterpret_cast<void*>(is)}
    static const std::map<std::string, void*> functions = {
        FUNCTION("cuInit", cuInit),
        FUNCTION("cuDriverGetVersion", cuDriverGetVersion),
        FUNCTION("cuDeviceGet", cuDeviceGet),
        FUNCTION("cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain),
        FUNCTION("cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease_v2),
        FUNCTION("cuCtxPushCurrent", cuCtxPushCurrent_v2),
        FUNCTION("cuCtxPopCurrent", cuCtxPopCurrent_v2),
        FUNCTION("cuStreamCreate", cuStreamCreate),
        FUNCTION("cuStreamDestroy", cuStreamDestroy_v2),
        FUNCTION("cuStreamSynchronize", cuStreamSynchronize),
        FUNCTION("cuStreamBeginCapture", cuStreamBeginCapture_v2),
        FUNCTION("cuStreamEndCapture", cuStreamEndCapture),
        FUNCTION("cuGraphInstantiateWithFlags", cuGraphInstantiateWithFlags),
        FUNCTION("cuGraphLaunch", cuGraphLaunch),
        FUNCTION("cuGraphDestroy", cuGraphDestroy),
        FUNCTION("cuGraphExecDestroy", cuGraphExecDestroy),
        FUNCTION("cuEventCreate", cuEventCreate),
        FUNCTION("cuEventDestroy", cuEventDestroy_v2),
        FUNCTION("cuEventRecord", cuEventRecord),
        FUNCTION("cuEventSynchronize", cuEventSynchronize),
        FUNCTION("cuMemAlloc", cuMemAlloc_v2),
        FUNCTION("cuMemFree", cuMemFree_v2),
        FUNCTION("cuMemcpyHtoDAsync", cuMemcpyHtoDAsync_v2),
        FUNCTION("cuMemcpyDtoHAsync", cuMemcpyDtoHAsync_v2),
        FUNCTION("cuMemsetD8Async", cuMemsetD8Async),
        FUNCTION("cuMemHostRegister", cuMemHostRegister_v2),
        FUNCTION("cuMemHostUnregister", cuMemHostUnregister),
        FUNCTION("cuModuleLoadData", cuModuleLoadData),
        FUNCTION("cuModuleUnload", cuModuleUnload),
        FUNCTION("cuModuleGetFunction", cuModuleGetFunction),
        FUNCTION("cuLaunchKernel", cuLaunchKernel),
    };
    const auto found = functions.find(symbol);
    *function = found == functions.end() ? nullptr : found->second;
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
