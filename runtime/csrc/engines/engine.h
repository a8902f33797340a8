// What a session needs of an inference engine that runs U-Nets.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "onnx/unet.h"
#include "session/watch.h"

namespace vm {

struct EngineOptions {
    std::string name;       // "auto" or one of the engines
    std::string library;    // file of the engine's library; empty: to be found
    std::string precision;  // "fp32", "bf16" or "auto"; empty: fp32, or that of a plan
    std::string cache_dir;  // empty: none
    int threads = 1;
    bool plain = false;  // leave the U-Net's rewrite undone
};

// What runs: "openvino", "2026.4.0", "fp32".
struct EngineFacts {
    std::string name, version, precision;
};

// Runs the U-Net of one model on grids of one shape. Not for several threads at once.
class Engine {
public:
    using Shape = std::array<std::int64_t, 3>;

    virtual ~Engine() = default;
    virtual EngineFacts facts() const = 0;

    // moving, fixed: of `shape`; velocity: (3, ...) of `velocity_shape`. Throws Error: ENGINE, or
    // CANCELLED where the watch says so.
    virtual void run(const float *moving, const float *fixed, const Shape &shape, float *velocity,
                     const Shape &velocity_shape, const Watch &watch) = 0;
};

// Throws Error (ARGUMENT) for an engine or precision that does not exist.
void check_names(const EngineOptions &options);

// What an engine is to be given of a model.
onnx::Form unet_form(const EngineOptions &options);

// Load a model (a serialized U-Net, see onnx/unet.h) into an engine. Throws Error: UNSUPPORTED
// where this build or that engine cannot do what the options ask for, UNAVAILABLE where the engine
// cannot be used here, ENGINE where it does not take the model.
std::unique_ptr<Engine> open_engine(const std::string &model, const EngineOptions &options);

}  // namespace vm
