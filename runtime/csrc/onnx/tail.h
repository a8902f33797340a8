// What leads from a network's prediction to the displacement.
#pragma once

#include <cstdint>
#include <string>

#include "onnx/model.h"

namespace vm::onnx {

struct Ratio {
    std::int32_t numerator = 1, denominator = 1;

    bool is_one() const { return numerator == denominator; }
    double value() const { return static_cast<double>(numerator) / denominator; }
};

struct Tail {
    Ratio before;            // resize before the integration
    std::int32_t steps = 0;  // squarings
    Ratio after;             // resize after it
    std::string head;        // tensor that it starts from
};

// Walk back from the output "displacement" to the tensor that vm-export's tail starts from (see
// vmexport/networks/tail.py). Throws Error (ARTIFACT) where there is no such output.
Tail find_tail(const Model &model);

}  // namespace vm::onnx
