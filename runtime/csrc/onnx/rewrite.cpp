#include "onnx/rewrite.h"

#include <algorithm>
#include <unordered_map>

namespace vm::onnx {

namespace {

// More than the way through any U-Net; keeps a hostile graph from using up stack and time.
constexpr int longest_way = 512;
constexpr std::int64_t most_channels = 1 << 20;

using Weights = std::vector<float>;

// Channels of an activation, from the weights of the convolutions it comes from; 0 where unknown.
// Takes one off `steps` for every node on the way.
std::int64_t channels(const Graph &graph, const std::string &tensor, int &steps) {
    const Node *node = graph.producer(tensor);
    if (!node || --steps < 0 || node->inputs.empty()) return 0;
    if (node->is("Conv")) {
        Tensor weight;
        if (node->inputs.size() < 2 || !graph.constant(node->inputs[1], weight)) return 0;
        return weight.dims.empty() ? 0 : weight.dims[0];
    }
    if (node->is("Concat")) {
        std::int64_t total = 0;
        for (const std::string &input : node->inputs) {
            const std::int64_t part = channels(graph, input, steps);
            if (part < 1 || part > most_channels) return 0;
            total += part;
        }
        return total;
    }
    for (const char *op : {"LeakyRelu", "Relu", "MaxPool", "Resize", "Cast", "Identity"})
        if (node->is(op)) return channels(graph, node->inputs[0], steps);
    return 0;
}

// Whether a node repeats every voxel twice along each axis.
bool is_doubling(const Graph &graph, const Node *node) {
    if (!node || !node->is("Resize") || node->inputs.size() != 3 ||
        node->text("mode", "nearest") != "nearest" ||
        node->text("coordinate_transformation_mode", "half_pixel") != "asymmetric" ||
        node->text("nearest_mode", "round_prefer_floor") != "floor" || node->attribute("axes"))
        return false;
    Tensor scales;
    if (!graph.constant(node->inputs[2], scales) || scales.type != type_float) return false;
    return floats(scales) == Weights{1, 1, 2, 2, 2};
}

// Whether a node is a convolution of 3 x 3 x 3 that keeps the size.
bool is_convolution(const Graph &graph, const Node &node, Tensor &weight) {
    if (!node.is("Conv") || node.inputs.size() < 2 || node.integer("group", 1) != 1 ||
        node.text("auto_pad", "NOTSET") != "NOTSET" || !node.all("strides", 1) ||
        !node.all("dilations", 1) || !node.attribute("pads") || !node.all("pads", 1) ||
        node.attribute("pads")->ints.size() != 6)
        return false;
    if (!graph.constant(node.inputs[1], weight) || weight.type != type_float) return false;
    return weight.dims.size() == 5 && weight.dims[2] == 3 && weight.dims[3] == 3 &&
           weight.dims[4] == 3;
}

// Input channels first ... first + count of (out, in, 3, 3, 3) weights.
Weights part_of(const Weights &weight, std::int64_t outputs, std::int64_t inputs,
                std::int64_t first, std::int64_t count) {
    Weights part;
    part.reserve(static_cast<std::size_t>(outputs * count * 27));
    for (std::int64_t o = 0; o < outputs; ++o) {
        const auto from = weight.begin() + (o * inputs + first) * 27;
        part.insert(part.end(), from, from + count * 27);
    }
    return part;
}

// (out, in, 3, 3, 3) weights over an up-sampled tensor to (in, out, 4, 4, 4) of the transposed
// convolution over the tensor itself.
Weights transposed(const Weights &weight, std::int64_t outputs, std::int64_t inputs) {
    // Which of the three weights each of the four holds.
    static constexpr int holds[4][3] = {{0, 0, 1}, {0, 1, 1}, {1, 1, 0}, {1, 0, 0}};
    Weights result(static_cast<std::size_t>(inputs * outputs * 64));
    for (std::int64_t o = 0; o < outputs; ++o)
        for (std::int64_t i = 0; i < inputs; ++i) {
            const float *from = weight.data() + (o * inputs + i) * 27;
            float *to = result.data() + (i * outputs + o) * 64;
            for (int place = 0; place < 64; ++place) {
                double sum = 0;
                for (int k = 0; k < 27; ++k)
                    sum += holds[place / 16][k / 9] * holds[place / 4 % 4][k / 3 % 3] *
                           holds[place % 4][k % 3] * static_cast<double>(from[k]);
                to[place] = static_cast<float>(sum);
            }
        }
    return result;
}

class Rewriter {
public:
    explicit Rewriter(Graph &graph) : graph_(graph) {}

    // The nodes that take the place of one; empty where it is left as it is.
    std::vector<Node> replacement(const Node &node) {
        Tensor weight;
        if (!is_convolution(graph_, node, weight)) return {};
        const Node *before = graph_.producer(node.inputs[0]);
        if (is_doubling(graph_, before)) return {convolution_of(node, weight, *before)};
        if (!before || !before->is("Concat") || before->integer("axis", 0) != 1 ||
            before->inputs.size() != 2 || graph_.uses(node.inputs[0]) != 1)
            return {};
        for (const std::size_t which : {0u, 1u}) {
            const Node *resize = graph_.producer(before->inputs[which]);
            if (!is_doubling(graph_, resize)) continue;
            int steps = longest_way;
            const std::int64_t count = channels(graph_, before->inputs[which], steps);
            if (count < 1 || count >= weight.dims[1]) return {};
            return split(node, weight, *resize, before->inputs[1 - which], count, which == 0);
        }
        return {};
    }

private:
    Node convolution_of(const Node &node, const Tensor &weight, const Node &resize) {
        const Weights values = transposed(floats(weight), weight.dims[0], weight.dims[1]);
        Node result = transposed_convolution(node, resize.inputs[0], node.outputs[0],
                                             weight.dims[1], weight.dims[0], values);
        if (node.inputs.size() > 2) result.inputs.push_back(node.inputs[2]);
        return result;
    }

    std::vector<Node> split(const Node &node, const Tensor &weight, const Node &resize,
                            const std::string &skip, std::int64_t count, bool first) {
        const std::int64_t outputs = weight.dims[0], inputs = weight.dims[1];
        const Weights all = floats(weight);
        const Weights up = part_of(all, outputs, inputs, first ? 0 : inputs - count, count);
        const Weights rest =
            part_of(all, outputs, inputs, first ? count : 0, inputs - count);
        const std::string name = node.outputs[0];
        Node enlarged = transposed_convolution(node, resize.inputs[0], name + "/enlarged", count,
                                               outputs, transposed(up, outputs, count));
        Node skipped = node;
        skipped.name = name + "/skipped";
        skipped.inputs[0] = skip;
        skipped.inputs[1] = store(name + "/skip_weight", {outputs, inputs - count, 3, 3, 3}, rest);
        skipped.outputs = {name + "/skipped"};
        Node sum;
        sum.op = "Add";
        sum.name = name + "/sum";
        sum.inputs = {skipped.outputs[0], enlarged.outputs[0]};
        sum.outputs = {name};
        return {enlarged, skipped, sum};
    }

    Node transposed_convolution(const Node &node, const std::string &from, const std::string &to,
                                std::int64_t inputs, std::int64_t outputs,
                                const Weights &weights) {
        Node result;
        result.op = "ConvTranspose";
        result.name = to;
        result.inputs = {from, store(node.outputs[0] + "/up_weight", {inputs, outputs, 4, 4, 4},
                                     weights)};
        result.outputs = {to};
        result.attributes = {graph_.attribute("kernel_shape", {4, 4, 4}),
                             graph_.attribute("pads", {1, 1, 1, 1, 1, 1}),
                             graph_.attribute("strides", {2, 2, 2})};
        return result;
    }

    std::string store(const std::string &name, const std::vector<std::int64_t> &dims,
                      const Weights &values) {
        graph_.constants[name] = graph_.keep(float_tensor(name, dims, values));
        return name;
    }

    Graph &graph_;
};

}  // namespace

void widen(Graph &graph) {
    for (auto &[name, serialized] : graph.constants) {
        const Tensor tensor = read_tensor(serialized);
        if (tensor.type == type_half)
            serialized = graph.keep(float_tensor(name, tensor.dims, floats(tensor)));
    }
    for (Node &node : graph.nodes) {
        if (node.is("Cast") && node.integer("to", 0) == type_half)
            node.attributes = {graph.attribute("to", type_float)};
    }
}

int rewrite_upsamplings(Graph &graph) {
    Rewriter rewriter(graph);
    int count = 0;
    std::vector<Node> nodes;
    const std::vector<Node> before = graph.nodes;
    for (const Node &node : before) {
        std::vector<Node> instead = rewriter.replacement(node);
        count += !instead.empty();
        if (instead.empty()) instead.push_back(node);
        nodes.insert(nodes.end(), instead.begin(), instead.end());
    }
    graph.nodes = std::move(nodes);
    return count;
}

}  // namespace vm::onnx
