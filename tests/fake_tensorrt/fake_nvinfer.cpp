// libnvinfer.so.N without TensorRT: a runtime behind the public headers' classes whose plans
// compute
//
//     displacement[i] = (i + 1) (moving - fixed) / 10, inverse_displacement = -displacement
//
// on the memory and the stream of fake_driver.cpp. It knows the grid from the plan's manifest;
// where that is free it takes up to 64 voxels an axis. Whatever else is called ends the process:
// stubs.h, made from the headers by tests/test_c_engines.py, has a body for each of the classes'
// functions.
//
// FAKE_TENSORRT_VERSION: what it says it is. FAKE_TENSORRT_REASON: why it takes no plan.
#include <NvInferRuntime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "stubs.h"

#define API extern "C" __attribute__((visibility("default")))

extern "C" void fake_enqueue(const std::function<void()>* work);

namespace {

using namespace nvinfer1;
using namespace nvinfer1::apiv;

const char* const tensors[] = {"moving", "fixed", "moved", "displacement", "inverse_displacement"};
constexpr int64_t most = 64;
int alive = 0;

struct Counted {
    Counted() { ++alive; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --alive; }
};

int number_of(const char* name) {
    for (int i = 0; i < 5; ++i)
        if (!std::strcmp(name, tensors[i])) return i;
    std::abort();
}

Dims shape_of(const char* name, const int64_t* grid) {
    return Dims{5, {1, number_of(name) < 3 ? 1 : 3, grid[0], grid[1], grid[2]}};
}

struct Context : IExecutionContext, StubVExecutionContext, Counted {
    explicit Context(const int64_t* stated) {
        mImpl = this;
        std::copy(stated, stated + 3, grid);
    }
    bool setInputShape(char const* name, Dims const& dims) noexcept override {
        if (number_of(name) > 1 || dims.nbDims != 5) std::abort();
        for (int axis = 0; axis < 3; ++axis)
            if (dims.d[2 + axis] > most) return false;
        std::copy(dims.d + 2, dims.d + 5, grid);
        return true;
    }
    Dims getTensorShape(char const* name) const noexcept override { return shape_of(name, grid); }
    bool setTensorAddress(char const* name, void* data) noexcept override {
        addresses[name] = static_cast<float*>(data);
        return true;
    }
    bool enqueueV3(cudaStream_t) noexcept override {
        if (addresses.size() != 5) std::abort();
        const int64_t voxels = grid[0] * grid[1] * grid[2];
        std::map<std::string, float*> at = addresses;
        const std::function<void()> work = [at, voxels] {
            const float *moving = at.at("moving"), *fixed = at.at("fixed");
            for (int64_t i = 0; i < voxels; ++i) {
                at.at("moved")[i] = moving[i];
                for (int64_t axis = 0; axis < 3; ++axis) {
                    const float value = 0.1f * float(axis + 1) * (moving[i] - fixed[i]);
                    at.at("displacement")[axis * voxels + i] = value;
                    at.at("inverse_displacement")[axis * voxels + i] = -value;
                }
            }
        };
        fake_enqueue(&work);
        return true;
    }

    int64_t grid[3];
    std::map<std::string, float*> addresses;
};

struct Engine : ICudaEngine, StubVCudaEngine, Counted {
    explicit Engine(const std::string& plan) {
        mImpl = this;
        const char* shape = std::strstr(plan.c_str(), "\"shape\":[");
        long sizes[3] = {-1, -1, -1};
        if (shape) std::sscanf(shape, "\"shape\":[%ld,%ld,%ld]", sizes, sizes + 1, sizes + 2);
        std::copy(sizes, sizes + 3, grid);
    }
    int32_t getNbIOTensors() const noexcept override { return 5; }
    char const* getIOTensorName(int32_t index) const noexcept override { return tensors[index]; }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override {
        return number_of(name) < 2 ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    DataType getTensorDataType(char const*) const noexcept override { return DataType::kFLOAT; }
    Dims getTensorShape(char const* name) const noexcept override { return shape_of(name, grid); }
    IExecutionContext* createExecutionContext(
        ExecutionContextAllocationStrategy) noexcept override {
        return new Context(grid);
    }

    int64_t grid[3];
};

struct Runtime : IRuntime, StubVRuntime, Counted {
    explicit Runtime(ILogger& logger) : said(logger) { mImpl = this; }
    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override {
        const char* reason = std::getenv("FAKE_TENSORRT_REASON");
        if (reason) return said.log(ILogger::Severity::kERROR, reason), nullptr;
        // Behind the manifest there are bytes of 0: the text is looked for in one piece.
        const std::string plan(static_cast<const char*>(blob), size);
        const std::size_t manifest = plan.find("{\"version\":");
        return manifest == plan.npos ? nullptr : new Engine(plan.substr(manifest));
    }
    void setEngineHostCodeAllowed(bool allowed) noexcept override {
        if (allowed) std::abort();  // nobody asked for it
    }

    ILogger& said;
};

}  // namespace

API int32_t getInferLibVersion() noexcept {
    const char* version = std::getenv("FAKE_TENSORRT_VERSION");
    return version ? std::atoi(version) : NV_TENSORRT_VERSION;
}
API void* createInferRuntime_INTERNAL(void* logger, int32_t version) noexcept {
    return version == NV_TENSORRT_VERSION ? static_cast<IRuntime*>(new Runtime(
                                                *static_cast<ILogger*>(logger)))
                                          : nullptr;
}
API int fake_alive() { return alive; }
