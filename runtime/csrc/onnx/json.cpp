#include "onnx/json.h"

#include <locale>
#include <sstream>

#include "cpu/error.h"

namespace vm::json {

namespace {

// Manifests are four deep; a hostile one must not use up the stack.
constexpr int deepest = 64;

class Parser {
public:
    explicit Parser(std::string_view text) : rest_(text) {}

    Value first() { return one(0); }

    std::size_t left() const { return rest_.size(); }

    Value whole() {
        Value value = first();
        skip_spaces();
        if (!rest_.empty()) wrong();
        return value;
    }

private:
    [[noreturn]] static void wrong() {
        throw Error(VM_ERROR_ARTIFACT, "the manifest is not JSON; export the model again");
    }

    void skip_spaces() {
        const std::size_t at = rest_.find_first_not_of(" \t\r\n");
        rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at);
    }

    char peek() {
        skip_spaces();
        if (rest_.empty()) wrong();
        return rest_.front();
    }

    bool take(char wanted) {
        if (peek() != wanted) return false;
        rest_.remove_prefix(1);
        return true;
    }

    void expect(std::string_view word) {
        if (rest_.substr(0, word.size()) != word) wrong();
        rest_.remove_prefix(word.size());
    }

    Value one(int depth) {
        if (depth > deepest) wrong();
        Value value;
        switch (peek()) {
            case '{': object(value, depth); break;
            case '[': array(value, depth); break;
            case '"':
                value.kind = Value::Kind::text;
                value.text = string();
                break;
            case 't':
                expect("true");
                value.kind = Value::Kind::boolean;
                value.flag = true;
                break;
            case 'f':
                expect("false");
                value.kind = Value::Kind::boolean;
                break;
            case 'n': expect("null"); break;
            default: number(value);
        }
        return value;
    }

    void object(Value &value, int depth) {
        value.kind = Value::Kind::object;
        take('{');
        if (take('}')) return;
        do {
            if (peek() != '"') wrong();
            std::string name = string();
            if (!take(':')) wrong();
            value.members.emplace_back(std::move(name), one(depth + 1));
        } while (take(','));
        if (!take('}')) wrong();
    }

    void array(Value &value, int depth) {
        value.kind = Value::Kind::array;
        take('[');
        if (take(']')) return;
        do {
            value.items.push_back(one(depth + 1));
        } while (take(','));
        if (!take(']')) wrong();
    }

    void digits(std::size_t &at) const {
        const std::size_t start = at;
        while (at < rest_.size() && rest_[at] >= '0' && rest_[at] <= '9') ++at;
        if (at == start) wrong();
    }

    void number(Value &value) {
        std::size_t at = rest_.front() == '-' ? 1 : 0;
        const std::size_t first = at;
        digits(at);
        if (rest_[first] == '0' && at > first + 1) wrong();
        value.whole = true;
        if (at < rest_.size() && rest_[at] == '.') {
            value.whole = false;
            digits(++at);
        }
        if (at < rest_.size() && (rest_[at] == 'e' || rest_[at] == 'E')) {
            value.whole = false;
            ++at;
            if (at < rest_.size() && (rest_[at] == '+' || rest_[at] == '-')) ++at;
            digits(at);
        }
        value.kind = Value::Kind::number;
        if (!parse_number(rest_.substr(0, at), value.number)) wrong();
        rest_.remove_prefix(at);
    }

    unsigned hex() {
        if (rest_.size() < 4) wrong();
        unsigned code = 0;
        for (int i = 0; i < 4; ++i) {
            const char c = rest_[static_cast<std::size_t>(i)];
            code *= 16;
            if (c >= '0' && c <= '9')
                code += static_cast<unsigned>(c - '0');
            else if (c >= 'a' && c <= 'f')
                code += static_cast<unsigned>(c - 'a' + 10);
            else if (c >= 'A' && c <= 'F')
                code += static_cast<unsigned>(c - 'A' + 10);
            else
                wrong();
        }
        rest_.remove_prefix(4);
        return code;
    }

    static void append_utf8(std::string &out, unsigned code) {
        const auto put = [&out](unsigned byte) { out.push_back(static_cast<char>(byte)); };
        if (code < 0x80) {
            put(code);
        } else if (code < 0x800) {
            put(0xc0 | code >> 6);
            put(0x80 | (code & 63));
        } else if (code < 0x10000) {
            put(0xe0 | code >> 12);
            put(0x80 | (code >> 6 & 63));
            put(0x80 | (code & 63));
        } else {
            put(0xf0 | code >> 18);
            put(0x80 | (code >> 12 & 63));
            put(0x80 | (code >> 6 & 63));
            put(0x80 | (code & 63));
        }
    }

    void escape(std::string &out) {
        if (rest_.empty()) wrong();
        const char c = rest_.front();
        rest_.remove_prefix(1);
        static constexpr std::string_view letters = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
        const std::size_t at = letters.find(c);
        if (at != std::string_view::npos) {
            out.push_back(meant[at]);
            return;
        }
        if (c != 'u') wrong();
        unsigned code = hex();
        if (code >= 0xd800 && code < 0xdc00) {  // two halves of one character
            expect("\\u");
            const unsigned low = hex();
            if (low < 0xdc00 || low > 0xdfff) wrong();
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        } else if (code >= 0xdc00 && code < 0xe000) {
            wrong();
        }
        append_utf8(out, code);
    }

    std::string string() {
        std::string out;
        expect("\"");
        for (;;) {
            if (rest_.empty()) wrong();
            const char c = rest_.front();
            rest_.remove_prefix(1);
            if (c == '"') return out;
            if (c == '\\')
                escape(out);
            else if (static_cast<unsigned char>(c) < 0x20)
                wrong();
            else
                out.push_back(c);
        }
    }

    std::string_view rest_;
};

}  // namespace

const Value &Value::operator[](std::string_view name) const {
    static const Value nothing;
    for (auto member = members.rbegin(); member != members.rend(); ++member)
        if (member->first == name) return member->second;
    return nothing;
}

Value parse(std::string_view text) { return Parser(text).whole(); }

Value parse_first(std::string_view text, std::size_t &length) {
    Parser parser(text);
    Value value = parser.first();
    length = text.size() - parser.left();
    return value;
}

bool parse_number(std::string_view text, double &number) {
    // A stream with a locale of its own: strtod would read "0.5" as 0 where a program has asked for
    // decimal commas.
    std::istringstream stream{std::string(text)};
    stream.imbue(std::locale::classic());
    stream >> number;
    return !stream.fail() && stream.peek() == std::istringstream::traits_type::eof();
}

}  // namespace vm::json
