#include "engines/cuda_driver.h"

#include <memory>
#include <mutex>
#include <utility>

#include "cpu/error.h"
#include "engines/shared_library.h"

namespace vm::cuda {

namespace {

#if defined(_WIN32)
constexpr const char *library_name = "nvcuda.dll";
#else
constexpr const char *library_name = "libcuda.so.1";
#endif

constexpr Result no_device = 100;
constexpr int capability_major = 75, capability_minor = 76;  // CU_DEVICE_ATTRIBUTE_...
constexpr unsigned non_blocking = 1;                         // CU_STREAM_NON_BLOCKING

Error unavailable(const std::string &fact) {
    return Error(VM_ERROR_UNAVAILABLE, "a plan needs an NVIDIA GPU, and " + fact +
                                           "; model.onnx, which it was built from, runs on this "
                                           "machine");
}

std::unique_ptr<Driver> load() {
    auto driver = std::make_unique<Driver>();
    try {
        const SharedLibrary file(library_name);
        const auto take = [&file](auto &function, const char *name) { file.take(function, name); };
        take(driver->init, "cuInit");
        take(driver->device_get_count, "cuDeviceGetCount");
        take(driver->device_get, "cuDeviceGet");
        take(driver->device_get_name, "cuDeviceGetName");
        take(driver->device_get_attribute, "cuDeviceGetAttribute");
        take(driver->primary_context_retain, "cuDevicePrimaryCtxRetain");
        take(driver->primary_context_release, "cuDevicePrimaryCtxRelease_v2");
        take(driver->context_push, "cuCtxPushCurrent_v2");
        take(driver->context_pop, "cuCtxPopCurrent_v2");
        take(driver->stream_create, "cuStreamCreate");
        take(driver->stream_destroy, "cuStreamDestroy_v2");
        take(driver->stream_synchronize, "cuStreamSynchronize");
        take(driver->stream_query, "cuStreamQuery");
        take(driver->memory_allocate, "cuMemAlloc_v2");
        take(driver->memory_free, "cuMemFree_v2");
        take(driver->copy_up, "cuMemcpyHtoDAsync_v2");
        take(driver->copy_down, "cuMemcpyDtoHAsync_v2");
        file.take_if_there(driver->get_error_string, "cuGetErrorString");
    } catch (const Error &error) {
        throw unavailable(std::string("there is no driver of one (") + error.what() + ")");
    }
    return driver;
}

}  // namespace

void Driver::check(Result result, const char *doing) const {
    if (result == 0) return;
    const char *text = nullptr;
    if (get_error_string) get_error_string(result, &text);
    throw Error(result == out_of_memory ? VM_ERROR_MEMORY : VM_ERROR_ENGINE,
                std::string("the GPU cannot ") + doing + ": " +
                    (text ? text : "error " + std::to_string(result)));
}

const Driver &load_driver() {
    static std::mutex mutex;
    static Driver *loaded = nullptr;  // stays for good: its threads do
    const std::lock_guard<std::mutex> lock(mutex);
    if (loaded) return *loaded;
    std::unique_ptr<Driver> driver = load();
    int count = 0;
    Result result = driver->init(0);
    if (result == 0) result = driver->device_get_count(&count);
    if (result != 0 && result != no_device)
        throw unavailable("the driver of one failed with error " + std::to_string(result));
    if (count < 1) throw unavailable("the driver sees none (CUDA_VISIBLE_DEVICES may hide it)");
    loaded = driver.release();
    return *loaded;
}

Device::Device() : driver_(load_driver()) {
    char name[256] = {};
    int major = 0, minor = 0;
    driver_.check(driver_.device_get(&device_, 0), "be opened");
    driver_.check(driver_.device_get_name(name, sizeof name - 1, device_), "say its name");
    driver_.check(driver_.device_get_attribute(&major, capability_major, device_), "be asked");
    driver_.check(driver_.device_get_attribute(&minor, capability_minor, device_), "be asked");
    name_ = name;
    compute_capability_ = 10 * major + minor;
    driver_.check(driver_.primary_context_retain(&context_, device_), "be opened");
    try {
        const Current current(*this);
        driver_.check(driver_.stream_create(&stream_, non_blocking), "be opened");
    } catch (...) {
        driver_.primary_context_release(device_);
        throw;
    }
}

Device::~Device() {
    try {
        const Current current(*this);
        driver_.stream_destroy(stream_);
    } catch (const Error &) {  // the GPU is lost, and its streams with it
    }
    driver_.primary_context_release(device_);
}

Device::Current::Current(const Device &device) : driver_(device.driver_) {
    driver_.check(driver_.context_push(device.context_), "be used");
}

Device::Current::~Current() {
    CUctx_st *popped = nullptr;
    driver_.context_pop(&popped);
}

Memory::~Memory() {
    if (address_) driver_.memory_free(address_);
}

void *Memory::hold(std::size_t bytes) {
    if (bytes > bytes_) {
        if (address_) driver_.check(driver_.memory_free(address_), "give memory back");
        address_ = 0;
        bytes_ = 0;
        driver_.check(driver_.memory_allocate(&address_, bytes), "give memory");
        bytes_ = bytes;
    }
    return reinterpret_cast<void *>(address_);
}

void Memory::swap(Memory &other) noexcept {
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
}

}  // namespace vm::cuda
