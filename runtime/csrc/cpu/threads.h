// A pool of threads that belongs to the library.
#pragma once

#include <cstdint>
#include <functional>

namespace vm {

// Calls body(0) ... body(count - 1), each once, on at most `threads` threads of which the calling
// one is one; returns when all are done. An exception in a task is thrown here, and tasks that had
// not begun are left out. May be called from several threads at once, and from within a task.
void parallel_for(int64_t count, int threads, const std::function<void(int64_t)> &body);

// Calls body(first, last) for ranges that cover 0 ... count, each `grain` long or a bit less.
void parallel_ranges(int64_t count, int64_t grain, int threads,
                     const std::function<void(int64_t, int64_t)> &body);

// The number that a caller's `threads` stands for. Throws Error where it is negative.
int thread_count(int32_t threads);

}  // namespace vm
