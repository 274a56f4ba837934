#include "template/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "template/characters.h"

namespace floe::jinja {

namespace {

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_decimal(char c) {
  return c >= '0' && c <= '9';
}
bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

// Two characters before one: the longest match wins.
constexpr std::array<std::string_view, 27> kSymbols = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]",
    "(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";", "!"};

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) FLOE_TRY_VOID(outside());
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  Error fault(std::string_view what) const {
    return model_error("chat template, line {}: {}", line_, what);
  }

  void add(Token::Kind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
  }

  bool follows(std::string_view what) const {
    return std::string_view(source_).substr(at_).starts_with(what);
  }

  void advance_to(size_t at) {
    line_ += static_cast<uint32_t>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                              source_.begin() + static_cast<ptrdiff_t>(at), '\n'));
    at_ = at;
  }

  void skip_space() {
    size_t at = at_;
    while (at < source_.size()) {
      const Character character = character_at(source_, at);
      if (!is_space(character.codepoint)) break;
      at += character.length_bytes;
    }
    advance_to(at);
  }

  // What stands behind a closing tag: '-' takes all white space, a plain block tag the line break.
  void skip_behind(char sign, bool trims_line_break) {
    starts_line_ = false;
    if (sign == '-') {
      const size_t before = at_;
      skip_space();
      starts_line_ = at_ > before && source_[at_ - 1] == '\n';
    } else if (sign != '+' && trims_line_break && follows("\n")) {
      advance_to(at_ + 1);
      starts_line_ = true;
    }
  }

  // The text before a tag without what the tag takes from it.
  void add_text(size_t end, char sign, bool is_variable) {
    const std::string_view all = std::string_view(source_).substr(at_, end - at_);
    std::string_view text = all;
    if (sign == '-') {
      size_t length = text.size();
      while (length > 0) {
        const size_t previous = previous_character(text, length);
        if (!is_space(character_at(text, previous).codepoint)) break;
        length = previous;
      }
      text = text.substr(0, length);
    } else if (sign != '+' && !is_variable) {
      const size_t line_break = text.rfind('\n');
      const size_t line_begin = line_break == std::string_view::npos ? 0 : line_break + 1;
      if (line_begin > 0 || starts_line_) {
        const std::string_view rest = text.substr(line_begin);
        const bool is_white = std::all_of(rest.begin(), rest.end(), is_blank);
        if (is_white) text = text.substr(0, line_begin);
      }
    }
    if (!text.empty()) add(Token::Kind::text, std::string(text));
    advance_to(end);
  }

  Result<void> outside() {
    size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        if (at_ < source_.size()) add(Token::Kind::text, source_.substr(at_));
        advance_to(source_.size());
        return {};
      }
      const char second = source_[tag + 1];
      if (second == '{' || second == '%' || second == '#') break;
      ++tag;
    }
    const char kind = source_[tag + 1];
    const char next = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const char sign = next == '-' || next == '+' ? next : '\0';
    add_text(tag, sign, kind == '{');
    const size_t inside = tag + 2 + (sign != '\0' ? 1 : 0);
    if (kind == '#') return comment(inside);
    if (kind == '%') {
      if (const auto raw = raw_begin(inside)) return raw_block(*raw);
    }
    add(kind == '{' ? Token::Kind::variable_begin : Token::Kind::block_begin, "");
    advance_to(inside);
    return tag_body(kind == '{');
  }

  Result<void> comment(size_t inside) {
    const size_t close = source_.find("#}", inside);
    if (close == std::string::npos) return fault("missing end of comment tag");
    const char before = close > inside ? source_[close - 1] : '\0';
    const char sign = before == '-' || before == '+' ? before : '\0';
    advance_to(close + 2);
    skip_behind(sign, true);
    return {};
  }

  // Position behind "raw %}" of a raw block's first tag.
  struct Raw {
    size_t begin = 0;
    char sign = '\0';
  };
  std::optional<Raw> raw_begin(size_t at) const {
    while (at < source_.size() && is_blank(source_[at])) ++at;
    if (source_.compare(at, 3, "raw") != 0) return std::nullopt;
    at += 3;
    while (at < source_.size() && is_blank(source_[at])) ++at;
    Raw raw;
    if (at < source_.size() && source_[at] == '-') {
      raw.sign = '-';
      ++at;
    }
    if (source_.compare(at, 2, "%}") != 0) return std::nullopt;
    raw.begin = at + 2;
    return raw;
  }

  Result<void> raw_block(const Raw& raw) {
    advance_to(raw.begin);
    skip_behind(raw.sign, false);
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      size_t at = tag + 2;
      char sign = '\0';
      if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) sign = source_[at++];
      while (at < source_.size() && is_blank(source_[at])) ++at;
      if (source_.compare(at, 6, "endraw") != 0) continue;
      at += 6;
      while (at < source_.size() && is_blank(source_[at])) ++at;
      char end_sign = '\0';
      if (at < source_.size() && (source_[at] == '-' || source_[at] == '+'))
        end_sign = source_[at++];
      if (source_.compare(at, 2, "%}") != 0) continue;
      add_text(tag, sign, false);
      advance_to(at + 2);
      skip_behind(end_sign, true);
      return {};
    }
    return fault("missing end of raw block");
  }

  // Tokens up to the tag's end. Brackets that are open keep a "}}" from closing it.
  Result<void> tag_body(bool is_variable) {
    const std::string_view close = is_variable ? "}}" : "%}";
    const Token::Kind kind = is_variable ? Token::Kind::variable_end : Token::Kind::block_end;
    std::string open;
    while (true) {
      skip_space();
      if (at_ >= source_.size()) return fault("unexpected end of template inside a tag");
      if (open.empty()) {
        const char first = source_[at_];
        const bool has_sign = (first == '-' || (first == '+' && !is_variable)) &&
                              std::string_view(source_).substr(at_ + 1).starts_with(close);
        if (has_sign || follows(close)) {
          add(kind, "");
          advance_to(at_ + close.size() + (has_sign ? 1 : 0));
          skip_behind(has_sign ? first : '\0', !is_variable);
          return {};
        }
      }
      const char c = source_[at_];
      if (c == '"' || c == '\'') {
        FLOE_TRY_VOID(string(c));
      } else if (is_decimal(c)) {
        FLOE_TRY_VOID(number());
      } else if (is_name_start(c)) {
        size_t end = at_;
        while (end < source_.size() && (is_name_start(source_[end]) || is_decimal(source_[end]))) {
          ++end;
        }
        add(Token::Kind::name, source_.substr(at_, end - at_));
        advance_to(end);
      } else {
        FLOE_TRY_VOID(symbol(open));
      }
    }
  }

  Result<void> symbol(std::string& open) {
    for (const std::string_view symbol : kSymbols) {
      if (!follows(symbol)) continue;
      if (symbol == "(" || symbol == "[" || symbol == "{") {
        open += symbol == "(" ? ')' : symbol == "[" ? ']' : '}';
      } else if (symbol == ")" || symbol == "]" || symbol == "}") {
        if (open.empty() || open.back() != symbol[0]) {
          return fault("unexpected '" + std::string(symbol) + "'");
        }
        open.pop_back();
      }
      add(Token::Kind::symbol, std::string(symbol));
      advance_to(at_ + symbol.size());
      return {};
    }
    return fault("unexpected character in a tag");
  }

  Result<void> number() {
    std::string digits;
    size_t at = at_;
    const auto take_digits = [&] {
      while (at < source_.size() &&
             (is_decimal(source_[at]) ||
              (source_[at] == '_' && at + 1 < source_.size() && is_decimal(source_[at + 1])))) {
        if (source_[at] != '_') digits += source_[at];
        ++at;
      }
    };
    take_digits();
    bool is_float = false;
    if (at + 1 < source_.size() && source_[at] == '.' && is_decimal(source_[at + 1])) {
      is_float = true;
      digits += source_[at++];
      take_digits();
    }
    if (at < source_.size() && (source_[at] == 'e' || source_[at] == 'E')) {
      size_t exponent = at + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) {
        ++exponent;
      }
      if (exponent < source_.size() && is_decimal(source_[exponent])) {
        is_float = true;
        digits += source_.substr(at, exponent - at);
        at = exponent;
        take_digits();
      }
    }
    Token token;
    token.line = line_;
    if (is_float) {
      token.kind = Token::Kind::floating;
      std::from_chars(digits.data(), digits.data() + digits.size(), token.floating);
    } else {
      token.kind = Token::Kind::integer;
      for (const char digit : digits) {
        if (__builtin_mul_overflow(token.integer, Integer{10}, &token.integer) ||
            __builtin_add_overflow(token.integer, Integer{digit - '0'}, &token.integer)) {
          return fault("an integer beyond 127 bits");
        }
      }
    }
    tokens_.push_back(std::move(token));
    advance_to(at);
    return {};
  }

  Result<void> string(char quote) {
    std::string value;
    size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] != '\\') {
        value += source_[at++];
        continue;
      }
      if (at + 1 >= source_.size()) break;
      FLOE_TRY(at, escape(at + 1, value));
    }
    if (at >= source_.size()) return fault("missing end of a string");
    add(Token::Kind::string, std::move(value));
    advance_to(at + 1);
    return {};
  }

  // source_[at] follows a backslash; returns the position behind the escape.
  Result<size_t> escape(size_t at, std::string& out) {
    const char kind = source_[at];
    constexpr std::string_view kNames = "abfnrtv\\'\"";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t simple = kNames.find(kind); simple != std::string_view::npos) {
      out += kValues[simple];
      return at + 1;
    }
    if (kind == '\n') return at + 1;  // the line goes on
    size_t n_digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    int base = 16;
    size_t begin = at + 1;
    if (kind >= '0' && kind <= '7') {
      base = 8;
      begin = at;
      n_digits = 1;
      while (n_digits < 3 && begin + n_digits < source_.size() &&
             source_[begin + n_digits] >= '0' && source_[begin + n_digits] <= '7') {
        ++n_digits;
      }
    }
    if (n_digits == 0) {  // not an escape: both characters stay
      out += '\\';
      return at;
    }
    uint32_t codepoint = 0;
    const size_t end = std::min(begin + n_digits, source_.size());
    const auto [stop, error] =
        std::from_chars(source_.data() + begin, source_.data() + end, codepoint, base);
    if (error != std::errc() || stop != source_.data() + begin + n_digits || codepoint > 0x10FFFF ||
        (codepoint >= 0xD800 && codepoint < 0xE000)) {
      return fault("a string has an escape that is no character");
    }
    append_character(out, codepoint);
    return begin + n_digits;
  }

  std::string source_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool starts_line_ = true;  // whether at_ is the start of a line
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokens_of(std::string_view source) {
  // Line ends are one character, and the last one of the file is not part of the template.
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') continue;
      text += '\n';
    } else {
      text += source[i];
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return Lexer(std::move(text)).run();
}

}  // namespace floe::jinja
