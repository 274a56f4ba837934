#include "template/value_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "template/characters.h"

namespace floe::jinja {

namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

void append_hex(std::string& out, uint32_t value, int n_digits) {
  for (int shift = 4 * (n_digits - 1); shift >= 0; shift -= 4) {
    out += kHexDigits[(value >> shift) & 15];
  }
}

void append_escaped_unit(std::string& out, uint32_t unit) {
  out += "\\u";
  append_hex(out, unit, 4);
}

// Whether Python's repr shows the character as it is.
bool is_printable(uint32_t codepoint) {
  if (codepoint < 0x20 || codepoint == 0x7F) return false;
  if (codepoint < 0x7F) return true;
  return !(codepoint >= 0x80 && codepoint <= 0xA0) && codepoint != 0xAD && !is_space(codepoint) &&
         !(codepoint >= 0x200B && codepoint <= 0x200F) &&
         !(codepoint >= 0x2028 && codepoint <= 0x202E) && codepoint != 0xFEFF &&
         !(codepoint >= 0xE000 && codepoint <= 0xF8FF);
}

// Text between quotes. `escape` appends what stands for a character.
template <typename Escape>
void append_escaped(const MarkedText& text, const Escape& escape, MarkedText& out) {
  const std::string_view bytes = text.bytes();
  size_t begin = 0;
  for (const MarkedText::Run& run : text.runs()) {
    std::string part;
    for (size_t at = begin; at < run.end;) {
      const Character character = character_at(bytes, at);
      escape(part, character.codepoint, bytes.substr(at, character.length_bytes));
      at += character.length_bytes;
    }
    out.append(part, run.origin);
    begin = std::max<size_t>(begin, run.end);
  }
}

void append_quoted(const MarkedText& text, MarkedText& out) {
  const bool has_single = text.bytes().find('\'') != std::string_view::npos;
  const bool has_double = text.bytes().find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out.append(std::string(1, quote), Origin::data);
  append_escaped(
      text,
      [&](std::string& part, uint32_t codepoint, std::string_view bytes) {
        switch (codepoint) {
          case '\n':
            part += "\\n";
            return;
          case '\r':
            part += "\\r";
            return;
          case '\t':
            part += "\\t";
            return;
          case '\\':
            part += "\\\\";
            return;
          default:
            break;
        }
        if (codepoint == static_cast<uint32_t>(quote)) {
          part += '\\';
          part += quote;
        } else if (is_printable(codepoint)) {
          part.append(bytes);
        } else if (codepoint < 0x100) {
          part += "\\x";
          append_hex(part, codepoint, 2);
        } else {
          part += codepoint < 0x10000 ? "\\u" : "\\U";
          append_hex(part, codepoint, codepoint < 0x10000 ? 4 : 8);
        }
      },
      out);
  out.append(std::string(1, quote), Origin::data);
}

void append_json_string(const MarkedText& text, bool ensure_ascii, MarkedText& out) {
  out.append("\"", Origin::data);
  append_escaped(
      text,
      [&](std::string& part, uint32_t codepoint, std::string_view bytes) {
        switch (codepoint) {
          case '"':
            part += "\\\"";
            return;
          case '\\':
            part += "\\\\";
            return;
          case '\n':
            part += "\\n";
            return;
          case '\r':
            part += "\\r";
            return;
          case '\t':
            part += "\\t";
            return;
          case '\b':
            part += "\\b";
            return;
          case '\f':
            part += "\\f";
            return;
          default:
            break;
        }
        if (codepoint < 0x20) {
          append_escaped_unit(part, codepoint);
        } else if (!ensure_ascii || codepoint < 0x80) {
          part.append(bytes);
        } else if (codepoint < 0x10000) {
          append_escaped_unit(part, codepoint);
        } else {
          append_escaped_unit(part, 0xD800 + ((codepoint - 0x10000) >> 10));
          append_escaped_unit(part, 0xDC00 + ((codepoint - 0x10000) & 0x3FF));
        }
      },
      out);
  out.append("\"", Origin::data);
}

// Text of a number, a bool, None; nullopt for what is made of parts, and text.
std::optional<std::string> simple_text(const Value& value) {
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (const bool* boolean = value.as<bool>()) return *boolean ? "True" : "False";
  if (const Integer* integer = value.as<Integer>()) return integer_text(*integer);
  if (const double* floating = value.as<double>()) return float_text(*floating);
  if (const Function* function = value.function()) {
    return "<function " + std::string(function->name) + ">";
  }
  return std::nullopt;
}

Result<void> append_represented(Interpreter& interpreter, const Value& value, MarkedText& out) {
  const Interpreter::Level level(interpreter);
  if (level.too_deep()) return interpreter.too_deep();
  FLOE_TRY_VOID(interpreter.spend(1));
  if (value.is_undefined()) {
    out.append("Undefined", Origin::data);
  } else if (const MarkedText* text = value.text()) {
    FLOE_TRY_VOID(interpreter.spend(text->size() / 16));
    append_quoted(*text, out);
  } else if (const List* list = value.list()) {
    out.append(list->is_tuple ? "(" : "[", Origin::data);
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i != 0) out.append(", ", Origin::data);
      FLOE_TRY_VOID(append_represented(interpreter, list->items[i], out));
    }
    if (list->is_tuple && list->items.size() == 1) out.append(",", Origin::data);
    out.append(list->is_tuple ? ")" : "]", Origin::data);
  } else if (const Dict* dict = value.dict()) {
    out.append(dict->is_namespace ? "<Namespace {" : "{", Origin::data);
    bool first = true;
    for (const auto& [key, member] : dict->members()) {
      if (!first) out.append(", ", Origin::data);
      first = false;
      FLOE_TRY_VOID(append_represented(interpreter, key, out));
      out.append(": ", Origin::data);
      FLOE_TRY_VOID(append_represented(interpreter, member, out));
    }
    out.append(dict->is_namespace ? "}>" : "}", Origin::data);
  } else {
    out.append(simple_text(value).value_or(""), Origin::data);
  }
  return {};
}

class JsonWriter {
 public:
  JsonWriter(Interpreter& interpreter, const JsonStyle& style, MarkedText& out)
      : interpreter_(interpreter), style_(style), out_(out) {}

  Result<void> write(const Value& value) {
    const Interpreter::Level level(interpreter_);
    if (level.too_deep()) return interpreter_.too_deep();
    FLOE_TRY_VOID(interpreter_.spend(1));
    if (const MarkedText* text = value.text()) {
      FLOE_TRY_VOID(interpreter_.spend(text->size() / 16));
      append_json_string(*text, style_.ensure_ascii, out_);
      return {};
    }
    if (const List* list = value.list()) return write_list(*list);
    if (const Dict* dict = value.dict(); dict != nullptr && !dict->is_namespace) {
      return write_dict(*dict);
    }
    FLOE_TRY(const std::string text, scalar(value));
    add(text);
    return {};
  }

 private:
  void add(std::string_view text) { out_.append(text, Origin::data); }

  // null, true, 1, 1.5.
  Result<std::string> scalar(const Value& value) {
    if (value.is_none()) return std::string("null");
    if (const bool* boolean = value.as<bool>()) return std::string(*boolean ? "true" : "false");
    if (const Integer* integer = value.as<Integer>()) return integer_text(*integer);
    if (const double* floating = value.as<double>()) {
      if (std::isnan(*floating)) return std::string("NaN");
      if (std::isinf(*floating)) return std::string(*floating > 0 ? "Infinity" : "-Infinity");
      return float_text(*floating);
    }
    return interpreter_.fault("tojson: a value of type " + std::string(type_name(value)) +
                              " has no JSON form");
  }

  void begin_item(bool is_first) {
    if (!is_first) add(style_.item_separator);
    if (style_.has_indent) new_line();
  }

  void new_line() {
    std::string line = "\n";
    for (size_t i = 0; i < depth_; ++i) line += style_.indent;
    add(line);
  }

  Result<void> write_list(const List& list) {
    add("[");
    ++depth_;
    for (size_t i = 0; i < list.items.size(); ++i) {
      begin_item(i == 0);
      FLOE_TRY_VOID(interpreter_.spend(depth_));
      FLOE_TRY_VOID(write(list.items[i]));
    }
    --depth_;
    if (style_.has_indent && !list.items.empty()) new_line();
    add("]");
    return {};
  }

  Result<void> write_dict(const Dict& dict) {
    add("{");
    ++depth_;
    std::vector<size_t> order(dict.size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (style_.sort_keys) {
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        const MarkedText* left = dict.members()[a].first.text();
        const MarkedText* right = dict.members()[b].first.text();
        return left != nullptr && right != nullptr && left->bytes() < right->bytes();
      });
    }
    for (size_t i = 0; i < order.size(); ++i) {
      const auto& [key, member] = dict.members()[order[i]];
      begin_item(i == 0);
      FLOE_TRY_VOID(interpreter_.spend(depth_));
      if (const MarkedText* text = key.text()) {
        append_json_string(*text, style_.ensure_ascii, out_);
      } else {
        FLOE_TRY(const std::string text_of_key, scalar(key));
        add("\"" + text_of_key + "\"");
      }
      add(style_.key_separator);
      FLOE_TRY_VOID(write(member));
    }
    --depth_;
    if (style_.has_indent && dict.size() != 0) new_line();
    add("}");
    return {};
  }

  Interpreter& interpreter_;
  const JsonStyle& style_;
  MarkedText& out_;
  size_t depth_ = 0;
};

}  // namespace

std::string integer_text(Integer value) {
  if (value == 0) return "0";
  const bool is_negative = value < 0;
  std::string digits;
  // The smallest value has no positive twin, so the digits are taken from the negative side.
  for (Integer rest = is_negative ? value : -value; rest != 0; rest /= 10) {
    digits += static_cast<char>('0' - static_cast<int>(rest % 10));
  }
  if (is_negative) digits += '-';
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto shortest =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string scientific(buffer, shortest.ptr);
  const size_t mark = scientific.find('e');
  const int exponent = std::stoi(scientific.substr(mark + 1));
  if (exponent >= -4 && exponent < 16) {
    const auto plain =
        std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed);
    std::string text(buffer, plain.ptr);
    if (text.find('.') == std::string::npos) text += ".0";
    return text;
  }
  std::string text = scientific.substr(0, mark + 1);
  text += exponent < 0 ? '-' : '+';
  const std::string digits = std::to_string(std::abs(exponent));
  if (digits.size() < 2) text += '0';
  return text + digits;
}

Result<MarkedText> printed(Interpreter& interpreter, const Value& value) {
  if (const MarkedText* text = value.text()) {
    FLOE_TRY_VOID(interpreter.spend(text->size() / 16));
    return *text;
  }
  if (auto text = simple_text(value)) return MarkedText(std::move(*text), Origin::data);
  return represented(interpreter, value);
}

Result<MarkedText> represented(Interpreter& interpreter, const Value& value) {
  MarkedText out;
  FLOE_TRY_VOID(append_represented(interpreter, value, out));
  return out;
}

Result<MarkedText> as_json(Interpreter& interpreter, const Value& value, const JsonStyle& style) {
  MarkedText out;
  FLOE_TRY_VOID(JsonWriter(interpreter, style, out).write(value));
  return out;
}

}  // namespace floe::jinja
