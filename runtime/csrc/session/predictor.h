// What predicts how a pair deforms: a model of whatever kind, in whatever engine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "cpu/buffer.h"
#include "engines/engine.h"
#include "onnx/manifest.h"
#include "session/watch.h"

namespace vm {

// Of one pair. Usable by one thread while its predictor serves others; not after it is gone.
class Prediction {
public:
    virtual ~Prediction() = default;

    // (3, shape of the pair), voxels. To be asked for once.
    virtual Buffer<float> displacement() = 0;

    // The way back as the model has it; empty where it has none, or where it was not wanted. To be
    // asked for once.
    virtual Buffer<float> inverse() = 0;
};

class Predictor {
public:
    using Shape = std::array<std::int64_t, 3>;

    virtual ~Predictor() = default;
    virtual const Manifest &manifest() const = 0;
    virtual const EngineFacts &engine() const = 0;

    // Runs the engine on a pair of `shape`, on the model's grid. Not for several threads at once.
    // Throws Error: ENGINE, CANCELLED, GRID.
    virtual std::unique_ptr<Prediction> predict(const float *moving, const float *fixed,
                                                const Shape &shape, bool with_inverse,
                                                const Watch &watch) = 0;
};

// A model as a file's bytes hold it: ONNX, or a plan of TensorRT. Throws Error: ARTIFACT, or what
// the engines throw.
std::unique_ptr<Predictor> open_predictor(std::string model, const EngineOptions &options);

}  // namespace vm
