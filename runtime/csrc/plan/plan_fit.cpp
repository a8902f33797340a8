#include "plan/plan_fit.h"

#include <algorithm>
#include <array>

#include "cpu/error.h"

namespace vm {

namespace {

using Version = std::array<int, 3>;

// Major, minor and patch: the library does not say its fourth number, the build's.
Version numbers(const std::string &text) {
    Version version{};
    std::size_t at = 0;
    for (int &number : version) {
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9' && number < 100000; ++at)
            number = 10 * number + (text[at] - '0');
        if (at >= text.size() || text[at] != '.') break;
        ++at;
    }
    return version;
}

bool takes(const BuiltEngine &engine, const std::string &version) {
    const Version built = numbers(engine.version), here = numbers(version);
    if (!engine.version_compatible) return built == here;
    return here >= built && (here[0] == built[0] || (built[0] == 10 && here[0] == 11));
}

bool takes(const BuiltEngine &engine, int capability) {
    const std::vector<int> &built = engine.compute_capability;
    if (built.empty() || std::find(built.begin(), built.end(), capability) != built.end())
        return true;
    return engine.hardware_compatible &&
           capability >= *std::min_element(built.begin(), built.end());
}

std::string dotted(int capability) {
    return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

}  // namespace

void check_fit(const BuiltEngine &built, const std::string &version, const std::string &gpu,
               int compute_capability) {
    if (takes(built, version) && takes(built, compute_capability)) return;
    std::string gpus;
    for (const int capability : built.compute_capability)
        gpus += (gpus.empty() ? " for compute capability " : ", ") + dotted(capability);
    throw Error(VM_ERROR_UNAVAILABLE,
                "the plan was built with TensorRT " + built.version + gpus +
                    ", and here are TensorRT " + version + " and " + gpu + " (" +
                    dotted(compute_capability) +
                    "); build it again here with vm-export model.onnx --engine");
}

}  // namespace vm
