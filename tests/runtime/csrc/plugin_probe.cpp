// Does to the plugin what TensorRT does to it before a kernel runs, and prints what it answers.
// Built and run by test_tensorrt_plugin.py: plugin_probe LIBRARY
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <string>

using namespace nvinfer1;

namespace {

struct Logger final : ILogger {
    void log(Severity, const char* text) noexcept override { std::printf("log: %s\n", text); }
};

struct Finder final : ILoggerFinder {
    Logger logger;
    ILogger* findLogger() override { return &logger; }
    virtual ~Finder() = default;
};

PluginField text(const char* name, const char* value) {
    return {name, value, PluginFieldType::kCHAR, static_cast<int32_t>(std::strlen(value))};
}

IPluginV3* make(IPluginCreatorV3One& creator, const char* mode, const char* padding) {
    const PluginField fields[] = {text("plugin_version", "1"), text("mode", mode),
                                  text("padding", padding)};
    const PluginFieldCollection collection = {3, fields};
    return creator.createPlugin("warp", &collection, TensorRTPhase::kBUILD);
}

void print_fields(IPluginV3& plugin) {
    auto& runtime = *static_cast<IPluginV3OneRuntime*>(
        plugin.getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    const PluginFieldCollection& fields = *runtime.getFieldsToSerialize();
    for (int32_t i = 0; i < fields.nbFields; ++i) {
        const PluginField& field = fields.fields[i];
        std::printf("%s=%.*s\n", field.name, field.length, static_cast<const char*>(field.data));
    }
}

PluginTensorDesc tensor(DataType type, int64_t channels, int64_t d, int64_t h, int64_t w) {
    PluginTensorDesc desc{};
    desc.type = type;
    desc.format = TensorFormat::kLINEAR;
    desc.dims.nbDims = 5;
    const int64_t sizes[] = {1, channels, d, h, w};
    for (int axis = 0; axis < 5; ++axis) desc.dims.d[axis] = sizes[axis];
    return desc;
}

// Which of FP32, FP16, INT8 are taken for each of volume, displacement and moved.
void print_types(IPluginV3& plugin) {
    auto& build = *static_cast<IPluginV3OneBuild*>(
        plugin.getCapabilityInterface(PluginCapabilityType::kBUILD));
    for (DataType volume : {DataType::kFLOAT, DataType::kHALF, DataType::kINT8})
        for (DataType displacement : {DataType::kFLOAT, DataType::kHALF})
            for (DataType moved : {DataType::kFLOAT, DataType::kHALF}) {
                DynamicPluginTensorDesc both[3]{};
                both[0].desc = tensor(volume, 1, 8, 8, 8);
                both[1].desc = tensor(displacement, 3, 8, 8, 8);
                both[2].desc = tensor(moved, 1, 8, 8, 8);
                bool taken = true;
                for (int32_t i = 0; i < 3; ++i)
                    taken = taken && build.supportsFormatCombination(i, both, 2, 1);
                if (taken)
                    std::printf("types %d %d %d\n", static_cast<int>(volume),
                                static_cast<int>(displacement), static_cast<int>(moved));
            }
    DataType out{};
    const DataType in[] = {DataType::kHALF, DataType::kFLOAT};
    const int32_t status = build.getOutputDataTypes(&out, 1, in, 2);
    std::printf("output type %d (%d)\n", static_cast<int>(out), status);
}

void print_shape_changes(IPluginV3& plugin) {
    auto& runtime = *static_cast<IPluginV3OneRuntime*>(
        plugin.getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    const PluginTensorDesc out = tensor(DataType::kFLOAT, 2, 4, 5, 6);
    PluginTensorDesc in[] = {tensor(DataType::kFLOAT, 2, 7, 8, 9),
                             tensor(DataType::kFLOAT, 3, 4, 5, 6)};
    std::printf("shapes: %d\n", runtime.onShapeChange(in, 2, &out, 1));
    in[1].dims.d[1] = 2;
    std::printf("two channels: %d\n", runtime.onShapeChange(in, 2, &out, 1));
    in[1].dims.d[1] = 3;
    in[0].dims.nbDims = 4;
    std::printf("four axes: %d\n", runtime.onShapeChange(in, 2, &out, 1));
    in[0].dims.nbDims = 5;
    int devices = 0;
    // Without a GPU nothing can be launched, and that must come back as a status and a message.
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        const void* inputs[] = {nullptr, nullptr};
        void* outputs[] = {nullptr};
        std::printf("enqueue: %d\n", runtime.enqueue(in, &out, inputs, outputs, nullptr, nullptr));
    }
}

}  // namespace

int main(int, char** arguments) {
    void* library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        std::printf("%s\n", dlerror());
        return 1;
    }
    using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
    using SetLoggerFinder = void (*)(ILoggerFinder*);
    static Finder finder;
    reinterpret_cast<SetLoggerFinder>(dlsym(library, "setLoggerFinder"))(&finder);
    int32_t count = 0;
    IPluginCreatorInterface* const* creators =
        reinterpret_cast<GetCreators>(dlsym(library, "getCreators"))(count);
    std::printf("creators: %d, %s\n", count, creators[0]->getInterfaceInfo().kind);
    auto& creator = static_cast<IPluginCreatorV3One&>(*creators[0]);
    std::printf("%s::%s version %s\n", creator.getPluginNamespace(), creator.getPluginName(),
                creator.getPluginVersion());
    const PluginFieldCollection& names = *creator.getFieldNames();
    for (int32_t i = 0; i < names.nbFields; ++i) std::printf("field %s\n", names.fields[i].name);

    IPluginV3* made = make(creator, "nearest", "border");
    IPluginV3* copy = made->clone();
    delete made;
    print_fields(*copy);
    print_types(*copy);
    print_shape_changes(*copy);
    delete copy;

    const PluginFieldCollection none = {0, nullptr};
    IPluginV3* plain = creator.createPlugin("warp", &none, TensorRTPhase::kRUNTIME);
    print_fields(*plain);
    delete plain;
    std::printf("cubic: %s\n", make(creator, "cubic", "zeros") == nullptr ? "refused" : "made");
    return 0;
}
