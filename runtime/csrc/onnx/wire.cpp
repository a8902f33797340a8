#include "onnx/wire.h"

#include "cpu/error.h"

namespace vm::wire {

void damaged() {
    throw Error(VM_ERROR_ARTIFACT,
                "the bytes are not an ONNX model, or are damaged; make one with vm-export");
}

std::uint64_t take_varint(Bytes &rest) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (rest.empty()) damaged();
        const auto byte = static_cast<unsigned char>(rest.front());
        rest.remove_prefix(1);
        if (shift < 64) value |= static_cast<std::uint64_t>(byte & 127u) << shift;
        if (byte < 128) return value;
    }
    damaged();
}

namespace {

std::uint64_t take_fixed(Bytes &rest, std::size_t size) {
    if (rest.size() < size) damaged();
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
        value |= static_cast<std::uint64_t>(static_cast<unsigned char>(rest[i])) << (8 * i);
    rest.remove_prefix(size);
    return value;
}

}  // namespace

bool Fields::next(Field &field) {
    if (rest_.empty()) return false;
    const Bytes start = rest_;
    const std::uint64_t tag = take_varint(rest_);
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) damaged();
    field = Field();
    field.number = static_cast<std::uint32_t>(tag >> 3);
    switch (tag & 7) {
        case 0:
            field.kind = Kind::varint;
            field.value = take_varint(rest_);
            break;
        case 1:
            field.kind = Kind::fixed64;
            field.value = take_fixed(rest_, 8);
            break;
        case 2: {
            field.kind = Kind::bytes;
            const std::uint64_t size = take_varint(rest_);
            if (size > rest_.size()) damaged();
            field.content = rest_.substr(0, static_cast<std::size_t>(size));
            rest_.remove_prefix(static_cast<std::size_t>(size));
            break;
        }
        case 5:
            field.kind = Kind::fixed32;
            field.value = take_fixed(rest_, 4);
            break;
        default:
            damaged();
    }
    field.raw = start.substr(0, start.size() - rest_.size());
    return true;
}

Bytes content(const Field &field) {
    if (field.kind != Kind::bytes) damaged();
    return field.content;
}

std::int64_t integer(const Field &field) {
    if (field.kind != Kind::varint) damaged();
    return static_cast<std::int64_t>(field.value);
}

void put_varint(std::string &out, std::uint64_t value) {
    while (value > 127) {
        out.push_back(static_cast<char>((value & 127) | 128));
        value >>= 7;
    }
    out.push_back(static_cast<char>(value));
}

void put_integer(std::string &out, std::uint32_t number, std::int64_t value) {
    put_varint(out, static_cast<std::uint64_t>(number) << 3);
    put_varint(out, static_cast<std::uint64_t>(value));
}

void put_bytes(std::string &out, std::uint32_t number, Bytes content) {
    put_varint(out, static_cast<std::uint64_t>(number) << 3 | 2);
    put_varint(out, content.size());
    out.append(content);
}

}  // namespace vm::wire
