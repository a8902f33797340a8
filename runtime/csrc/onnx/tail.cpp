#include "onnx/tail.h"

#include <cmath>

#include "cpu/error.h"

namespace vm::onnx {

namespace {

// Factors of networks are small fractions, such as 2 or 1/2.
constexpr int largest_denominator = 64;

const Node *made_by(const Model &model, const std::string &tensor) {
    const auto found = model.producer.find(tensor);
    return found == model.producer.end() ? nullptr : &model.nodes[found->second];
}

// The one value of a constant; false where it is none.
bool scalar(const Model &model, const std::string &name, double &value) {
    Tensor tensor;
    if (!find_constant(model, name, tensor) || tensor.count() != 1) return false;
    if (tensor.type != type_float && tensor.type != type_double) return false;
    value = values(tensor)[0];
    return true;
}

// For a node that combines a tensor with a constant: both of them.
bool scaled(const Model &model, const Node *node, const char *op, std::string &tensor,
            double &factor) {
    if (!node || !node->is(op) || node->inputs.size() != 2) return false;
    if (scalar(model, node->inputs[1], factor)) {
        tensor = node->inputs[0];
        return true;
    }
    if (node->op == "Mul" && scalar(model, node->inputs[0], factor)) {
        tensor = node->inputs[1];
        return true;
    }
    return false;
}

bool is_field_resize(const Node *node) {
    return node && node->is("Resize") && !node->inputs.empty() &&
           node->text("mode", "nearest") == "linear" &&
           node->text("coordinate_transformation_mode", "half_pixel") == "align_corners";
}

Ratio ratio_of(double factor) {
    for (int denominator = 1; denominator <= largest_denominator; ++denominator) {
        const double numerator = std::round(factor * denominator);
        if (numerator >= 1 && numerator <= 4096 &&
            std::abs(numerator / denominator - factor) <= 1e-6 * factor)
            return {static_cast<std::int32_t>(numerator), denominator};
    }
    throw Error(VM_ERROR_ARTIFACT, "the model resizes its field by a factor that is no small "
                                   "fraction; export it again");
}

// Resampling with the values scaled alike: before it where the field grows, after it where it
// shrinks. Leaves `tensor` as it is where it does not come from that.
Ratio take_resize(const Model &model, std::string &tensor) {
    const Node *last = made_by(model, tensor);
    double factor = 1;
    std::string from;
    if (is_field_resize(last)) {
        const Node *first = made_by(model, last->inputs[0]);
        if (!scaled(model, first, "Mul", from, factor) || factor <= 1) return {};
    } else if (scaled(model, last, "Mul", from, factor) && factor < 1 && factor > 0 &&
               is_field_resize(made_by(model, from))) {
        from = made_by(model, from)->inputs[0];
    } else {
        return {};
    }
    const Ratio ratio = ratio_of(factor);
    tensor = from;
    return ratio;
}

// One squaring: field + warp(field, field).
bool take_squaring(const Model &model, std::string &tensor) {
    const Node *sum = made_by(model, tensor);
    if (!sum || !sum->is("Add") || sum->inputs.size() != 2) return false;
    for (const int first : {0, 1}) {
        const std::string &field = sum->inputs[static_cast<std::size_t>(first)];
        const Node *warp = made_by(model, sum->inputs[static_cast<std::size_t>(1 - first)]);
        if (warp && warp->is("Warp3d", "vxm") && warp->inputs.size() == 2 &&
            warp->inputs[0] == field && warp->inputs[1] == field &&
            warp->text("mode", "linear") == "linear" &&
            warp->text("padding", "zeros") == "zeros") {
            const std::string next = field;
            tensor = next;
            return true;
        }
    }
    return false;
}

std::int32_t take_integration(const Model &model, std::string &tensor) {
    std::string at = tensor;
    std::int32_t steps = 0;
    while (steps < 31 && take_squaring(model, at)) ++steps;
    if (!steps) return 0;
    std::string from;
    double factor = 0;
    const double wanted = std::ldexp(1.0, steps);
    const Node *scaling = made_by(model, at);
    const bool divided = scaled(model, scaling, "Div", from, factor) && factor == wanted;
    const bool multiplied = scaled(model, scaling, "Mul", from, factor) && factor == 1 / wanted;
    if (!divided && !multiplied) return 0;
    tensor = from;
    return steps;
}

}  // namespace

Tail find_tail(const Model &model) {
    if (!model.producer.count("displacement"))
        throw Error(VM_ERROR_ARTIFACT,
                    "the model has no output \"displacement\"; make one with vm-export");
    Tail tail;
    tail.head = "displacement";
    tail.after = take_resize(model, tail.head);
    tail.steps = take_integration(model, tail.head);
    if (tail.steps) tail.before = take_resize(model, tail.head);
    return tail;
}

}  // namespace vm::onnx
