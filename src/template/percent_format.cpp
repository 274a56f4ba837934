// "%s of %d" % (a, b) as Python formats it.
#include <algorithm>
#include <cstdio>

#include "template/characters.h"
#include "template/operations.h"
#include "template/value_text.h"

namespace floe::jinja {

namespace {

struct Field {
  bool left = false;
  bool zero = false;
  bool plus = false;
  bool space = false;
  bool alternate = false;
  size_t width = 0;
  int precision = -1;
};

constexpr size_t kMaxWidth = 1024;

Result<std::string> number_text(Interpreter& interpreter, const Field& field, char kind,
                                const Value& value) {
  const auto number = value.number();
  if (!number) {
    return interpreter.fault("%" + std::string(1, kind) + " takes a number, found " +
                             std::string(type_name(value)));
  }
  std::string text;
  if (kind == 'd' || kind == 'i' || kind == 'u') {
    const auto exact = value.integer();
    if (!exact && !(*number > -1e30 && *number < 1e30)) {
      return interpreter.fault("%d: the number is too large");
    }
    text = integer_text(exact ? *exact : static_cast<Integer>(*number));
    const size_t sign = text.starts_with('-') ? 1 : 0;
    while (field.precision > 0 && text.size() - sign < static_cast<size_t>(field.precision)) {
      text.insert(sign, "0");
    }
  } else if (kind == 'x' || kind == 'X' || kind == 'o') {
    const auto exact = value.integer();
    if (!exact || *exact < 0 || *exact > INT64_MAX) {
      return interpreter.fault("%x and %o take an integer between 0 and 2^63");
    }
    char buffer[32];
    std::snprintf(buffer, sizeof(buffer),
                  kind == 'o'   ? "%lo"
                  : kind == 'x' ? "%lx"
                                : "%lX",
                  static_cast<unsigned long>(*exact));
    if (field.alternate) text = kind == 'o' ? "0o" : kind == 'x' ? "0x" : "0X";
    text += buffer;
  } else {
    const int precision = field.precision < 0 ? 6 : field.precision;
    const char format[] = {'%', '.', '*', kind, '\0'};
    char buffer[512 + kMaxWidth];
    std::snprintf(buffer, sizeof(buffer), format, precision, *number);
    text = buffer;
  }
  if (!text.starts_with('-')) {
    if (field.plus)
      text.insert(0, "+");
    else if (field.space)
      text.insert(0, " ");
  }
  return text;
}

void append_padded(const MarkedText& text, const Field& field, bool is_number, MarkedText& out) {
  const size_t length = count_characters(text.bytes());
  const size_t missing = field.width > length ? field.width - length : 0;
  if (field.left) {
    out.append(text);
    out.append(std::string(missing, ' '), Origin::data);
  } else if (field.zero && is_number) {
    const size_t sign = text.empty() || (text.bytes()[0] != '-' && text.bytes()[0] != '+') ? 0 : 1;
    out.append_part(text, 0, sign);
    out.append(std::string(missing, '0'), Origin::data);
    out.append_part(text, sign, text.size());
  } else {
    out.append(std::string(missing, ' '), Origin::data);
    out.append(text);
  }
}

}  // namespace

Result<Value> percent_format(Interpreter& interpreter, const MarkedText& format,
                             const std::vector<Value>& arguments, const Dict* named) {
  const std::string_view bytes = format.bytes();
  MarkedText out;
  size_t next = 0;
  bool uses_names = false;
  for (size_t at = 0; at < bytes.size();) {
    FLOE_TRY_VOID(interpreter.spend(1));
    const size_t percent = std::min(bytes.find('%', at), bytes.size());
    out.append_part(format, at, percent);
    at = percent + 1;
    if (percent == bytes.size()) break;
    const Value* value = nullptr;
    if (at < bytes.size() && bytes[at] == '(') {
      const size_t close = bytes.find(')', at);
      if (close == std::string_view::npos) return interpreter.fault("'%': incomplete format");
      const std::string_view name = bytes.substr(at + 1, close - at - 1);
      value = named == nullptr ? nullptr : named->find(name);
      if (value == nullptr)
        return interpreter.fault("'%': no value for '" + std::string(name) + "'");
      uses_names = true;
      at = close + 1;
    }
    Field field;
    for (; at < bytes.size(); ++at) {
      if (bytes[at] == '-')
        field.left = true;
      else if (bytes[at] == '0')
        field.zero = true;
      else if (bytes[at] == '+')
        field.plus = true;
      else if (bytes[at] == ' ')
        field.space = true;
      else if (bytes[at] == '#')
        field.alternate = true;
      else
        break;
    }
    const auto read_count = [&] {
      size_t count = 0;
      for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9'; ++at) {
        count = std::min(count * 10 + static_cast<size_t>(bytes[at] - '0'), kMaxWidth + 1);
      }
      return count;
    };
    field.width = read_count();
    if (at < bytes.size() && bytes[at] == '.') {
      ++at;
      field.precision = static_cast<int>(read_count());
    }
    if (field.width > kMaxWidth || field.precision > static_cast<int>(kMaxWidth)) {
      return interpreter.fault("'%': a field wider than 1024 characters");
    }
    if (at >= bytes.size()) return interpreter.fault("'%': incomplete format");
    const char kind = bytes[at++];
    if (kind == '%') {
      out.append_part(format, at - 1, at);
      continue;
    }
    if (value == nullptr) {
      if (next >= arguments.size()) return interpreter.fault("'%': not enough arguments");
      value = &arguments[next++];
    }
    if (kind == 's' || kind == 'r') {
      FLOE_TRY(MarkedText text,
               kind == 's' ? printed(interpreter, *value) : represented(interpreter, *value));
      if (field.precision >= 0) {
        const auto offsets = character_offsets(text.bytes());
        const size_t n = std::min(offsets.size() - 1, static_cast<size_t>(field.precision));
        text = text.part(0, offsets[n]);
      }
      append_padded(text, field, false, out);
    } else if (std::string_view("diuxXoeEfFgG").find(kind) != std::string_view::npos) {
      FLOE_TRY(std::string text, number_text(interpreter, field, kind, *value));
      append_padded(MarkedText(std::move(text), Origin::data), field, true, out);
    } else {
      return interpreter.fault("'%" + std::string(1, kind) + "' is not supported");
    }
  }
  if (!uses_names && named == nullptr && next < arguments.size()) {
    return interpreter.fault("'%': not all arguments are used");
  }
  return interpreter.text(std::move(out));
}

}  // namespace floe::jinja
