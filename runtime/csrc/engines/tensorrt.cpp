#include "engines/tensorrt.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "cpu/error.h"
#include "engines/cuda_driver.h"
#include "engines/find_library.h"
#include "engines/shared_library.h"
#include "engines/tensorrt_library.h"
#include "plan/plan_fit.h"

namespace vm {

namespace {

using nvinfer1::Dims;

// How often a caller is told that the network runs. A GPU cannot be stopped: cancelling waits for
// it.
constexpr std::chrono::milliseconds between_checks{1};

// The plugin that plans built with --warp plugin need; see csrc/tensorrt.
void load_plugin(nvinfer1::IPluginRegistry &registry) {
    const char *wished = std::getenv("VM_TENSORRT_PLUGIN");
    const std::string path =
        wished && *wished ? wished : find_library("vxm_tensorrt_plugin", "vmruntime");
    if (path.empty())
        throw Error(VM_ERROR_UNAVAILABLE,
                    "the plan needs the plugin vxm/Warp3d; build it (docs/tensorrt.md) and set "
                    "VM_TENSORRT_PLUGIN to libvxm_tensorrt_plugin.so");
    const SharedLibrary loads(path);  // says why where it does not; TensorRT only that it failed
    if (!registry.getCreator("Warp3d", "1", "vxm")) registry.loadLibrary(path.c_str());
    if (!registry.getCreator("Warp3d", "1", "vxm"))
        throw Error(VM_ERROR_UNAVAILABLE, "TensorRT does not take the plugin " + path +
                                              "; build it with the headers of this TensorRT");
}

Dims dims_of(std::int64_t channels, const PlanEngine::Shape &shape) {
    Dims dims{};
    dims.nbDims = 5;
    const std::int64_t sizes[] = {1, channels, shape[0], shape[1], shape[2]};
    std::copy(std::begin(sizes), std::end(sizes), dims.d);
    return dims;
}

std::string text_of(const PlanEngine::Shape &shape) {
    return std::to_string(shape[0]) + " x " + std::to_string(shape[1]) + " x " +
           std::to_string(shape[2]);
}

// Whether a tensor of a plan has a grid of that shape; sizes of -1 are free.
bool admits(const Dims &dims, const Dims &wanted) {
    if (dims.nbDims != wanted.nbDims) return false;
    for (std::int32_t axis = 0; axis < dims.nbDims; ++axis)
        if (dims.d[axis] != -1 && dims.d[axis] != wanted.d[axis]) return false;
    return true;
}

class TensorRt : public PlanEngine {
public:
    TensorRt(const std::string &plan, const BuiltEngine &built, const EngineOptions &options)
        : built_(built),
          library_(tensorrt::load_library(options.library, built.version_compatible)) {
        check_fit(built, library_.version, device_.name(), device_.compute_capability());
        const cuda::Device::Current current(device_);
        runtime_.reset(static_cast<nvinfer1::IRuntime *>(
            library_.create_runtime(&listener_, NV_TENSORRT_VERSION)));
        if (!runtime_) throw failure("start");
        if (built.warp == "plugin") load_plugin(runtime_->getPluginRegistry());
        // Some version-compatible plans carry code for the CPU: to load them is to run a program.
        const char *trusted = std::getenv("VM_PLAN_HOST_CODE");
        runtime_->setEngineHostCodeAllowed(trusted && std::strcmp(trusted, "1") == 0);
        engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
        if (!engine_) throw failure("load the plan");
        context_.reset(engine_->createExecutionContext());
        if (!context_) throw failure("make the plan ready");
        look_at_tensors();
    }

    ~TensorRt() override {
        try {
            const cuda::Device::Current current(device_);
            release();
        } catch (const Error &) {  // the GPU is lost; what is released now only tells so again
            release();
        }
    }

    EngineFacts facts() const override {
        return {"tensorrt", library_.version, built_.precision};
    }

    bool has_inverse() const override { return memory_.count("inverse_displacement") != 0; }

    void run(const float *moving, const float *fixed, const Shape &shape, float *displacement,
             float *inverse, const Watch &watch) override {
        const cuda::Device::Current current(device_);
        const std::size_t voxels = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
        take_shape("moving", shape);
        take_shape("fixed", shape);
        for (auto &tensor : memory_) hold(tensor.first, tensor.second);
        try {
            up(moving, "moving", voxels);
            up(fixed, "fixed", voxels);
            if (!context_->enqueueV3(stream())) throw failure("run the plan");
            wait(watch);
            down("displacement", displacement, 3 * voxels);
            if (inverse) down("inverse_displacement", inverse, 3 * voxels);
        } catch (...) {
            // The arrays must not be looked at after this call.
            driver().stream_synchronize(stream());
            throw;
        }
        driver().check(driver().stream_synchronize(stream()), "run the plan");
    }

private:
    const cuda::Driver &driver() const { return device_.driver(); }
    CUstream_st *stream() const { return device_.stream(); }

    Error failure(const char *doing) {
        return Error(VM_ERROR_ENGINE, std::string("TensorRT ") + library_.version + " cannot " +
                                          doing + ": " + listener_.reason());
    }

    void look_at_tensors() {
        for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
            const std::string name = engine_->getIOTensorName(i);
            const bool is_input =
                engine_->getTensorIOMode(name.c_str()) == nvinfer1::TensorIOMode::kINPUT;
            if (engine_->getTensorDataType(name.c_str()) != nvinfer1::DataType::kFLOAT ||
                is_input != (name == "moving" || name == "fixed"))
                throw foreign("its " + name + " is no float32 tensor of a registration model");
            memory_.emplace(name, cuda::Memory(device_));
        }
        for (const char *name : {"moving", "fixed", "displacement"})
            if (!memory_.count(name)) throw foreign(std::string("it has no ") + name);
    }

    static Error foreign(const std::string &fact) {
        return Error(VM_ERROR_ARTIFACT, "the plan is not one of vm-export: " + fact +
                                            "; build it with vm-export --engine");
    }

    void take_shape(const char *name, const Shape &shape) {
        const Dims wanted = dims_of(1, shape), has = engine_->getTensorShape(name);
        const bool is_free = std::find(has.d, has.d + has.nbDims, -1) != has.d + has.nbDims;
        // A shape outside of the plan's range is refused by the context.
        if (!admits(has, wanted) || (is_free && !context_->setInputShape(name, wanted)))
            throw Error(VM_ERROR_GRID, "the plan does not take a grid of " + text_of(shape) +
                                           " voxels; build it again with --min-shape and "
                                           "--max-shape around it");
    }

    // Every output has memory of its own, wanted or not: the plan computes them all.
    void hold(const std::string &name, cuda::Memory &memory) {
        const Dims dims = context_->getTensorShape(name.c_str());
        std::size_t bytes = sizeof(float);
        for (std::int32_t axis = 0; axis < dims.nbDims; ++axis) {
            if (dims.d[axis] < 1) throw foreign("the shape of its " + name + " is unknown");
            bytes *= static_cast<std::size_t>(dims.d[axis]);
        }
        if (!context_->setTensorAddress(name.c_str(), memory.hold(bytes)))
            throw failure("take memory");
        bytes_[name] = bytes;
    }

    void up(const float *values, const char *name, std::size_t count) {
        if (bytes_[name] != count * sizeof *values) throw foreign("a shape is wrong");
        driver().check(driver().copy_up(memory_.at(name).address(), values,
                                        count * sizeof *values, stream()),
                       "take an array");
    }

    void down(const char *name, float *values, std::size_t count) {
        if (bytes_[name] != count * sizeof *values) throw foreign("a shape is wrong");
        driver().check(driver().copy_down(values, memory_.at(name).address(),
                                          count * sizeof *values, stream()),
                       "give an array");
    }

    void wait(const Watch &watch) {
        if (!watch.is_on()) return;
        for (;;) {
            const cuda::Result result = driver().stream_query(stream());
            if (result != cuda::not_ready) {
                driver().check(result, "run the plan");
                return;
            }
            watch.check();
            std::this_thread::sleep_for(between_checks);
        }
    }

    // In this order: a context must not outlive its engine.
    void release() {
        memory_.clear();
        context_.reset();
        engine_.reset();
        runtime_.reset();
    }

    BuiltEngine built_;
    cuda::Device device_;  // before the library: the lean one crashes without a GPU
    const tensorrt::Library &library_;
    tensorrt::Listener listener_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    std::map<std::string, cuda::Memory> memory_;
    std::map<std::string, std::size_t> bytes_;
};

}  // namespace

std::unique_ptr<PlanEngine> open_tensorrt(const std::string &plan, const BuiltEngine &built,
                                          const EngineOptions &options) {
    return std::make_unique<TensorRt>(plan, built, options);
}

}  // namespace vm
