// The U-Net of an artifact as an ONNX model of its own.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "onnx/manifest.h"
#include "onnx/tail.h"

namespace vm::onnx {

struct UNet {
    std::string model;  // serialized ModelProto
    Manifest manifest;
    Tail tail;
    int rewritten = 0;  // convolutions that were replaced
};

// What a U-Net is made into: left as it is; in float32 (see widen); in float32, with what OpenVINO
// does faster another way replaced (see rewrite_upsamplings).
enum class Form { stored, float32, rewritten };

// Cut a serialized artifact. Where it leaves its shape free, the U-Net gets `shape`, unless that is
// all 0. Throws Error: ARTIFACT where it is none, UNSUPPORTED where its network cannot be told from
// its tail.
UNet cut_unet(std::string_view artifact, Form form,
              const std::array<std::int64_t, 3> &shape = {0, 0, 0});

// The U-Net's own grid for a grid of the scans; throws Error (ARTIFACT) where that is not whole.
std::array<std::int64_t, 3> velocity_shape(const Tail &tail,
                                           const std::array<std::int64_t, 3> &shape);

}  // namespace vm::onnx
