// Blocks of memory that are used again.
#include "buffer.h"

#include <cstdlib>
#include <mutex>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace vm {

namespace {

constexpr size_t MOST_IDLE = size_t(64) << 20;  // bytes

class Blocks {
public:
    ~Blocks() {
        for (Block &block : idle_) std::free(block.data);
    }

    // The smallest idle block that is large enough and not much too large.
    void *take(size_t bytes) {
        const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
        if (!lock.owns_lock()) return nullptr;
        Block *best = nullptr;
        for (Block &block : idle_) {
            const bool fits = block.bytes >= bytes && block.bytes / 2 <= bytes;
            if (fits && (!best || block.bytes < best->bytes)) best = &block;
        }
        return best ? std::exchange(*best, Block{}).data : nullptr;
    }

    bool keep(void *data, size_t bytes) {
        const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
        if (!lock.owns_lock() || bytes > MOST_IDLE) return false;
        size_t all = bytes;
        Block *place = nullptr;
        for (Block &block : idle_) {
            all += block.bytes;
            if (!block.data) place = &block;
        }
        if (!place || all > MOST_IDLE) return false;
        *place = {data, bytes};
        return true;
    }

private:
    struct Block {
        void *data = nullptr;
        size_t bytes = 0;
    };
    std::mutex mutex_;  // only ever tried: a child process may inherit it locked
    Block idle_[8];
};

Blocks &blocks() {
    static Blocks made;
    return made;
}

}  // namespace

void *take_block(size_t bytes) {
    if (void *idle = blocks().take(bytes)) return idle;
    void *data = std::aligned_alloc(BLOCK_PAGE, bytes);
#if defined(__linux__)
    if (data) madvise(data, bytes, MADV_HUGEPAGE);
#endif
    return data;
}

void give_block(void *data, size_t bytes) {
    if (!blocks().keep(data, bytes)) std::free(data);
}

}  // namespace vm
