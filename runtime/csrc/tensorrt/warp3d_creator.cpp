#include "warp3d_creator.h"

#include <exception>
#include <string>

#include "logging.h"
#include "warp3d_plugin.h"

namespace vm {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;

namespace {

// Some callers count the terminating zero, some do not.
std::string text_of(const PluginField& field) {
    std::string text(static_cast<const char*>(field.data), static_cast<size_t>(field.length));
    while (!text.empty() && text.back() == '\0') text.pop_back();
    return text;
}

// Sets `value` from a field that may hold one of two words; false, with a message, for another.
bool set_word(const PluginField& field, const char* first, const char* second, std::string& value) {
    if (field.type != PluginFieldType::kCHAR || field.data == nullptr || field.length <= 0) {
        log_error("Warp3d: this attribute is no text:", field.name);
        return false;
    }
    value = text_of(field);
    if (value == first || value == second) return true;
    log_error("Warp3d knows mode linear and nearest, padding zeros and border, but not:",
              value.c_str());
    return false;
}

}  // namespace

nvinfer1::IPluginV3* Warp3dCreator::createPlugin(const char*, const PluginFieldCollection* fields,
                                                 nvinfer1::TensorRTPhase) noexcept {
    try {
        Warp3dAttributes attributes;
        for (int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
            const PluginField& field = fields->fields[i];
            const std::string name = field.name;
            // The parser also hands over plugin_version and plugin_namespace.
            if (name == "mode" && !set_word(field, "linear", "nearest", attributes.mode))
                return nullptr;
            if (name == "padding" && !set_word(field, "zeros", "border", attributes.padding))
                return nullptr;
        }
        return new Warp3dPlugin(attributes);
    } catch (const std::exception& error) {
        log_error("Warp3d cannot be made:", error.what());
        return nullptr;
    }
}

const PluginFieldCollection* Warp3dCreator::getFieldNames() noexcept {
    static const PluginField fields[] = {{"mode", nullptr, PluginFieldType::kCHAR, 0},
                                         {"padding", nullptr, PluginFieldType::kCHAR, 0}};
    static const PluginFieldCollection collection = {2, fields};
    return &collection;
}

const char* Warp3dCreator::getPluginName() const noexcept { return WARP3D_NAME; }
const char* Warp3dCreator::getPluginVersion() const noexcept { return WARP3D_VERSION; }
const char* Warp3dCreator::getPluginNamespace() const noexcept { return WARP3D_NAMESPACE; }

}  // namespace vm
