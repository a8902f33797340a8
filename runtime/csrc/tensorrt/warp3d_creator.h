// Makes Warp3d layers: from the attributes of an ONNX node, and from what a plan has stored.
#pragma once

#include <NvInferRuntime.h>

namespace vm {

// Keeps no state: createPlugin may be called from several threads.
class Warp3dCreator final : public nvinfer1::IPluginCreatorV3One {
public:
    nvinfer1::IPluginV3* createPlugin(const char* name,
                                      const nvinfer1::PluginFieldCollection* fields,
                                      nvinfer1::TensorRTPhase phase) noexcept override;
    const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override;
    const char* getPluginName() const noexcept override;
    const char* getPluginVersion() const noexcept override;
    const char* getPluginNamespace() const noexcept override;
};

}  // namespace vm
