#include "engines/onnxruntime.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "cpu/error.h"
#include "engines/onnxruntime_library.h"

namespace vm {

namespace {

using onnxruntime::Library;

// How often a caller that wants to cancel is asked while the network runs.
constexpr std::chrono::milliseconds between_checks{20};

template <class Handle, void(ORT_API_CALL *OrtApi::*release)(Handle *)>
class Owned {
public:
    explicit Owned(const Library &library) : library_(library) {}
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    ~Owned() {
        if (handle_) (library_.api->*release)(handle_);
    }

    Handle *get() const { return handle_; }
    // Where a call is to put a new handle; once only.
    Handle **fresh() { return &handle_; }

private:
    const Library &library_;
    Handle *handle_ = nullptr;
};

using Network = Owned<OrtSession, &OrtApi::ReleaseSession>;
using SessionOptions = Owned<OrtSessionOptions, &OrtApi::ReleaseSessionOptions>;
using RunOptions = Owned<OrtRunOptions, &OrtApi::ReleaseRunOptions>;
using MemoryInfo = Owned<OrtMemoryInfo, &OrtApi::ReleaseMemoryInfo>;
using Value = Owned<OrtValue, &OrtApi::ReleaseValue>;

class OnnxRuntime : public Engine {
public:
    OnnxRuntime(const std::string &model, const EngineOptions &options)
        : library_(onnxruntime::load_library(options.library)),
          memory_(library_),
          session_(library_) {
        const OrtApi &api = *library_.api;
        SessionOptions how(library_);
        check(api.CreateSessionOptions(how.fresh()), "start");
        check(api.SetIntraOpNumThreads(how.get(), options.threads), "take a number of threads");
        check(api.SetSessionExecutionMode(how.get(), ORT_SEQUENTIAL), "start");
        // The arena keeps the working memory, and takes twice as much of it: the official model
        // holds 2.0 GB with it, 1.0 GB without, and runs a tenth longer.
        check(api.DisableCpuMemArena(how.get()), "start");
        check(api.SetSessionGraphOptimizationLevel(how.get(), ORT_ENABLE_ALL), "start");
        check(api.CreateSessionFromArray(library_.environment, model.data(), model.size(),
                                         how.get(), session_.fresh()),
              "take the network");
        check(api.CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, memory_.fresh()),
              "start");
    }

    EngineFacts facts() const override { return {"onnxruntime", library_.version, "fp32"}; }

    void run(const float *moving, const float *fixed, const Shape &shape, float *velocity,
             const Shape &velocity_shape, const Watch &watch) override {
        Value inputs[] = {Value(library_), Value(library_)}, output(library_);
        // Inputs are only read; the C API has no other way to say so.
        wrap(const_cast<float *>(moving), 1, shape, inputs[0]);
        wrap(const_cast<float *>(fixed), 1, shape, inputs[1]);
        wrap(velocity, 3, velocity_shape, output);
        const OrtValue *const in[] = {inputs[0].get(), inputs[1].get()};
        RunOptions how(library_);
        check(library_.api->CreateRunOptions(how.fresh()), "run the network");
        if (watch.is_on())
            run_watched(how.get(), in, output.get(), watch);
        else
            check(run_with(how.get(), in, output.get()), "run the network");
    }

private:
    void check(OrtStatus *status, const char *doing) const { library_.check(status, doing); }

    void wrap(float *data, std::int64_t channels, const Shape &shape, Value &value) {
        const std::int64_t dims[] = {1, channels, shape[0], shape[1], shape[2]};
        const auto count = static_cast<std::size_t>(channels * shape[0] * shape[1] * shape[2]);
        check(library_.api->CreateTensorWithDataAsOrtValue(memory_.get(), data,
                                                           count * sizeof *data, dims, 5,
                                                           ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                                                           value.fresh()),
              "take an array");
    }

    OrtStatus *run_with(const OrtRunOptions *how, const OrtValue *const *in, OrtValue *out) {
        static const char *const inputs[] = {"moving", "fixed"}, *const outputs[] = {"velocity"};
        return library_.api->Run(session_.get(), how, inputs, in, 2, outputs, 1, &out);
    }

    // The network runs in a thread of its own, so that the caller's is free to ask.
    void run_watched(OrtRunOptions *how, const OrtValue *const *in, OrtValue *out,
                     const Watch &watch) {
        std::mutex mutex;
        std::condition_variable ended;
        bool done = false;
        OrtStatus *status = nullptr;
        std::thread runner([&] {
            OrtStatus *result = run_with(how, in, out);
            const std::lock_guard<std::mutex> lock(mutex);
            status = result;
            done = true;
            ended.notify_one();
        });
        try {
            std::unique_lock<std::mutex> lock(mutex);
            while (!ended.wait_for(lock, between_checks, [&] { return done; })) {
                lock.unlock();
                watch.check();
                lock.lock();
            }
        } catch (...) {
            // The arrays must not be written to after this call.
            library_.api->ReleaseStatus(library_.api->RunOptionsSetTerminate(how));
            runner.join();
            library_.api->ReleaseStatus(status);
            throw;
        }
        runner.join();
        check(status, "run the network");
    }

    const Library &library_;
    MemoryInfo memory_;
    Network session_;
};

}  // namespace

std::unique_ptr<Engine> open_onnxruntime(const std::string &model, const EngineOptions &options) {
    if (options.precision == "bf16")
        throw Error(VM_ERROR_UNSUPPORTED,
                    "onnxruntime computes in fp32 here, not in bf16; use engine openvino for bf16");
    return std::make_unique<OnnxRuntime>(model, options);
}

}  // namespace vm
