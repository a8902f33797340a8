// The library's threads: calls from several threads at once, errors of each thread apart, and a
// process that forks after they were started.
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"

#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace {

const int64_t SHAPE[3] = {40, 33, 50};

std::vector<float> velocity() {
    std::vector<float> v(static_cast<size_t>(3 * 40 * 33 * 50));
    for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i % 23) / 8 - 1;
    return v;
}

std::vector<float> integrated(int32_t threads) {
    const auto v = velocity();
    std::vector<float> out(v.size());
    EXPECT_STATUS(vm_integrate(v.data(), SHAPE, 4, out.data(), threads), VM_OK);
    return out;
}

}  // namespace

int main() {
    const auto expected = integrated(1);
    EXPECT(integrated(2) == expected);
    EXPECT(integrated(0) == expected);
    EXPECT(integrated(1000) == expected);

    std::vector<std::thread> callers;
    std::vector<int> fine(6);
    for (size_t i = 0; i < fine.size(); ++i) {
        callers.emplace_back([&, i] {
            for (int repeat = 0; repeat < 5; ++repeat) {
                fine[i] += integrated(static_cast<int32_t>(1 + i % 4)) == expected;
            }
            // Each thread has its own last error.
            const std::string before = vm_last_error();
            const int32_t steps = -1 - static_cast<int32_t>(i);
            const auto status = vm_integrate(expected.data(), SHAPE, steps, nullptr, 1);
            fine[i] += before.empty() && status == VM_ERROR_ARGUMENT;
        });
    }
    for (auto &caller : callers) caller.join();
    for (const int count : fine) EXPECT(count == 6);

#if !defined(_WIN32)
    // A forked process has none of the threads.
    const pid_t child = fork();
    if (child == 0) _exit(integrated(3) == expected ? 0 : 1);
    int status = -1;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT(integrated(3) == expected);
#endif
    return disappointed;
}
