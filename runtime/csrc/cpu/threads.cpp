#include "threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "error.h"

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace vm {

namespace {

constexpr int MOST_THREADS = 256;

struct Job {
    const std::function<void(int64_t)> *body;
    int64_t count;
    std::atomic<int64_t> next{0};
    int active = 0;  // workers inside; guarded by the pool's mutex
    std::exception_ptr failure;
    std::mutex failing;

    void work() noexcept {
        for (;;) {
            const int64_t task = next.fetch_add(1, std::memory_order_relaxed);
            if (task >= count) return;
            try {
                (*body)(task);
            } catch (...) {
                std::lock_guard<std::mutex> lock(failing);
                if (!failure) failure = std::current_exception();
                next.store(count);
            }
        }
    }
};

class Pool {
public:
    void run(int64_t count, int threads, const std::function<void(int64_t)> &body) {
        auto job = std::make_shared<Job>();
        job->body = &body;
        job->count = count;
        const int helpers = static_cast<int>(std::min<int64_t>(threads, count)) - 1;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!closed_) {
                grow(helpers);
                for (int i = 0; i < helpers; ++i) waiting_.push_back(job);
            }
        }
        wake_.notify_all();
        job->work();
        std::unique_lock<std::mutex> lock(mutex_);
        // Helpers that have not begun need not begin.
        waiting_.erase(std::remove(waiting_.begin(), waiting_.end(), job), waiting_.end());
        done_.wait(lock, [&] { return job->active == 0; });
        lock.unlock();
        if (job->failure) std::rethrow_exception(job->failure);
    }

    // Ends the threads; later calls run on their calling thread alone.
    void close() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            closed_ = true;
        }
        wake_.notify_all();
        for (auto &worker : workers_) worker.join();
        workers_.clear();
    }

private:
    void grow(int helpers) {
        while (static_cast<int>(workers_.size()) < helpers) {
            try {
                workers_.emplace_back([this] { serve(); });
            } catch (const std::system_error &) {
                return;  // the system gives no more threads: fewer do the same work
            }
        }
    }

    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
            if (waiting_.empty()) return;
            const std::shared_ptr<Job> job = waiting_.front();
            waiting_.pop_front();
            ++job->active;
            lock.unlock();
            job->work();
            lock.lock();
            if (--job->active == 0) done_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::deque<std::shared_ptr<Job>> waiting_;
    std::vector<std::thread> workers_;
    bool closed_ = false;
};

// Never freed: a thread may still be inside when the process ends.
std::atomic<Pool *> the_pool{nullptr};

// When the library is unloaded or the process ends, no thread may be left in its code.
struct Closer {
    ~Closer() {
        if (Pool *pool = the_pool.load()) pool->close();
    }
} closer;

Pool &pool() {
    if (Pool *there = the_pool.load()) return *there;
    auto made = std::make_unique<Pool>();
    Pool *expected = nullptr;
    if (!the_pool.compare_exchange_strong(expected, made.get())) return *expected;
#if !defined(_WIN32)
    // A forked process has none of the threads, and perhaps a locked mutex: it starts anew.
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); }); });
#endif
    return *made.release();
}

}  // namespace

void parallel_for(int64_t count, int threads, const std::function<void(int64_t)> &body) {
    if (threads <= 1 || count <= 1) {
        for (int64_t task = 0; task < count; ++task) body(task);
        return;
    }
    pool().run(count, threads, body);
}

void parallel_ranges(int64_t count, int64_t grain, int threads,
                     const std::function<void(int64_t, int64_t)> &body) {
    if (count <= 0) return;
    const int64_t parts = std::max<int64_t>(1, (count + grain - 1) / std::max<int64_t>(grain, 1));
    parallel_for(parts, threads, [&](int64_t part) {
        body(count * part / parts, count * (part + 1) / parts);
    });
}

int thread_count(int32_t threads) {
    if (threads < 0) {
        throw argument_error("threads is " + std::to_string(threads) +
                             "; give their number, or 0 for all processors");
    }
    if (threads > 0) return std::min<int>(threads, MOST_THREADS);
#if defined(__linux__)
    // What this process may use, which is less than what the machine has inside a container.
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        return std::clamp(CPU_COUNT(&allowed), 1, MOST_THREADS);
    }
#endif
    return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, MOST_THREADS);
}

}  // namespace vm
