#include "onnx/graph.h"

#include <unordered_set>

namespace vm::onnx {

namespace {

// AttributeProto.type
enum { attribute_int = 2, attribute_ints = 7 };

}  // namespace

Bytes Graph::keep(std::string bytes) {
    made.push_back(std::move(bytes));
    return made.back();
}

const Node *Graph::producer(const std::string &tensor) const {
    for (const Node &node : nodes)
        for (const std::string &output : node.outputs)
            if (output == tensor) return &node;
    return nullptr;
}

bool Graph::constant(const std::string &name, Tensor &tensor) const {
    const auto found = constants.find(name);
    if (found == constants.end()) return false;
    tensor = read_tensor(found->second);
    return true;
}

std::size_t Graph::uses(const std::string &tensor) const {
    std::size_t count = 0;
    for (const Node &node : nodes)
        for (const std::string &input : node.inputs) count += input == tensor;
    return count;
}

Attribute Graph::attribute(const std::string &name, const std::vector<std::int64_t> &integers) {
    std::string bytes;
    wire::put_bytes(bytes, 1, name);
    for (const std::int64_t value : integers) wire::put_integer(bytes, 8, value);
    wire::put_integer(bytes, 20, attribute_ints);
    Attribute result;
    result.name = name;
    result.ints = integers;
    result.serialized = keep(std::move(bytes));
    return result;
}

Attribute Graph::attribute(const std::string &name, std::int64_t integer) {
    std::string bytes;
    wire::put_bytes(bytes, 1, name);
    wire::put_integer(bytes, 3, integer);
    wire::put_integer(bytes, 20, attribute_int);
    Attribute result;
    result.name = name;
    result.integer = integer;
    result.serialized = keep(std::move(bytes));
    return result;
}

void Graph::prune(const std::string &result) {
    std::unordered_set<std::string> wanted{result};
    std::vector<Node> kept;
    // Backwards, so that whatever a node needs is known before it is reached.
    for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
        bool used = false;
        for (const std::string &output : node->outputs) used |= wanted.count(output) != 0;
        if (!used) continue;
        wanted.insert(node->inputs.begin(), node->inputs.end());
        kept.push_back(std::move(*node));
    }
    nodes.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
    for (auto constant = constants.begin(); constant != constants.end();)
        constant = wanted.count(constant->first) ? std::next(constant) : constants.erase(constant);
}

std::string serialize(const Node &node) {
    std::string out;
    for (const std::string &name : node.inputs) wire::put_bytes(out, 1, name);
    for (const std::string &name : node.outputs) wire::put_bytes(out, 2, name);
    wire::put_bytes(out, 3, node.name);
    wire::put_bytes(out, 4, node.op);
    for (const Attribute &attribute : node.attributes)
        wire::put_bytes(out, 5, attribute.serialized);
    return out;
}

}  // namespace vm::onnx
