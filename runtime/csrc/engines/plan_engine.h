// What a session needs of an engine that runs plans: whole models, compiled for a GPU.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "engines/engine.h"
#include "onnx/manifest.h"
#include "session/watch.h"

namespace vm {

// Not for several threads at once.
class PlanEngine {
public:
    using Shape = std::array<std::int64_t, 3>;

    virtual ~PlanEngine() = default;
    virtual EngineFacts facts() const = 0;

    // Whether the plan computes the inverse displacement too.
    virtual bool has_inverse() const = 0;

    // moving, fixed: of `shape`; displacement, inverse: (3, shape); `inverse` is nullptr where it
    // is not wanted. Throws Error: GRID for a shape that the plan does not take, ENGINE, MEMORY, or
    // CANCELLED where the watch says so.
    virtual void run(const float *moving, const float *fixed, const Shape &shape,
                     float *displacement, float *inverse, const Watch &watch) = 0;
};

}  // namespace vm
