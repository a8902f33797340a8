#include "onnx/manifest.h"

#include <algorithm>

#include "cpu/error.h"
#include "onnx/json.h"

namespace vm {

namespace {

using json::Value;

constexpr int major_version = 1;

// Nothing in a manifest is of that size; the bound keeps hostile numbers out of arithmetic.
constexpr std::int64_t largest = 1 << 16;

Error wrong(const std::string &key, const char *expected) {
    return Error(VM_ERROR_ARTIFACT, "the manifest's " + key + " is not " + expected +
                                        "; export the model again");
}

bool is_integer(const Value &value, std::int64_t low) {
    return value.kind == Value::Kind::number && value.whole &&
           value.number >= static_cast<double>(low) &&
           value.number <= static_cast<double>(largest);
}

std::int64_t integer(const Value &object, const char *key, std::int64_t low) {
    const Value &value = object[key];
    if (!is_integer(value, low)) throw wrong(key, "a whole number in its range");
    return static_cast<std::int64_t>(value.number);
}

// A field that models of version 1.0 may lack.
std::int64_t integer_or(const Value &object, const char *key, std::int64_t otherwise) {
    return object[key].kind == Value::Kind::null ? otherwise : integer(object, key, 1);
}

const std::string &text(const Value &object, const char *key) {
    const Value &value = object[key];
    if (value.kind != Value::Kind::text) throw wrong(key, "a text");
    return value.text;
}

void check_version(const Value &value) {
    const std::string &version = value.text;
    const std::size_t dot = version.find('.');
    const auto digits = [](std::string_view part) {
        return !part.empty() && part.size() < 6 &&
               part.find_first_not_of("0123456789") == std::string_view::npos;
    };
    if (value.kind != Value::Kind::text || dot == std::string::npos ||
        !digits(version.substr(0, dot)) || !digits(version.substr(dot + 1)))
        throw wrong("version", "MAJOR.MINOR");
    const int major = std::stoi(version.substr(0, dot));
    if (major > major_version)
        throw Error(VM_ERROR_ARTIFACT, "the manifest has version " + version +
                                           ", this library reads up to 1.x; update vmruntime or "
                                           "export the model with this version");
    if (major < 1)
        throw Error(VM_ERROR_ARTIFACT,
                    "the manifest's version " + version + " was never released");
}

bool is_orientation(std::string_view code) {
    std::string axes;
    for (const char letter : code) {
        const std::size_t at = std::string_view("LRPAIS").find(letter);
        axes.push_back(at == std::string_view::npos ? '?' : "xxyyzz"[at]);
    }
    std::sort(axes.begin(), axes.end());
    return axes == "xyz";
}

void read_shape(const Value &value, Manifest &manifest) {
    if (value.kind == Value::Kind::null) return;
    if (value.items.size() != 3) throw wrong("shape", "three sizes or null");
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (!is_integer(value.items[axis], 1)) throw wrong("shape", "three sizes or null");
        manifest.shape[axis] = static_cast<std::int64_t>(value.items[axis].number);
        if (manifest.shape[axis] % manifest.stride) throw wrong("shape", "multiples of the stride");
    }
}

void read_voxel_size(const Value &value, Manifest &manifest) {
    if (value.items.size() != 3) throw wrong("voxel_size", "three lengths in mm");
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const Value &size = value.items[axis];
        if (size.kind != Value::Kind::number || !(size.number > 1e-6 && size.number < 1e6))
            throw wrong("voxel_size", "three lengths in mm");
        manifest.voxel_size[axis] = size.number;
    }
}

// What is true or false; a field that is missing is false.
bool flag_or(const Value &object, const char *key) {
    const Value &value = object[key];
    if (value.kind == Value::Kind::null) return false;
    if (value.kind != Value::Kind::boolean) throw wrong(key, "true or false");
    return value.flag;
}

const std::string &read_precision(const Value &object) {
    const std::string &precision = text(object, "precision");
    if (precision == "int8" || precision == "mixed")
        throw Error(VM_ERROR_UNSUPPORTED,
                    "the model is in " + precision +
                        ", which the C library does not run; use the Python package, or export "
                        "it in fp32 or fp16");
    if (precision != "fp32" && precision != "fp16") throw wrong("precision", "fp32 or fp16");
    return precision;
}

BuiltEngine read_engine(const Value &values) {
    BuiltEngine engine;
    if (values.kind == Value::Kind::null) return engine;
    if (values.kind != Value::Kind::object) throw wrong("engine", "an object");
    if (values.members.empty()) return engine;
    engine.target = text(values, "target");
    if (engine.target != "tensorrt" && engine.target != "rtx")
        throw wrong("target", "tensorrt or rtx");
    engine.version = text(values, "version");
    engine.precision = read_precision(values);
    const Value &warp = values["warp"];
    if (warp.kind != Value::Kind::null) engine.warp = text(values, "warp");
    engine.version_compatible = flag_or(values, "version_compatible");
    engine.hardware_compatible = flag_or(values, "hardware_compatible");
    const Value &gpus = values["compute_capability"];
    if (gpus.kind != Value::Kind::null && gpus.kind != Value::Kind::array)
        throw wrong("compute_capability", "a list such as [86, 120]");
    for (const Value &gpu : gpus.items) {
        if (!is_integer(gpu, 10) || gpu.number > 1000)
            throw wrong("compute_capability", "a list such as [86, 120]");
        engine.compute_capability.push_back(static_cast<int>(gpu.number));
    }
    return engine;
}

}  // namespace

Manifest parse_manifest(std::string_view text_of_it) {
    const Value values = json::parse(text_of_it);
    if (values.kind != Value::Kind::object)
        throw Error(VM_ERROR_ARTIFACT,
                    "the manifest is not a JSON object; export the model again");
    check_version(values["version"]);
    Manifest manifest;
    manifest.json = std::string(text_of_it);
    manifest.stride = integer(values, "stride", 1);
    read_shape(values["shape"], manifest);
    manifest.orientation = text(values, "orientation");
    if (!is_orientation(manifest.orientation))
        throw wrong("orientation", "three letters such as LIA");
    read_voxel_size(values["voxel_size"], manifest);
    manifest.intensity = text(values, "intensity");
    if (values["diffeomorphic"].kind != Value::Kind::boolean)
        throw wrong("diffeomorphic", "true or false");
    manifest.diffeomorphic = values["diffeomorphic"].flag;
    manifest.int_steps = static_cast<std::int32_t>(integer(values, "int_steps", 0));
    manifest.half = read_precision(values) == "fp16";
    manifest.moving_channels = integer_or(values, "moving_channels", 1);
    manifest.fixed_channels = integer_or(values, "fixed_channels", 1);
    manifest.engine = read_engine(values["engine"]);
    return manifest;
}

Manifest read_manifest(const onnx::Model &model) {
    const auto found = model.metadata.find(manifest_key);
    if (found == model.metadata.end())
        throw Error(VM_ERROR_ARTIFACT,
                    "the model has no manifest, so nothing is known of its grid and intensities; "
                    "make one with vm-export");
    return parse_manifest(found->second);
}

}  // namespace vm
