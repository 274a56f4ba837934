#include "chat/literal_text.h"

#include "base/json.h"
#include "text/unicode.h"

namespace floe {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool is_closer(char c) {
  return c == '}' || c == ']' || c == ')';
}

std::string_view strip_blanks(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(text, out);
  return out + "\"";
}

}  // namespace

LiteralArguments::Status LiteralArguments::push(char c, std::string& out) {
  switch (state_) {
    case State::before_key:
      if (is_space(c) || c == ',') return Status::open;
      if (is_closer(c)) return end_value(c, out);
      key_.clear();
      if (c == '"' || c == '\'') {
        quote_ = c;
        state_ = State::quoted_key;
      } else {
        key_ += c;
        state_ = State::key;
      }
      return Status::open;
    case State::key:
      if (c == stack_.back().separator) {
        give_key(out);
        return Status::open;
      }
      // An argument without a key has no place in an object.
      if (c == ',' || is_closer(c) || key_.size() > 1024) return Status::broken;
      key_ += c;
      return Status::open;
    case State::quoted_key:
      if (quote_ != kOwnQuote && c == quote_) {
        state_ = State::behind_key;
      } else {
        key_ += c;
      }
      return Status::open;
    case State::behind_key:
      if (is_space(c)) return Status::open;
      if (c != stack_.back().separator) return Status::broken;
      give_key(out);
      return Status::open;
    case State::before_value:
      return is_space(c) ? Status::open : begin_value(c, out);
    case State::bare:
      if (c != ',' && !is_closer(c)) {
        held_ += c;
        return Status::open;
      }
      end_bare(out);
      return end_value(c, out);
    case State::string:
      if (quote_ == kOwnQuote) {
        writer_.push({&c, 1}, out);
      } else if (c == quote_) {
        end_string(out);
      } else if (c == '\\') {
        held_.clear();
        n_digits_ = 0;
        state_ = State::escape;
      } else {
        writer_.push({&c, 1}, out);
      }
      return Status::open;
    case State::escape:
      take_escape(c, out);
      return Status::open;
    case State::behind_value:
      if (is_space(c)) return Status::open;
      return end_value(c, out);
  }
  return Status::broken;
}

LiteralArguments::Status LiteralArguments::push_quote(std::string& out) {
  switch (state_) {
    case State::before_key:
      key_.clear();
      quote_ = kOwnQuote;
      state_ = State::quoted_key;
      return Status::open;
    case State::quoted_key:
      state_ = State::behind_key;
      return Status::open;
    case State::before_value:
      give_comma(out);
      begin_string(kOwnQuote, out);
      return Status::open;
    case State::string:
    case State::escape:
      end_string(out);
      return Status::open;
    default:
      return Status::broken;
  }
}

LiteralArguments::Status LiteralArguments::begin_value(char c, std::string& out) {
  if (is_closer(c) && !stack_.back().is_object) return end_value(c, out);
  if (is_closer(c) || c == ',') return Status::broken;
  give_comma(out);
  if (c == '{' || c == '[' || c == '(') {
    if (stack_.size() >= kMaxDepth) return Status::broken;
    stack_.push_back({c == '{', true, ':'});
    out += c == '{' ? '{' : '[';
    state_ = c == '{' ? State::before_key : State::before_value;
  } else if (c == '"' || c == '\'') {
    begin_string(c, out);
  } else {
    held_.assign(1, c);
    state_ = State::bare;
  }
  return Status::open;
}

// Behind a value: a comma or a closing bracket. Whichever bracket it is closes what is open.
LiteralArguments::Status LiteralArguments::end_value(char c, std::string& out) {
  if (c == ',') {
    state_ = stack_.back().is_object ? State::before_key : State::before_value;
    return Status::open;
  }
  if (!is_closer(c)) return Status::broken;
  out += stack_.back().is_object ? '}' : ']';
  stack_.pop_back();
  state_ = State::behind_value;
  return stack_.empty() ? Status::ended : Status::open;
}

void LiteralArguments::begin_string(char quote, std::string& out) {
  quote_ = quote;
  out += '"';
  state_ = State::string;
}

void LiteralArguments::end_string(std::string& out) {
  writer_.finish(out);
  out += '"';
  state_ = State::behind_value;
}

void LiteralArguments::end_bare(std::string& out) {
  const std::string_view bare = strip_blanks(held_);
  state_ = State::behind_value;
  if (stack_.size() == 1 && tool_->argument(key_).is_always_string()) {
    out += json_string(bare);
  } else if (bare == "None" || bare == "null") {
    out += "null";
  } else if (bare == "True" || bare == "False") {
    out += bare == "True" ? "true" : "false";
  } else {
    const Result<Json> value = parse_json(bare);
    out += value.ok() ? dump_json(*value) : json_string(bare);
  }
}

// A comma stands in front of every element but the first of an array; give_key() does it for
// objects.
void LiteralArguments::give_comma(std::string& out) {
  Level& level = stack_.back();
  if (level.is_object) return;
  if (!level.is_empty) out += ',';
  level.is_empty = false;
}

void LiteralArguments::give_key(std::string& out) {
  Level& level = stack_.back();
  if (!level.is_empty) out += ',';
  level.is_empty = false;
  key_ = strip_blanks(key_);
  out += json_string(key_) + ":";
  state_ = State::before_value;
}

void LiteralArguments::take_escape(char c, std::string& out) {
  if (n_digits_ == 0 && held_.empty()) {
    state_ = State::string;
    const char plain = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    switch (c) {
      case 'x':
      case 'u':
      case 'U':
        n_digits_ = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        state_ = State::escape;
        return;
      case '\n':
        return;  // a line that goes on
      case 'n':
      case 't':
      case 'r':
      case '\\':
      case '\'':
      case '"':
      case '/':
        writer_.push({&plain, 1}, out);
        return;
      default:
        writer_.push("\\", out);
        writer_.push({&c, 1}, out);
        return;
    }
  }
  const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  if (digit) held_ += c;
  if (digit && held_.size() < n_digits_) return;
  uint32_t code = 0xFFFD;
  if (held_.size() == n_digits_) code = static_cast<uint32_t>(std::stoul(held_, nullptr, 16));
  std::string character;
  const bool valid = code <= 0x10FFFF && (code < 0xD800 || code >= 0xE000);
  append_utf8(character, valid ? code : 0xFFFD);
  writer_.push(character, out);
  held_.clear();
  n_digits_ = 0;
  state_ = State::string;
  // What is no digit follows the escape, or ends the string.
  if (!digit) push(c, out);
}

std::optional<std::string> json_of_literal(std::string_view literal) {
  // As the only argument of a call.
  static const ChatTool untyped;
  LiteralArguments arguments(untyped, '=');
  std::string out;
  constexpr std::string_view kBefore = "v=";
  for (const char c : kBefore) arguments.push(c, out);
  const size_t begin = out.size();
  for (const char c : literal) {
    if (arguments.push(c, out) != LiteralArguments::Status::open) return std::nullopt;
  }
  if (arguments.push(')', out) != LiteralArguments::Status::ended) return std::nullopt;
  out = out.substr(begin, out.size() - begin - 1);
  if (!parse_json(out).ok()) return std::nullopt;
  return out;
}

}  // namespace floe
