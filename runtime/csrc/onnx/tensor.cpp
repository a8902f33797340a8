// TensorProto: dims = 1, data_type = 2, float_data = 4, int32_data = 5, int64_data = 7, name = 8,
// raw_data = 9, double_data = 10, external_data = 13, data_location = 14.
#include <cmath>
#include <cstring>
#include <limits>

#include "onnx/model.h"
#include "cpu/error.h"

namespace vm::onnx {

using wire::content;
using wire::damaged;
using wire::Field;
using wire::Fields;
using wire::integer;
using wire::Kind;

namespace {

// Elements that no tensor of a registration network has.
constexpr std::size_t most_elements = std::size_t(1) << 31;

float from_half(std::uint16_t bits) {
    const int exponent = bits >> 10 & 31;
    const float fraction = static_cast<float>(bits & 1023);
    float value;
    if (exponent == 0)
        value = std::ldexp(fraction, -24);
    else if (exponent == 31)
        value = fraction != 0 ? std::numeric_limits<float>::quiet_NaN()
                              : std::numeric_limits<float>::infinity();
    else
        value = std::ldexp(fraction + 1024, exponent - 25);
    return bits & 0x8000 ? -value : value;
}

template <class T>
T loaded(const char *at) {
    T value;
    std::memcpy(&value, at, sizeof value);  // files and machines are little-endian
    return value;
}

std::size_t size_of(std::int64_t type) {
    switch (type) {
        case type_float: return 4;
        case type_half: return 2;
        case type_double:
        case type_int64: return 8;
        default: return 0;
    }
}

double decoded(const char *at, std::int64_t type) {
    switch (type) {
        case type_float: return loaded<float>(at);
        case type_half: return from_half(loaded<std::uint16_t>(at));
        case type_double: return loaded<double>(at);
        default: return static_cast<double>(loaded<std::int64_t>(at));
    }
}

// Values of the typed fields, which may be packed.
std::vector<double> typed_values(const Tensor &tensor) {
    std::vector<double> result;
    Field field;
    for (Fields fields(tensor.serialized); fields.next(field);) {
        const bool fixed = (field.number == 4 && tensor.type == type_float) ||
                           (field.number == 10 && tensor.type == type_double);
        const bool varint = (field.number == 7 && tensor.type == type_int64) ||
                            (field.number == 5 && tensor.type == type_half);
        if (fixed) {
            if (field.kind == Kind::bytes) {
                const std::size_t size = size_of(tensor.type);
                if (field.content.size() % size) damaged();
                for (std::size_t at = 0; at < field.content.size(); at += size)
                    result.push_back(decoded(field.content.data() + at, tensor.type));
            } else {
                char bytes[8];
                std::memcpy(bytes, &field.value, sizeof bytes);
                result.push_back(decoded(bytes, tensor.type));
            }
        } else if (varint) {
            std::vector<std::uint64_t> numbers;
            if (field.kind == Kind::varint) {
                numbers.push_back(field.value);
            } else {
                for (Bytes rest = content(field); !rest.empty();)
                    numbers.push_back(wire::take_varint(rest));
            }
            for (const std::uint64_t number : numbers)
                result.push_back(tensor.type == type_half
                                     ? from_half(static_cast<std::uint16_t>(number))
                                     : static_cast<double>(static_cast<std::int64_t>(number)));
        }
    }
    return result;
}

}  // namespace

std::size_t Tensor::count() const {
    std::size_t total = 1;
    for (const std::int64_t size : dims) {
        if (size < 0 || size > static_cast<std::int64_t>(most_elements)) damaged();
        total *= static_cast<std::size_t>(size);
        if (total > most_elements) damaged();
    }
    return total;
}

Tensor read_tensor(Bytes serialized) {
    Tensor tensor;
    tensor.serialized = serialized;
    Field field;
    for (Fields fields(serialized); fields.next(field);) {
        switch (field.number) {
            case 1:
                if (field.kind == Kind::varint) {
                    tensor.dims.push_back(integer(field));
                } else {
                    for (Bytes rest = content(field); !rest.empty();)
                        tensor.dims.push_back(static_cast<std::int64_t>(wire::take_varint(rest)));
                }
                break;
            case 2: tensor.type = integer(field); break;
            case 8: tensor.name = std::string(content(field)); break;
            case 9: tensor.raw_data = content(field); break;
            case 13:
            case 14:
                if (field.number == 13 || integer(field) != 0)
                    throw Error(VM_ERROR_ARTIFACT,
                                "the model keeps its weights in another file; make one with "
                                "vm-export, which keeps them inside");
                break;
            default: break;
        }
    }
    return tensor;
}

std::vector<double> values(const Tensor &tensor) {
    const std::size_t size = size_of(tensor.type), count = tensor.count();
    if (!size) damaged();
    if (tensor.raw_data.empty()) {
        std::vector<double> result = typed_values(tensor);
        if (result.size() != count) damaged();
        return result;
    }
    if (tensor.raw_data.size() != count * size) damaged();
    std::vector<double> result(count);
    for (std::size_t i = 0; i < count; ++i)
        result[i] = decoded(tensor.raw_data.data() + i * size, tensor.type);
    return result;
}

std::vector<float> floats(const Tensor &tensor) {
    if (tensor.type != type_float && tensor.type != type_half) damaged();
    const std::vector<double> wide = values(tensor);
    return std::vector<float>(wide.begin(), wide.end());
}

std::string float_tensor(std::string_view name, const std::vector<std::int64_t> &dims,
                         const std::vector<float> &data) {
    std::string out;
    for (const std::int64_t size : dims) wire::put_integer(out, 1, size);
    wire::put_integer(out, 2, type_float);
    wire::put_bytes(out, 8, name);
    wire::put_bytes(out, 9, Bytes(reinterpret_cast<const char *>(data.data()), data.size() * 4));
    return out;
}

}  // namespace vm::onnx
