#include "plan/plan_file.h"

#include <cstdint>

#include "cpu/error.h"
#include "onnx/json.h"

namespace vm {

namespace {

// First bytes of a plan. The first of them is also that of TensorRT-RTX, and its plans say their
// own length (8 bytes, little-endian).
constexpr std::string_view magics[] = {"vtrt", "ptrt", "ftrt"};
constexpr std::size_t size_at = 16;

constexpr std::string_view opening = "{\"version\":";
constexpr std::size_t longest_name = 4096;  // bytes; what TensorRT keeps of a network's name

// Weights are arbitrary bytes: a file that repeats the opening must not take minutes.
constexpr int most_tries = 64;

void check_size(std::string_view plan) {
    std::uint64_t size = 0;
    const bool stated = plan.size() >= size_at + 8;
    for (std::size_t i = 8; stated && i-- > 0;)
        size = size << 8 | static_cast<unsigned char>(plan[size_at + i]);
    if (!stated || plan.size() < size)
        throw Error(VM_ERROR_ARTIFACT,
                    "the file is a damaged plan: " + std::to_string(plan.size()) +
                        " bytes instead of " + std::to_string(size) +
                        "; copy it again, or make it again with vm-export --engine");
}

// Length of the manifest that a text begins with; 0 where it begins with none.
std::size_t manifest_length(std::string_view text) {
    std::size_t length = 0;
    try {
        const json::Value values = json::parse_first(text, length);
        for (const auto &member : values.members)
            if (member.first == "engine") return length;
    } catch (const Error &) {  // weights that look like its beginning
    }
    return 0;
}

}  // namespace

bool is_plan(std::string_view content) {
    for (const std::string_view magic : magics)
        if (content.substr(0, magic.size()) == magic) return true;
    return false;
}

std::string read_plan_manifest(std::string_view plan) {
    if (plan.substr(0, magics[0].size()) == magics[0]) check_size(plan);
    std::size_t at = plan.find(opening);
    for (int tries = 0; tries < most_tries && at != std::string_view::npos; ++tries) {
        const std::string_view text = plan.substr(at, longest_name);
        const std::size_t length = manifest_length(text);
        if (length) return std::string(text.substr(0, length));
        at = plan.find(opening, at + 1);
    }
    throw Error(VM_ERROR_ARTIFACT,
                "the file is a TensorRT plan without a manifest, so nothing is known of its grid "
                "and intensities; build it from model.onnx with vm-export --engine");
}

}  // namespace vm
