#include "warp3d_plugin.h"

#include <limits>
#include <new>
#include <utility>

#include "logging.h"
#include "warp3d_launch.h"

namespace vm {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;

namespace {

constexpr int32_t FAILED = -1;

PluginField text_field(const char* name, const std::string& value) {
    return {name, value.data(), PluginFieldType::kCHAR, static_cast<int32_t>(value.size())};
}

bool is_int(int64_t size) { return 0 <= size && size <= std::numeric_limits<int32_t>::max(); }

// Sizes of one call; false, with a message, where the tensors do not fit each other.
bool sizes_of(const Dims& volume, const Dims& displacement, Warp3dSizes& sizes) {
    if (volume.nbDims != 5 || displacement.nbDims != 5) {
        log_error("Warp3d takes a volume (N, C, D, H, W) and a displacement (N, 3, D, H, W); "
                  "one of them does not have 5 axes");
        return false;
    }
    if (displacement.d[1] != 3 || displacement.d[0] != volume.d[0]) {
        log_error("Warp3d takes a displacement of 3 channels and of the volume's batch size");
        return false;
    }
    for (int32_t axis = 0; axis < 5; ++axis) {
        if (!is_int(volume.d[axis]) || !is_int(displacement.d[axis])) {
            log_error("Warp3d: an axis is longer than 2^31 - 1");
            return false;
        }
    }
    sizes.batch = static_cast<int32_t>(volume.d[0]);
    sizes.channels = static_cast<int32_t>(volume.d[1]);
    for (int32_t axis = 0; axis < 3; ++axis) {
        sizes.volume[axis] = static_cast<int32_t>(volume.d[axis + 2]);
        sizes.moved[axis] = static_cast<int32_t>(displacement.d[axis + 2]);
    }
    return true;
}

}  // namespace

Warp3dPlugin::Warp3dPlugin(Warp3dAttributes attributes)
    : attributes_(std::move(attributes)),
      fields_{text_field("mode", attributes_.mode), text_field("padding", attributes_.padding)},
      collection_{static_cast<int32_t>(fields_.size()), fields_.data()} {}

nvinfer1::IPluginCapability* Warp3dPlugin::getCapabilityInterface(
    PluginCapabilityType type) noexcept {
    switch (type) {
        case PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
        case PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
        case PluginCapabilityType::kRUNTIME:
            return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* Warp3dPlugin::clone() noexcept {
    try {
        return new Warp3dPlugin(attributes_);
    } catch (const std::bad_alloc&) {
        log_error("Warp3d: out of host memory");
        return nullptr;
    }
}

int32_t Warp3dPlugin::configurePlugin(const nvinfer1::DynamicPluginTensorDesc*, int32_t inputs,
                                      const nvinfer1::DynamicPluginTensorDesc*,
                                      int32_t outputs) noexcept {
    return inputs == 2 && outputs == 1 ? 0 : FAILED;
}

int32_t Warp3dPlugin::getOutputDataTypes(DataType* output_types, int32_t outputs,
                                         const DataType* input_types,
                                         int32_t inputs) const noexcept {
    if (inputs != 2 || outputs != 1) return FAILED;
    output_types[0] = input_types[0];
    return 0;
}

int32_t Warp3dPlugin::getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t input_count,
                                      const nvinfer1::DimsExprs*, int32_t,
                                      nvinfer1::DimsExprs* outputs, int32_t output_count,
                                      nvinfer1::IExprBuilder&) noexcept {
    if (input_count != 2 || output_count != 1 || inputs[0].nbDims != 5 || inputs[1].nbDims != 5) {
        log_error("Warp3d takes a volume and a displacement, each of 5 axes");
        return FAILED;
    }
    outputs[0].nbDims = 5;
    for (int32_t axis = 0; axis < 5; ++axis)
        outputs[0].d[axis] = inputs[axis < 2 ? 0 : 1].d[axis];
    return 0;
}

bool Warp3dPlugin::supportsFormatCombination(int32_t position,
                                             const nvinfer1::DynamicPluginTensorDesc* both,
                                             int32_t inputs, int32_t outputs) noexcept {
    if (inputs != 2 || outputs != 1) return false;
    const PluginTensorDesc& asked = both[position].desc;
    if (asked.format != nvinfer1::TensorFormat::kLINEAR) return false;
    if (position == 0) return asked.type == DataType::kFLOAT || asked.type == DataType::kHALF;
    if (position == 1) return asked.type == DataType::kFLOAT;
    return asked.type == both[0].desc.type;
}

int32_t Warp3dPlugin::onShapeChange(const PluginTensorDesc* in, int32_t inputs,
                                    const PluginTensorDesc*, int32_t outputs) noexcept {
    Warp3dSizes sizes;
    if (inputs != 2 || outputs != 1) return FAILED;
    return sizes_of(in[0].dims, in[1].dims, sizes) ? 0 : FAILED;
}

int32_t Warp3dPlugin::enqueue(const PluginTensorDesc* in, const PluginTensorDesc*,
                              const void* const* inputs, void* const* outputs, void*,
                              cudaStream_t stream) noexcept {
    Warp3dSizes sizes;
    if (!sizes_of(in[0].dims, in[1].dims, sizes)) return FAILED;
    const cudaError_t status = launch_warp3d(
        inputs[0], static_cast<const float*>(inputs[1]), outputs[0], sizes,
        in[0].type == DataType::kHALF, attributes_.mode == "nearest",
        attributes_.padding == "border", stream);
    if (status == cudaSuccess) return 0;
    log_error("Warp3d was not launched:", cudaGetErrorString(status));
    return FAILED;
}

nvinfer1::IPluginV3* Warp3dPlugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
    return clone();
}

const nvinfer1::PluginFieldCollection* Warp3dPlugin::getFieldsToSerialize() noexcept {
    return &collection_;
}

}  // namespace vm
