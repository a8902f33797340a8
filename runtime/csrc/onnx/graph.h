// A graph that is made from part of another.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "onnx/model.h"

namespace vm::onnx {

struct Graph {
    std::vector<Node> nodes;                  // each after those that it needs
    std::map<std::string, Bytes> constants;   // serialized tensors by name
    std::deque<std::string> made;             // bytes that exist in no file, for the views above

    // Keep bytes that were made, for as long as the graph is there.
    Bytes keep(std::string bytes);

    // Node that makes a tensor; nullptr where none does.
    const Node *producer(const std::string &tensor) const;

    // The constant of that name; false if it is none.
    bool constant(const std::string &name, Tensor &tensor) const;

    // How many inputs of nodes a tensor feeds.
    std::size_t uses(const std::string &tensor) const;

    // An attribute, serialized.
    Attribute attribute(const std::string &name, const std::vector<std::int64_t> &integers);
    Attribute attribute(const std::string &name, std::int64_t integer);

    // Drop what a tensor does not depend on.
    void prune(const std::string &result);
};

std::string serialize(const Node &node);

}  // namespace vm::onnx
