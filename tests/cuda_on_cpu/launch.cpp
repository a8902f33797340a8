// Launches the kernels of vm_kernels.cu on the CPU. Compiled by tests/emulated_device.py, which
// writes kernels.inc: one KERNEL(name, has_barriers) a line.
#include "cuda_on_cpu.h"

#include <ucontext.h>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "vm_kernels.cu"

uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    uint3 index;
    bool finished;
};

constexpr std::size_t STACK_BYTES = 1 << 16;

std::vector<Fiber> fibers;
std::size_t running;
ucontext_t scheduler;
bool in_fiber = false;
const std::function<void()>* fiber_body;

void run_fiber() {
    (*fiber_body)();
    fibers[running].finished = true;
    swapcontext(&fibers[running].context, &scheduler);
}

void begin(Fiber& fiber, uint3 index) {
    if (!fiber.stack) fiber.stack.reset(new char[STACK_BYTES]);
    fiber.index = index;
    fiber.finished = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
}

// All threads of a block, each up to the next barrier, until all have come to their end.
void run_with_barriers(const std::function<void()>& body) {
    fiber_body = &body;
    fibers.resize(std::size_t{blockDim.x} * blockDim.y * blockDim.z);
    std::size_t number = 0;
    for (unsigned z = 0; z < blockDim.z; ++z)
        for (unsigned y = 0; y < blockDim.y; ++y)
            for (unsigned x = 0; x < blockDim.x; ++x) begin(fibers[number++], {x, y, z});
    in_fiber = true;
    std::size_t finished = 0;
    while (finished < fibers.size()) {
        finished = 0;
        for (running = 0; running < fibers.size(); ++running) {
            if (!fibers[running].finished) {
                threadIdx = fibers[running].index;
                swapcontext(&scheduler, &fibers[running].context);
            }
            finished += fibers[running].finished;
        }
        // A barrier that some threads of a block never reach hangs a GPU.
        if (finished != 0 && finished < fibers.size()) std::abort();
    }
    in_fiber = false;
}

void run(const std::function<void()>& body, bool has_barriers) {
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
                if (has_barriers) {
                    run_with_barriers(body);
                    continue;
                }
                for (threadIdx.z = 0; threadIdx.z < blockDim.z; ++threadIdx.z)
                    for (threadIdx.y = 0; threadIdx.y < blockDim.y; ++threadIdx.y)
                        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) body();
            }
}

template <class... A, std::size_t... I>
void call(void (*kernel)(A...), void** arguments, bool has_barriers, std::index_sequence<I...>) {
    const std::function<void()> body = [=] {
        kernel(*static_cast<typename std::remove_const<A>::type*>(arguments[I])...);
    };
    run(body, has_barriers);
}

struct Kernel {
    const char* name;
    std::vector<int> sizes;
    std::function<void(void**)> launch;
};

template <class... A>
Kernel kernel(const char* name, void (*function)(A...), bool has_barriers) {
    return {name, {static_cast<int>(sizeof(A))...}, [=](void** arguments) {
                call(function, arguments, has_barriers, std::index_sequence_for<A...>());
            }};
}

const std::vector<Kernel> kernels = {
#define KERNEL(name, has_barriers) kernel(#name, name, has_barriers),
#include "kernels.inc"
#undef KERNEL
};

}  // namespace

void __syncthreads() {
    if (!in_fiber) std::abort();
    swapcontext(&fibers[running].context, &scheduler);
}

extern "C" {

int emulated_kernels() { return static_cast<int>(kernels.size()); }

const char* emulated_name(int number) { return kernels[number].name; }

// Number of a kernel's parameters, and the bytes of each; `sizes` has room for 64.
int emulated_parameters(int number, int* sizes) {
    int count = 0;
    for (int size : kernels[number].sizes) sizes[count++] = size;
    return count;
}

void emulated_launch(int number, const unsigned* grid, const unsigned* block, void** arguments) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    kernels[number].launch(arguments);
}
}
