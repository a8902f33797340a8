// Memory for intermediate results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vm {

// An array of plain numbers whose values are undefined until they are written. Aligned to the
// widest vectors. Large ones ask for huge pages, which saves most of the cost of fresh memory.
template <typename T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(size_t count) : size_(count) {
        constexpr size_t PAGE = size_t(1) << 21;
        const size_t bytes = count * sizeof(T);
        const size_t alignment = bytes >= 2 * PAGE ? PAGE : 64;
        const size_t whole = (bytes + alignment - 1) / alignment * alignment;
        if (count > SIZE_MAX / sizeof(T) / 2) throw std::bad_alloc();
        data_.reset(static_cast<T *>(std::aligned_alloc(alignment, whole ? whole : alignment)));
        if (!data_) throw std::bad_alloc();
#if defined(__linux__)
        if (alignment == PAGE) madvise(data_.get(), whole, MADV_HUGEPAGE);
#endif
    }
    T *data() { return data_.get(); }
    const T *data() const { return data_.get(); }
    size_t size() const { return size_; }
    T &operator[](size_t i) { return data_.get()[i]; }
    const T &operator[](size_t i) const { return data_.get()[i]; }
    explicit operator bool() const { return static_cast<bool>(data_); }

private:
    struct Free {
        void operator()(T *data) const { std::free(data); }
    };
    std::unique_ptr<T[], Free> data_;
    size_t size_ = 0;
};

}  // namespace vm
