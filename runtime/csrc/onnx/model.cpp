#include "onnx/model.h"

#include <cmath>
#include <cstring>

#include "cpu/error.h"

namespace vm::onnx {

using wire::content;
using wire::damaged;
using wire::Field;
using wire::Fields;
using wire::integer;
using wire::Kind;

namespace {

// Field numbers.
enum { model_ir_version = 1, model_graph = 7, model_opset = 8, model_metadata = 14 };
enum { graph_node = 1, graph_initializer = 5, graph_input = 11, graph_output = 12 };
enum { graph_sparse_initializer = 15 };
enum { node_input = 1, node_output = 2, node_name = 3, node_op = 4, node_attribute = 5 };
enum { node_domain = 7 };
enum { attribute_name = 1, attribute_i = 3, attribute_s = 4, attribute_t = 5, attribute_g = 6 };
enum { attribute_ints = 8, attribute_graphs = 11, attribute_reference = 21 };

std::string text(const Field &field) { return std::string(content(field)); }

// Numbers come one a field or packed into one.
void integers(const Field &field, std::vector<std::int64_t> &into) {
    if (field.kind == Kind::varint) {
        into.push_back(static_cast<std::int64_t>(field.value));
        return;
    }
    for (Bytes rest = content(field); !rest.empty();)
        into.push_back(static_cast<std::int64_t>(wire::take_varint(rest)));
}

Attribute read_attribute(Bytes message) {
    Attribute result;
    result.serialized = message;
    Field field;
    for (Fields fields(message); fields.next(field);) {
        switch (field.number) {
            case attribute_name: result.name = text(field); break;
            case attribute_i: result.integer = integer(field); break;
            case attribute_s: result.text = content(field); break;
            case attribute_t: result.tensor = content(field); break;
            case attribute_ints: integers(field, result.ints); break;
            case attribute_g:
            case attribute_graphs:
            case attribute_reference: result.has_graph = true; break;
            default: break;
        }
    }
    return result;
}

Node read_node(Bytes message) {
    Node node;
    Field field;
    for (Fields fields(message); fields.next(field);) {
        switch (field.number) {
            case node_input: node.inputs.push_back(text(field)); break;
            case node_output: node.outputs.push_back(text(field)); break;
            case node_name: node.name = text(field); break;
            case node_op: node.op = text(field); break;
            case node_attribute: node.attributes.push_back(read_attribute(content(field))); break;
            case node_domain: node.domain = text(field); break;
            default: break;
        }
    }
    if (node.domain == "ai.onnx") node.domain.clear();
    return node;
}

// ValueInfoProto: name = 1, type = 2; TypeProto: tensor_type = 1; its elem_type = 1, shape = 2;
// TensorShapeProto: dim = 1; Dimension: dim_value = 1.
Value read_value(Bytes message) {
    Value value;
    value.serialized = message;
    Field outer, type, tensor, shape, dim;
    for (Fields a(message); a.next(outer);) {
        if (outer.number == 1) value.name = text(outer);
        if (outer.number != 2) continue;
        for (Fields b(content(outer)); b.next(type);) {
            if (type.number != 1) continue;
            for (Fields c(content(type)); c.next(tensor);) {
                if (tensor.number == 1) value.type = integer(tensor);
                if (tensor.number != 2) continue;
                for (Fields d(content(tensor)); d.next(shape);) {
                    if (shape.number != 1) continue;
                    std::int64_t size = 0;
                    for (Fields e(content(shape)); e.next(dim);)
                        if (dim.number == 1) size = integer(dim);
                    value.dims.push_back(size);
                }
            }
        }
    }
    return value;
}

void read_graph(Bytes message, Model &model) {
    Field field;
    for (Fields fields(message); fields.next(field);) {
        switch (field.number) {
            case graph_node: model.nodes.push_back(read_node(content(field))); break;
            case graph_initializer:
                model.constants.push_back(read_tensor(content(field)));
                break;
            case graph_input: model.inputs.push_back(read_value(content(field))); break;
            case graph_output: model.outputs.push_back(read_value(content(field))); break;
            default: break;
        }
    }
}

void index(Model &model) {
    for (std::size_t i = 0; i < model.constants.size(); ++i)
        if (!model.constant.emplace(model.constants[i].name, i).second) damaged();
    for (std::size_t i = 0; i < model.nodes.size(); ++i)
        for (const std::string &name : model.nodes[i].outputs)
            if (!name.empty() &&
                (model.constant.count(name) || !model.producer.emplace(name, i).second))
                damaged();
}

}  // namespace

const Attribute *Node::attribute(std::string_view which) const {
    for (const Attribute &one : attributes)
        if (one.name == which) return &one;
    return nullptr;
}

std::int64_t Node::integer(std::string_view which, std::int64_t otherwise) const {
    const Attribute *found = attribute(which);
    return found ? found->integer : otherwise;
}

std::string_view Node::text(std::string_view which, std::string_view otherwise) const {
    const Attribute *found = attribute(which);
    return found ? std::string_view(found->text) : otherwise;
}

bool Node::all(std::string_view which, std::int64_t value) const {
    const Attribute *found = attribute(which);
    if (!found) return true;
    for (const std::int64_t one : found->ints)
        if (one != value) return false;
    return true;
}

Model read_model(Bytes file) {
    Model model;
    bool has_graph = false;
    Field field, inner;
    for (Fields fields(file); fields.next(field);) {
        if (field.number == model_ir_version) model.ir_version = integer(field);
        if (field.number == model_graph) {
            if (has_graph) damaged();
            has_graph = true;
            read_graph(content(field), model);
        }
        if (field.number == model_opset) {
            std::string domain;
            std::int64_t version = 0;
            for (Fields entry(content(field)); entry.next(inner);) {
                if (inner.number == 1) domain = text(inner);
                if (inner.number == 2) version = integer(inner);
            }
            if (domain.empty() || domain == "ai.onnx") model.opset = version;
        }
        if (field.number == model_metadata) {
            std::string key, value;
            for (Fields entry(content(field)); entry.next(inner);) {
                if (inner.number == 1) key = text(inner);
                if (inner.number == 2) value = text(inner);
            }
            model.metadata[key] = value;
        }
    }
    if (!has_graph) damaged();
    index(model);
    return model;
}

bool find_constant(const Model &model, const std::string &name, Tensor &tensor) {
    const auto stored = model.constant.find(name);
    if (stored != model.constant.end()) {
        tensor = model.constants[stored->second];
        return true;
    }
    const auto made = model.producer.find(name);
    if (made == model.producer.end()) return false;
    const Node &node = model.nodes[made->second];
    const Attribute *value = node.is("Constant") ? node.attribute("value") : nullptr;
    if (!value) return false;
    tensor = read_tensor(value->tensor);
    return true;
}

}  // namespace vm::onnx
