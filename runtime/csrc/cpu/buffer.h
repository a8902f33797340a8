// Memory for intermediate results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace vm {

constexpr size_t BLOCK_PAGE = size_t(1) << 21;

// Large pieces of memory, multiples of BLOCK_PAGE and aligned to it, in huge pages where there are any.
// Some (64 MB) are kept when they are given back: fresh ones cost more than what is computed in them.
// Null where memory is short.
void *take_block(size_t bytes);
void give_block(void *data, size_t bytes);

// An array of plain numbers whose values are undefined until they are written. Aligned to the
// widest vectors.
template <typename T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(size_t count) : size_(count) {
        if (count > SIZE_MAX / sizeof(T) / 2) throw std::bad_alloc();
        const size_t bytes = count * sizeof(T);
        const bool large = bytes >= 2 * BLOCK_PAGE;
        const size_t alignment = large ? BLOCK_PAGE : 64;
        const size_t whole = (bytes + alignment - 1) / alignment * alignment;
        data_ = {static_cast<T *>(large ? take_block(whole)
                                        : std::aligned_alloc(alignment, whole ? whole : alignment)),
                 Free{large ? whole : 0}};
        if (!data_) throw std::bad_alloc();
    }
    T *data() { return data_.get(); }
    const T *data() const { return data_.get(); }
    size_t size() const { return size_; }
    T &operator[](size_t i) { return data_.get()[i]; }
    const T &operator[](size_t i) const { return data_.get()[i]; }
    explicit operator bool() const { return static_cast<bool>(data_); }

private:
    struct Free {
        size_t block = 0;  // its bytes, where it is one of take_block
        void operator()(T *data) const {
            if (block) {
                give_block(data, block);
            } else {
                std::free(data);
            }
        }
    };
    std::unique_ptr<T[], Free> data_;
    size_t size_ = 0;
};

}  // namespace vm
