// Reading and writing the wire format of protobuf, of which ONNX files are made.
// Encoding: protobuf.dev, "Encoding". Nothing is copied while reading: fields are views of the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vm::wire {

using Bytes = std::string_view;

enum class Kind : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct Field {
    std::uint32_t number = 0;
    Kind kind = Kind::varint;
    std::uint64_t value = 0;  // of a varint or fixed number
    Bytes content;            // of bytes, strings, messages and packed numbers
    Bytes raw;                // the whole field with its tag, to be copied as it is
};

// The fields of a message, one after the other. Throws Error (ARTIFACT) where it is damaged.
class Fields {
public:
    explicit Fields(Bytes message) : rest_(message) {}
    bool next(Field &field);

private:
    Bytes rest_;
};

// Takes a varint off the front; throws where there is none.
std::uint64_t take_varint(Bytes &rest);

// Content of a field that has to be a string or message; throws where it is a number.
Bytes content(const Field &field);
// Value of a field that has to be a varint.
std::int64_t integer(const Field &field);

void put_varint(std::string &out, std::uint64_t value);
void put_integer(std::string &out, std::uint32_t number, std::int64_t value);
void put_bytes(std::string &out, std::uint32_t number, Bytes content);

[[noreturn]] void damaged();

}  // namespace vm::wire
