// CUDA's driver, loaded at run time: neither its headers nor its library are needed to build, and a
// machine without a GPU is told from one that has it before anything else is loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

struct CUctx_st;
struct CUstream_st;

namespace vm::cuda {

using Result = int;  // 0: done
constexpr Result not_ready = 600, out_of_memory = 2;

struct Driver {
    Result (*init)(unsigned);
    Result (*device_get_count)(int *);
    Result (*device_get)(int *, int);
    Result (*device_get_name)(char *, int, int);
    Result (*device_get_attribute)(int *, int, int);
    Result (*primary_context_retain)(CUctx_st **, int);
    Result (*primary_context_release)(int);
    Result (*context_push)(CUctx_st *);
    Result (*context_pop)(CUctx_st **);
    Result (*stream_create)(CUstream_st **, unsigned);
    Result (*stream_destroy)(CUstream_st *);
    Result (*stream_synchronize)(CUstream_st *);
    Result (*stream_query)(CUstream_st *);
    Result (*memory_allocate)(std::uintptr_t *, std::size_t);
    Result (*memory_free)(std::uintptr_t);
    Result (*copy_up)(std::uintptr_t, const void *, std::size_t, CUstream_st *);
    Result (*copy_down)(void *, std::uintptr_t, std::size_t, CUstream_st *);
    Result (*get_error_string)(Result, const char **);  // nullptr where it is missing

    // Throws Error (ENGINE, or MEMORY) with the driver's own words where a call did not succeed.
    void check(Result result, const char *doing) const;
};

// Loaded and started, with at least one GPU. Throws Error (UNAVAILABLE), which says what is
// missing.
const Driver &load_driver();

// The first GPU: its primary context, which engines in the same process share, and a stream.
class Device {
public:
    Device();
    ~Device();
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    const Driver &driver() const { return driver_; }
    const std::string &name() const { return name_; }
    int compute_capability() const { return compute_capability_; }  // 86 for 8.6
    CUstream_st *stream() const { return stream_; }

    // Makes the device current in this thread.
    class Current {
    public:
        explicit Current(const Device &device);
        ~Current();
        Current(const Current &) = delete;
        Current &operator=(const Current &) = delete;

    private:
        const Driver &driver_;
    };

private:
    const Driver &driver_;
    std::string name_;
    int device_ = 0, compute_capability_ = 0;
    CUctx_st *context_ = nullptr;
    CUstream_st *stream_ = nullptr;
};

// Memory of a device, kept and used again. To be used and destroyed with the device current.
class Memory {
public:
    explicit Memory(const Device &device) : driver_(device.driver()) {}
    Memory(Memory &&other) noexcept : driver_(other.driver_) { swap(other); }
    Memory &operator=(Memory &&) = delete;
    ~Memory();

    // At least that many bytes; what they held is lost where there were fewer.
    void *hold(std::size_t bytes);
    std::uintptr_t address() const { return address_; }

private:
    void swap(Memory &other) noexcept;

    const Driver &driver_;
    std::uintptr_t address_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace vm::cuda
