// Cutting models: where the U-Net ends, what its tail is, and whatever else a file may hold.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "expect.h"
#include "tiny_model.h"
#include "vmruntime.h"

namespace {

struct Free {
    void operator()(vm_unet *unet) const { vm_unet_free(unet); }
};
using UNet = std::unique_ptr<vm_unet, Free>;

std::string tiny(const tiny_options *options = nullptr) {
    size_t size = 0;
    char *bytes = tiny_model(options, &size);
    std::string model(bytes, size);
    std::free(bytes);
    return model;
}

vm_status cut(const std::string &model, UNet &unet, bool rewrite = false) {
    vm_unet_options options = {};
    options.struct_size = sizeof options;
    options.rewrite = rewrite;
    vm_unet *made = nullptr;
    const vm_status status = vm_unet_from_onnx(model.data(), model.size(), &options, &made);
    unet.reset(made);
    return status;
}

vm_unet_info info_of(const UNet &unet) {
    vm_unet_info info = {};
    info.struct_size = sizeof info;
    EXPECT_STATUS(vm_unet_describe(unet.get(), &info), VM_OK);
    return info;
}

std::string bytes_of(const UNet &unet) {
    size_t size = 0;
    const void *data = vm_unet_data(unet.get(), &size);
    return std::string(static_cast<const char *>(data), size);
}

void tails_are_found() {
    for (const int before : {1, 2})
        for (const int half : {0, 1}) {
            const tiny_options options = {0, before, 3 - before, half, nullptr};
            UNet unet;
            EXPECT_STATUS(cut(tiny(&options), unet), VM_OK);
            const vm_unet_info info = info_of(unet);
            EXPECT(info.before_numerator == before && info.before_denominator == 1);
            EXPECT(info.after_numerator == 3 - before && info.after_denominator == 1);
            EXPECT(info.int_steps == TINY_STEPS && info.diffeomorphic == 1);
            EXPECT(info.half == half && info.stride == 8 && info.rewritten == 0);
            EXPECT(info.shape[0] == TINY_SIZE && info.shape[2] == TINY_SIZE);
            EXPECT(std::strstr(info.manifest, "\"stride\":8"));
        }
}

void only_the_unet_is_left() {
    UNet unet;
    EXPECT_STATUS(cut(tiny(), unet), VM_OK);
    const std::string model = bytes_of(unet);
    EXPECT(model.find("velocity") != std::string::npos);
    EXPECT(model.find("LeakyRelu") != std::string::npos);
    for (const char *gone : {"Warp3d", "displacement", "moved", "manifest", "vxm"})
        EXPECT(model.find(gone) == std::string::npos);
}

void upsamplings_are_rewritten() {
    for (const int half : {0, 1}) {
        const tiny_options options = {0, 1, 2, half, nullptr};
        UNet unet;
        EXPECT_STATUS(cut(tiny(&options), unet, true), VM_OK);
        EXPECT(info_of(unet).rewritten == 2);
        const std::string model = bytes_of(unet);
        EXPECT(model.find("ConvTranspose") != std::string::npos);
        EXPECT(model.find("Resize") == std::string::npos);
    }
}

void free_shapes_stay_free() {
    const tiny_options options = {1, 1, 2, 0, nullptr};
    UNet unet;
    EXPECT_STATUS(cut(tiny(&options), unet), VM_OK);
    const vm_unet_info info = info_of(unet);
    EXPECT(!info.shape[0] && !info.shape[1] && !info.shape[2]);
}

void manifests_are_checked() {
    const std::string right = [] {
        UNet unet;
        EXPECT_STATUS(cut(tiny(), unet), VM_OK);
        return std::string(info_of(unet).manifest);
    }();
    const auto replaced = [&right](const std::string &from, const std::string &to) {
        std::string text = right;
        const size_t at = text.find(from);
        EXPECT(at != std::string::npos);
        return text.replace(at, from.size(), to);
    };
    const std::string wrong[] = {
        "",  // none at all
        "{",
        "[]",
        "nonsense",
        std::string(100000, '['),
        replaced("\"1.0\"", "\"2.0\""),
        replaced("\"1.0\"", "\"0.9\""),
        replaced("\"1.0\"", "1.0"),
        replaced("\"stride\":8", "\"stride\":0"),
        replaced("\"stride\":8", "\"stride\":7"),
        replaced("[16,16,16]", "[16,16]"),
        replaced("[16,16,16]", "[16,16,8]"),
        replaced("[16,16,16]", "[-16,16,16]"),
        replaced("[16,16,16]", "[1e30,16,16]"),
        replaced("LIA", "LIR"),
        replaced("LIA", "LI"),
        replaced("[1.0,1.0,1.0]", "[1.0,0,1.0]"),
        replaced("[1.0,1.0,1.0]", "[1.0,1e999,1.0]"),
        replaced("true", "1"),
        replaced("\"int_steps\":3", "\"int_steps\":3.5"),
        replaced("\"int_steps\":3", "\"int_step\":3"),
        replaced("fp32", "fp8"),
        replaced("\"none\"", "null"),
    };
    for (const std::string &manifest : wrong) {
        const tiny_options options = {0, 1, 2, 0, manifest.c_str()};
        UNet unet;
        EXPECT_STATUS(cut(tiny(&options), unet), VM_ERROR_ARTIFACT);
        EXPECT(!unet);
    }
    const std::string steps = replaced("\"int_steps\":3", "\"int_steps\":4");
    const tiny_options disagrees = {0, 1, 2, 0, steps.c_str()};
    UNet unet;
    EXPECT_STATUS(cut(tiny(&disagrees), unet), VM_ERROR_UNSUPPORTED);
    for (const char *precision : {"int8", "mixed"}) {
        const std::string text = replaced("fp32", precision);
        const tiny_options quantized = {0, 1, 2, 0, text.c_str()};
        UNet other;
        EXPECT_STATUS(cut(tiny(&quantized), other), VM_ERROR_UNSUPPORTED);
        EXPECT(std::strstr(vm_last_error(), precision));
    }
    const std::string newer = replaced("{", "{\"some\":{\"new\":[\"\\u00e9\\ud83d\\ude00\"]},");
    const tiny_options additions = {0, 1, 2, 0, newer.c_str()};
    EXPECT_STATUS(cut(tiny(&additions), unet), VM_OK);
}

void bad_arguments_are_refused() {
    const std::string model = tiny();
    vm_unet *unet = nullptr;
    EXPECT_STATUS(vm_unet_from_onnx(nullptr, 10, nullptr, &unet), VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_unet_from_onnx(model.data(), model.size(), nullptr, nullptr),
                  VM_ERROR_ARGUMENT);
    vm_unet_options options = {};
    EXPECT_STATUS(vm_unet_from_onnx(model.data(), model.size(), &options, &unet),
                  VM_ERROR_ARGUMENT);
    EXPECT_STATUS(vm_unet_from_onnx(model.data(), 0, nullptr, &unet), VM_ERROR_ARTIFACT);
    EXPECT_STATUS(vm_unet_from_onnx("GIF89a and so on", 16, nullptr, &unet), VM_ERROR_ARTIFACT);
    EXPECT(!unet);
    vm_unet_info info = {};
    EXPECT_STATUS(vm_unet_describe(nullptr, &info), VM_ERROR_ARGUMENT);
    size_t size = 1;
    EXPECT(!vm_unet_data(nullptr, &size) && size == 0);
    vm_unet_free(nullptr);
    // A program of an older header knows fewer members.
    UNet made;
    EXPECT_STATUS(cut(model, made), VM_OK);
    std::memset(&info, 0x55, sizeof info);
    info.struct_size = offsetof(vm_unet_info, int_steps);
    EXPECT_STATUS(vm_unet_describe(made.get(), &info), VM_OK);
    EXPECT(info.before_numerator == 1 && info.int_steps == 0x55555555);
    info.struct_size = 0;
    EXPECT_STATUS(vm_unet_describe(made.get(), &info), VM_ERROR_ARGUMENT);
}

// Files that are cut off, or in which bytes were changed, give a status and never more than that.
void damaged_files_do_no_harm() {
    const char *wished = std::getenv("VM_FUZZ");
    const int rounds = wished ? std::atoi(wished) : 3000;
    std::uint32_t state = 7;
    const auto random = [&state](std::size_t below) {
        state = state * 1664525u + 1013904223u;
        return static_cast<std::size_t>(state >> 8) % below;
    };
    const tiny_options kinds[] = {
        {0, 1, 2, 0, nullptr}, {1, 2, 1, 0, nullptr}, {0, 2, 1, 1, nullptr}};
    int refused = 0;
    for (int round = 0; round < rounds; ++round) {
        std::string model = tiny(&kinds[round % 3]);
        // Half of the changes where names and structure are, which is a few percent of the file.
        const std::size_t region = round % 2 ? model.size() : 4000;
        for (std::size_t changes = 1 + random(4); changes && model.size() > 1; --changes) {
            const std::size_t at = random(std::min(region, model.size()));
            switch (random(4)) {
                case 0: model[at] = static_cast<char>(random(256)); break;
                case 1: model[at] = static_cast<char>(0xff); break;
                case 2: model.erase(at, 1 + random(8)); break;
                default: model.insert(at, model, random(model.size()), 1 + random(40));
            }
            if (random(20) == 0) model.resize(random(model.size()));
        }
        UNet unet;
        refused += cut(model, unet, round % 5 != 0) != VM_OK;
    }
    EXPECT(refused > rounds / 4 && refused < rounds);
}

}  // namespace

int main() {
    tails_are_found();
    only_the_unet_is_left();
    upsamplings_are_rewritten();
    free_shapes_stay_free();
    manifests_are_checked();
    bad_arguments_are_refused();
    damaged_files_do_no_harm();
    return disappointed;
}
