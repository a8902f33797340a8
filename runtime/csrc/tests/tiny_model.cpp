// Written with an encoder of its own, so that the library's is not tested against itself.
#include "tiny_model.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

namespace {

using Names = std::vector<std::string>;

std::string varint(std::uint64_t value) {
    std::string out;
    for (; value > 127; value >>= 7) out += static_cast<char>(value % 128 + 128);
    return out += static_cast<char>(value);
}
std::string number(int field, std::int64_t value) {
    return varint(static_cast<std::uint64_t>(field) * 8) + varint(static_cast<std::uint64_t>(value));
}
std::string bytes(int field, const std::string &content) {
    return varint(static_cast<std::uint64_t>(field) * 8 + 2) + varint(content.size()) + content;
}

std::string integers(const std::string &name, const std::vector<std::int64_t> &values) {
    std::string packed;
    for (const std::int64_t value : values) packed += varint(static_cast<std::uint64_t>(value));
    return bytes(5, bytes(1, name) + bytes(8, packed) + number(20, 7));
}
std::string integer(const std::string &name, std::int64_t value) {
    return bytes(5, bytes(1, name) + number(3, value) + number(20, 2));
}
std::string text(const std::string &name, const std::string &value) {
    return bytes(5, bytes(1, name) + bytes(4, value) + number(20, 3));
}

std::string node(const std::string &op, const Names &inputs, const std::string &output,
                 const std::string &attributes = "", const std::string &domain = "") {
    std::string out;
    for (const std::string &input : inputs) out += bytes(1, input);
    out += bytes(2, output) + bytes(3, output) + bytes(4, op) + attributes;
    if (!domain.empty()) out += bytes(7, domain);
    return bytes(1, out);
}

// Close enough to IEEE 754 for numbers between 1e-4 and 2.
std::uint16_t to_half(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const std::uint32_t sign = bits >> 31 << 15;
    const int exponent = static_cast<int>(bits >> 23 & 255) - 112;
    if (exponent <= 0) return static_cast<std::uint16_t>(sign);
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(exponent) << 10 |
                                      (bits >> 13 & 1023));
}

std::string tensor(const std::string &name, const std::vector<std::int64_t> &dims,
                   const std::vector<float> &values, bool half = false) {
    std::string out, raw;
    for (const std::int64_t size : dims) out += number(1, size);
    for (const float value : values) {
        const std::uint16_t small = to_half(value);
        raw.append(half ? reinterpret_cast<const char *>(&small)
                        : reinterpret_cast<const char *>(&value),
                   half ? 2 : 4);
    }
    return bytes(5, out + number(2, half ? 10 : 1) + bytes(8, name) + bytes(9, raw));
}

std::string value(const std::string &name, std::int64_t channels, bool free_shape) {
    std::string dims = bytes(1, number(1, 1)) + bytes(1, number(1, channels));
    for (const char *axis : {"D", "H", "W"})
        dims += bytes(1, free_shape ? bytes(2, axis) : number(1, TINY_SIZE));
    return bytes(1, name) + bytes(2, bytes(1, number(1, 1) + bytes(2, dims)));
}

class Builder {
public:
    explicit Builder(const tiny_options &options) : options_(options) {}

    std::string model() {
        unet();
        tail("velocity_head", "displacement");
        nodes_ += node("Neg", {"velocity_head"}, "minus");
        tail("minus", "inverse_displacement");
        nodes_ += node("Warp3d", {"moving", "displacement"}, "moved",
                       text("mode", "linear") + text("padding", "zeros"), "vxm");
        const bool open = options_.free_shape != 0;
        std::string graph = nodes_ + bytes(2, "tiny") + constants_;
        graph += bytes(11, value("moving", 1, open)) + bytes(11, value("fixed", 1, open));
        graph += bytes(12, value("moved", 1, open)) + bytes(12, value("displacement", 3, open));
        graph += bytes(12, value("inverse_displacement", 3, open));
        std::string out = number(1, 10) + bytes(7, graph) + bytes(8, number(2, 20)) +
                          bytes(8, bytes(1, "vxm") + number(2, 1));
        const std::string json = options_.manifest ? options_.manifest : manifest();
        if (!json.empty()) out += bytes(14, bytes(1, "vxm.manifest") + bytes(2, json));
        return out;
    }

private:
    // Two levels, with one up-sampling that is joined to a skip connection and one that is not.
    void unet() {
        std::string last = "scans";
        nodes_ += node("Concat", {"moving", "fixed"}, "scans", integer("axis", 1));
        if (options_.half) {
            nodes_ += node("Cast", {"scans"}, "halves", integer("to", 10));
            last = "halves";
        }
        last = pool(convolution(pool(convolution(last, 2, 4)), 4, 4));
        const std::string skip = last;
        last = convolution(pool(last), 4, 4);
        nodes_ += node("Concat", {enlarge(last), skip}, "joined", integer("axis", 1));
        last = enlarge(convolution("joined", 8, 4));
        last = head(convolution(last, 4, 4));
        if (options_.half)
            nodes_ += node("Cast", {last}, "velocity_head", integer("to", 1));
    }

    std::string fresh(const std::string &kind) { return kind + std::to_string(count_++); }

    void weights(const std::string &name, int outputs, int inputs, float scale) {
        std::vector<float> weight(static_cast<std::size_t>(outputs * inputs * 27));
        for (float &one : weight) one = random() * scale;
        std::vector<float> bias(static_cast<std::size_t>(outputs));
        for (float &one : bias) one = random() * 0.1f;
        constants_ += tensor(name + ".w", {outputs, inputs, 3, 3, 3}, weight, options_.half != 0);
        constants_ += tensor(name + ".b", {outputs}, bias, options_.half != 0);
    }

    std::string convolve(const std::string &from, const std::string &to, int inputs, int outputs,
                         float scale) {
        weights(to, outputs, inputs, scale);
        nodes_ += node("Conv", {from, to + ".w", to + ".b"}, to,
                       integers("kernel_shape", {3, 3, 3}) + integers("strides", {1, 1, 1}) +
                           integers("pads", {1, 1, 1, 1, 1, 1}));
        return to;
    }
    std::string convolution(const std::string &from, int inputs, int outputs) {
        const std::string convolved = convolve(from, fresh("conv"), inputs, outputs, 0.4f);
        const std::string active = fresh("active");
        nodes_ += node("LeakyRelu", {convolved}, active);
        return active;
    }
    std::string head(const std::string &from) {
        return convolve(from, options_.half ? "half_head" : "velocity_head", 4, 3, 0.05f);
    }

    std::string pool(const std::string &from) {
        const std::string to = fresh("pool");
        nodes_ += node("MaxPool", {from}, to,
                       integers("kernel_shape", {2, 2, 2}) + integers("strides", {2, 2, 2}));
        return to;
    }

    std::string enlarge(const std::string &from) {
        if (!doubling_) constants_ += tensor("doubling", {5}, {1, 1, 2, 2, 2});
        doubling_ = true;
        const std::string to = fresh("enlarged");
        nodes_ += node("Resize", {from, "", "doubling"}, to,
                       text("mode", "nearest") + text("nearest_mode", "floor") +
                           text("coordinate_transformation_mode", "asymmetric"));
        return to;
    }

    std::string resize(const std::string &from, const std::string &to, int factor) {
        if (factor == 1) return from;
        if (!factors_) constants_ += tensor("factor", {}, {2}) + tensor("larger", {5}, {1, 1, 2, 2, 2});
        factors_ = true;
        nodes_ += node("Mul", {from, "factor"}, to + "_scaled");
        nodes_ += node("Resize", {to + "_scaled", "", "larger"}, to,
                       text("mode", "linear") +
                           text("coordinate_transformation_mode", "align_corners"));
        return to;
    }

    void tail(const std::string &from, const std::string &to) {
        if (!shrink_) constants_ += tensor("steps", {}, {1 << TINY_STEPS});
        shrink_ = true;
        std::string field = resize(from, to + "_before", options_.before);
        nodes_ += node("Div", {field, "steps"}, to + "_0");
        field = to + "_0";
        for (int step = 1; step <= TINY_STEPS; ++step) {
            const std::string warped = to + "_warped" + std::to_string(step);
            const bool last = step == TINY_STEPS && options_.after == 1;
            const std::string next = last ? to : to + "_" + std::to_string(step);
            nodes_ += node("Warp3d", {field, field}, warped,
                           text("mode", "linear") + text("padding", "zeros"), "vxm");
            nodes_ += node("Add", {field, warped}, next);
            field = next;
        }
        resize(field, to, options_.after);
    }

    std::string manifest() const {
        const std::string size = std::to_string(TINY_SIZE);
        return "{\"version\":\"1.0\",\"shape\":" +
               (options_.free_shape ? "null" : "[" + size + "," + size + "," + size + "]") +
               ",\"stride\":8,\"orientation\":\"LIA\",\"voxel_size\":[1.0,1.0,1.0],"
               "\"intensity\":\"none\",\"diffeomorphic\":true,\"int_steps\":" +
               std::to_string(TINY_STEPS) + ",\"precision\":\"" +
               (options_.half ? "fp16" : "fp32") +
               "\",\"moving_channels\":1,\"fixed_channels\":1,\"source\":{},\"versions\":{},"
               "\"verification\":{}}";
    }

    // -1 to 1, the same every time.
    float random() {
        state_ = state_ * 1664525u + 1013904223u;
        return static_cast<float>(state_ >> 8) / 8388608.0f - 1;
    }

    tiny_options options_;
    std::string nodes_, constants_;
    std::uint32_t state_ = 1;
    int count_ = 0;
    bool doubling_ = false, factors_ = false, shrink_ = false;
};

}  // namespace

char *tiny_model(const tiny_options *options, size_t *size) {
    const tiny_options usual = {0, 1, 2, 0, nullptr};
    const std::string model = Builder(options ? *options : usual).model();
    auto *copy = static_cast<char *>(std::malloc(model.size()));
    if (copy) std::memcpy(copy, model.data(), model.size());
    *size = model.size();
    return copy;
}
