// Reading JSON (RFC 8259): what a manifest is written in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vm::json {

struct Value {
    enum class Kind { null, boolean, number, text, array, object };

    Kind kind = Kind::null;
    bool flag = false;
    double number = 0;
    bool whole = false;  // a number written without fraction and exponent
    std::string text;
    std::vector<Value> items;
    std::vector<std::pair<std::string, Value>> members;

    // The last member of that name, as Python takes it; null where there is none.
    const Value &operator[](std::string_view name) const;
};

// Throws Error (ARTIFACT) where the text is not JSON.
Value parse(std::string_view text);

// The value that a text begins with, whatever follows it; `length` is that of the value's text.
Value parse_first(std::string_view text, std::size_t &length);

// A decimal number, whatever the locale. False where the text is none.
bool parse_number(std::string_view text, double &number);

}  // namespace vm::json
