// vxm::Warp3d as a TensorRT layer: moved(x) = volume(x + displacement(x)).
//
// Inputs   volume (N, C, D, H, W) float32 or float16; displacement (N, 3, D', H', W') float32, in
//          voxels, channel i along axis i. Any sizes, also dynamic.
// Output   (N, C, D', H', W') of the volume's type; coordinates are float32 whatever it is.
// Fields   mode: "linear" (default) or "nearest"; padding: "zeros" (default) or "border".
//
// Ownership and threads: TensorRT clones a plugin for each context and calls a clone from one thread
// at a time. Nothing is shared between clones, and enqueue keeps no state.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

namespace vm {

constexpr char WARP3D_NAME[] = "Warp3d";
constexpr char WARP3D_VERSION[] = "1";
constexpr char WARP3D_NAMESPACE[] = "vxm";

struct Warp3dAttributes {
    std::string mode = "linear";
    std::string padding = "zeros";
};

class Warp3dPlugin final : public nvinfer1::IPluginV3,
                           public nvinfer1::IPluginV3OneCore,
                           public nvinfer1::IPluginV3OneBuild,
                           public nvinfer1::IPluginV3OneRuntime {
public:
    explicit Warp3dPlugin(Warp3dAttributes attributes);
    // The fields point into the object itself.
    Warp3dPlugin(const Warp3dPlugin&) = delete;
    Warp3dPlugin& operator=(const Warp3dPlugin&) = delete;

    // IPluginV3
    nvinfer1::IPluginCapability* getCapabilityInterface(
        nvinfer1::PluginCapabilityType type) noexcept override;
    nvinfer1::IPluginV3* clone() noexcept override;

    // IPluginV3OneCore
    const char* getPluginName() const noexcept override { return WARP3D_NAME; }
    const char* getPluginVersion() const noexcept override { return WARP3D_VERSION; }
    const char* getPluginNamespace() const noexcept override { return WARP3D_NAMESPACE; }

    // IPluginV3OneBuild
    int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, int32_t inputs,
                            const nvinfer1::DynamicPluginTensorDesc* out,
                            int32_t outputs) noexcept override;
    int32_t getOutputDataTypes(nvinfer1::DataType* output_types, int32_t outputs,
                               const nvinfer1::DataType* input_types,
                               int32_t inputs) const noexcept override;
    int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t input_count,
                            const nvinfer1::DimsExprs* shape_inputs, int32_t shape_input_count,
                            nvinfer1::DimsExprs* outputs, int32_t output_count,
                            nvinfer1::IExprBuilder& builder) noexcept override;
    bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* both,
                                   int32_t inputs, int32_t outputs) noexcept override;
    int32_t getNbOutputs() const noexcept override { return 1; }

    // IPluginV3OneRuntime
    int32_t onShapeChange(const nvinfer1::PluginTensorDesc* in, int32_t inputs,
                          const nvinfer1::PluginTensorDesc* out, int32_t outputs) noexcept override;
    int32_t enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc* out,
                    const void* const* inputs, void* const* outputs, void* workspace,
                    cudaStream_t stream) noexcept override;
    nvinfer1::IPluginV3* attachToContext(
        nvinfer1::IPluginResourceContext* context) noexcept override;
    const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

private:
    const Warp3dAttributes attributes_;
    const std::vector<nvinfer1::PluginField> fields_;
    const nvinfer1::PluginFieldCollection collection_;
};

}  // namespace vm
