// What a model says about itself, as far as running it needs; see vmruntime/manifest.py.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/model.h"

namespace vm {

// Key of the manifest among a model's metadata_props.
constexpr const char *manifest_key = "vxm.manifest";

// What a plan was built as; `target` is empty for an ONNX model.
struct BuiltEngine {
    std::string target;     // "tensorrt" or "rtx"
    std::string version;    // of TensorRT
    std::string precision;  // "fp32" or "fp16"
    std::string warp;       // "plugin": it needs libvxm_tensorrt_plugin.so
    bool version_compatible = false, hardware_compatible = false;
    std::vector<int> compute_capability;  // of the GPUs it is for: 86, 120
};

struct Manifest {
    std::string json;                      // as stored
    std::array<std::int64_t, 3> shape{};   // all 0: any multiple of the stride
    std::int64_t stride = 1;
    std::string orientation;               // "LIA"
    std::array<double, 3> voxel_size{};    // mm
    std::string intensity;
    bool diffeomorphic = false;
    std::int32_t int_steps = 0;
    bool half = false;
    std::int64_t moving_channels = 1, fixed_channels = 1;
    BuiltEngine engine;

    bool free_shape() const { return shape[0] == 0; }
};

// Throws Error (ARTIFACT): no JSON, a newer major version, a field missing or out of range.
Manifest parse_manifest(std::string_view json);

// The manifest of a model; throws where it has none.
Manifest read_manifest(const onnx::Model &model);

}  // namespace vm
