#include "onnx/unet.h"

#include <unordered_set>
#include <utility>

#include "cpu/error.h"
#include "onnx/graph.h"
#include "onnx/rewrite.h"

namespace vm::onnx {

namespace {

constexpr const char *result_name = "velocity";

// Opset and file version of the artifacts; both are older than any engine that takes volumes.
constexpr std::int64_t oldest_opset = 13, oldest_ir = 8;

// A hundred times what a U-Net has: searching is quadratic.
constexpr std::size_t most_nodes = 4096;

const Value &input(const Model &model, const char *name) {
    for (const Value &value : model.inputs)
        if (value.name == name && value.type == type_float && value.dims.size() == 5) return value;
    throw Error(VM_ERROR_ARTIFACT, std::string("the model has no input \"") + name +
                                       "\" of (1, C, D, H, W) float32; make one with vm-export");
}

void check(const Model &model, const Manifest &manifest, const Tail &tail) {
    for (const char *name : {"moving", "fixed"}) {
        const Value &value = input(model, name);
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const std::int64_t size = value.dims[2 + axis], stated = manifest.shape[axis];
            if (size && stated && size != stated)
                throw Error(VM_ERROR_ARTIFACT,
                            "the model's inputs have another shape than its manifest says; export "
                            "the model again");
        }
    }
    if (tail.steps != manifest.int_steps)
        throw Error(VM_ERROR_UNSUPPORTED,
                    "the graph integrates in " + std::to_string(tail.steps) +
                        " steps, its manifest says " + std::to_string(manifest.int_steps) +
                        "; export the model again, or use onnxruntime, which runs it whole");
}

// Part of the artifact's graph that a tensor depends on.
Graph part_before(const Model &model, const std::string &head) {
    Graph graph;
    graph.nodes = model.nodes;
    for (const Tensor &tensor : model.constants) graph.constants[tensor.name] = tensor.serialized;
    graph.prune(head);
    if (graph.nodes.size() > most_nodes)
        throw Error(VM_ERROR_UNSUPPORTED, "the network has " + std::to_string(graph.nodes.size()) +
                                              " operators; a U-Net has fewer than " +
                                              std::to_string(most_nodes));
    std::unordered_set<std::string> there{"moving", "fixed", ""};
    std::vector<Node> nodes;
    for (Node &node : graph.nodes) {
        if (!node.domain.empty())
            throw Error(VM_ERROR_UNSUPPORTED,
                        "the network uses " + node.domain + "::" + node.op +
                            " before its tail; only onnxruntime runs this model");
        for (const Attribute &attribute : node.attributes)
            if (attribute.has_graph)
                throw Error(VM_ERROR_UNSUPPORTED, "the network uses the control flow " + node.op +
                                                      "; only onnxruntime runs this model");
        for (const std::string &name : node.inputs)
            if (!there.count(name) && !graph.constants.count(name)) wire::damaged();
        there.insert(node.outputs.begin(), node.outputs.end());
        // Constants as initializers, where all that follows looks for them.
        const Attribute *value = node.is("Constant") ? node.attribute("value") : nullptr;
        if (value && node.outputs.size() == 1) {
            const std::string &name = node.outputs[0];
            Tensor tensor = read_tensor(value->tensor);
            if (tensor.type == type_float) {
                graph.constants[name] = graph.keep(float_tensor(name, tensor.dims, floats(tensor)));
                continue;
            }
        }
        nodes.push_back(std::move(node));
    }
    graph.nodes = std::move(nodes);
    if (!graph.producer(head)) wire::damaged();
    return graph;
}

// The head gets a name that callers know; a tensor that had it takes the head's.
void name_result(Graph &graph, const std::string &head) {
    const auto rename = [&head](std::string &name) {
        if (name == head)
            name = result_name;
        else if (name == result_name)
            name = head;
    };
    for (Node &node : graph.nodes) {
        for (std::string &name : node.inputs) rename(name);
        for (std::string &name : node.outputs) rename(name);
    }
    const auto constant = graph.constants.find(result_name);
    if (constant != graph.constants.end() && head != result_name)
        throw Error(VM_ERROR_ARTIFACT, "a weight is called \"velocity\"; export the model again");
}

// ValueInfoProto of a tensor (1, channels, shape) of float32; sizes of 0 are free.
std::string value_info(const std::string &name, std::int64_t channels,
                       const std::array<std::int64_t, 3> &shape) {
    std::string dims, tensor, type, value;
    for (const std::int64_t size : {std::int64_t(1), channels, shape[0], shape[1], shape[2]}) {
        std::string dim;
        if (size) wire::put_integer(dim, 1, size);
        wire::put_bytes(dims, 1, dim);
    }
    wire::put_integer(tensor, 1, type_float);
    wire::put_bytes(tensor, 2, dims);
    wire::put_bytes(type, 1, tensor);
    wire::put_bytes(value, 1, name);
    wire::put_bytes(value, 2, type);
    return value;
}

std::string serialize(const Model &model, const Graph &graph, const UNet &unet) {
    std::string body, opset, out;
    for (const Node &node : graph.nodes) wire::put_bytes(body, 1, onnx::serialize(node));
    wire::put_bytes(body, 2, "unet");
    for (const auto &constant : graph.constants) wire::put_bytes(body, 5, constant.second);
    const std::array<std::int64_t, 3> &shape = unet.manifest.shape;
    for (const char *name : {"moving", "fixed"})
        wire::put_bytes(body, 11, value_info(name, input(model, name).dims[1], shape));
    wire::put_bytes(body, 12, value_info(result_name, 3, velocity_shape(unet.tail, shape)));
    wire::put_integer(opset, 2, model.opset);
    wire::put_integer(out, 1, model.ir_version);
    wire::put_bytes(out, 2, "vmruntime");
    wire::put_bytes(out, 7, body);
    wire::put_bytes(out, 8, opset);
    return out;
}

}  // namespace

std::array<std::int64_t, 3> velocity_shape(const Tail &tail,
                                           const std::array<std::int64_t, 3> &shape) {
    const auto larger = std::int64_t(tail.before.numerator) * tail.after.numerator;
    const auto smaller = std::int64_t(tail.before.denominator) * tail.after.denominator;
    std::array<std::int64_t, 3> result{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (shape[axis] * smaller % larger)
            throw Error(VM_ERROR_ARTIFACT,
                        "the model's shape is no multiple of its factors; export it again");
        result[axis] = shape[axis] * smaller / larger;
    }
    return result;
}

UNet cut_unet(std::string_view artifact, Form form,
              const std::array<std::int64_t, 3> &shape) {
    const Model model = read_model(artifact);
    UNet unet;
    unet.manifest = read_manifest(model);
    if (model.opset < oldest_opset || model.ir_version < oldest_ir)
        throw Error(VM_ERROR_ARTIFACT, "the model has opset " + std::to_string(model.opset) +
                                           "; export it again");
    unet.tail = find_tail(model);
    check(model, unet.manifest, unet.tail);
    Graph graph = part_before(model, unet.tail.head);
    if (form != Form::stored) widen(graph);
    if (form == Form::rewritten) unet.rewritten = rewrite_upsamplings(graph);
    if (form != Form::stored) graph.prune(unet.tail.head);
    name_result(graph, unet.tail.head);
    if (unet.manifest.free_shape()) unet.manifest.shape = shape;
    unet.model = serialize(model, graph, unet);
    return unet;
}

}  // namespace vm::onnx
