// The parts of an ONNX model that cutting it needs; field numbers are those of onnx.proto3.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "onnx/wire.h"

namespace vm::onnx {

using wire::Bytes;

// TensorProto.DataType
enum Type : std::int64_t { type_float = 1, type_int64 = 7, type_half = 10, type_double = 11 };

struct Tensor {
    std::string name;
    std::int64_t type = 0;
    std::vector<std::int64_t> dims;
    Bytes raw_data;    // field raw_data, if it has one
    Bytes serialized;  // the whole TensorProto

    std::size_t count() const;  // elements that the dims promise
};

struct Attribute {
    std::string name;
    Bytes serialized;
    Bytes text;                      // s
    std::int64_t integer = 0;        // i
    std::vector<std::int64_t> ints;  // ints
    Bytes tensor;                    // t
    bool has_graph = false;
};

struct Node {
    std::string op, domain, name;
    std::vector<std::string> inputs, outputs;
    std::vector<Attribute> attributes;

    bool is(std::string_view which, std::string_view where = "") const {
        return op == which && domain == where;
    }
    const Attribute *attribute(std::string_view which) const;
    std::int64_t integer(std::string_view which, std::int64_t otherwise) const;
    std::string_view text(std::string_view which, std::string_view otherwise) const;
    // Whether a list of integers is absent or has the same value throughout.
    bool all(std::string_view which, std::int64_t value) const;
};

struct Value {  // input or output of the graph
    std::string name;
    std::int64_t type = 0;
    std::vector<std::int64_t> dims;  // 0 where free
    Bytes serialized;
};

struct Model {
    std::int64_t ir_version = 0, opset = 0;
    std::unordered_map<std::string, std::string> metadata;
    std::vector<Node> nodes;
    std::vector<Tensor> constants;  // initializers
    std::vector<Value> inputs, outputs;
    std::unordered_map<std::string, std::size_t> producer;  // tensor -> node
    std::unordered_map<std::string, std::size_t> constant;  // tensor -> constants
};

// Read a serialized ModelProto; the result is a view of it. Throws Error (ARTIFACT).
Model read_model(Bytes file);

Tensor read_tensor(Bytes serialized);

// Values of a FLOAT, FLOAT16, DOUBLE or INT64 tensor, however they are stored. Throws where they do
// not match its dims.
std::vector<double> values(const Tensor &tensor);

// Values of a FLOAT or FLOAT16 tensor as float32.
std::vector<float> floats(const Tensor &tensor);

// The constant of that name, from an initializer or a Constant node. False if it is none.
bool find_constant(const Model &model, const std::string &name, Tensor &tensor);

// A serialized TensorProto of floats.
std::string float_tensor(std::string_view name, const std::vector<std::int64_t> &dims,
                         const std::vector<float> &data);

}  // namespace vm::onnx
