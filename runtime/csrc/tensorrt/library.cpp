// What TensorRT looks for in a library of plugins (IPluginRegistry::loadLibrary, trtexec
// --dynamicPlugins, plans that carry their plugins).
#include <NvInferRuntime.h>

#include "logging.h"
#include "warp3d_creator.h"

#define VM_EXPORTED extern "C" __attribute__((visibility("default")))

VM_EXPORTED nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) noexcept {
    static vm::Warp3dCreator creator;
    static nvinfer1::IPluginCreatorInterface* const creators[] = {&creator};
    count = 1;
    return creators;
}

VM_EXPORTED void setLoggerFinder(nvinfer1::ILoggerFinder* finder) noexcept {
    vm::set_logger_finder(finder);
}
