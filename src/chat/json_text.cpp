#include "chat/json_text.h"

#include "base/json.h"
#include "text/unicode.h"

namespace floe {
namespace {

char unescape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    default:
      return c;  // \" \\ \/, and what JSON does not know
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool JsonStringDecoder::push(char c, std::string& out) {
  if (state_ == State::unicode) {
    const int digit = hex_digit(c);
    if (digit >= 0) {
      code_ = code_ * 16 + static_cast<uint32_t>(digit);
      if (++n_digits_ < 4) return false;
      state_ = State::plain;
      if (code_ >= 0xDC00 && code_ < 0xE000 && high_ != 0) {
        append_utf8(out, 0x10000 + ((high_ - 0xD800) << 10) + (code_ - 0xDC00));
        high_ = 0;
        return false;
      }
      flush(out);
      if (code_ >= 0xD800 && code_ < 0xDC00) {
        high_ = code_;
      } else {
        append_utf8(out, code_ >= 0xDC00 && code_ < 0xE000 ? 0xFFFD : code_);
      }
      return false;
    }
    // Not JSON. What is left of the escape has no meaning, but the text goes on.
    state_ = State::plain;
    flush(out);
    append_utf8(out, 0xFFFD);
  }
  if (state_ == State::escape) {
    state_ = State::plain;
    if (c == 'u') {
      state_ = State::unicode;
      n_digits_ = 0;
      code_ = 0;
    } else {
      flush(out);
      out += unescape(c);
    }
    return false;
  }
  if (c == '\\') {
    state_ = State::escape;
    return false;
  }
  flush(out);
  if (c == '"') return true;
  out += c;
  return false;
}

void JsonStringDecoder::flush(std::string& out) {
  if (high_ != 0) append_utf8(out, 0xFFFD);
  high_ = 0;
}

void JsonStringWriter::push(std::string_view text, std::string& out) {
  held_ += text;
  // Bytes of the last character so far.
  size_t n = 0;
  while (n < held_.size() && n < 4) {
    const auto byte = static_cast<unsigned char>(held_[held_.size() - ++n]);
    if ((byte & 0xC0) != 0x80) break;
  }
  if (n == 0) return;
  const auto first = static_cast<unsigned char>(held_[held_.size() - n]);
  const size_t whole = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
  const size_t n_open = n < whole ? n : 0;
  append_json_escaped(std::string_view(held_).substr(0, held_.size() - n_open), out);
  held_.erase(0, held_.size() - n_open);
}

void JsonStringWriter::finish(std::string& out) {
  append_json_escaped(held_, out);
  held_.clear();
}

bool JsonValueScanner::push(char c) {
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      return depth_ == 0;
    }
    return false;
  }
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if (c == '}' || c == ']') return depth_ > 0 && --depth_ == 0;
  return false;
}

bool JsonValueScanner::ends_before(char c) const {
  const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
  return !in_string_ && depth_ == 0 && (c == ',' || c == '}' || blank);
}

}  // namespace floe
