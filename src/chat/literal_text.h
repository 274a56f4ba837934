#pragma once
// The arguments of a call written as literals, Python's or ones with quotes of their own, turned
// into JSON while they come in.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_tools.h"
#include "chat/json_text.h"

namespace floe {

class LiteralArguments {
 public:
  // Nesting beyond this is no call's.
  static constexpr size_t kMaxDepth = 100;

  enum class Status : uint8_t { open, ended, broken };

  // Begins behind the bracket that opens the arguments: KEY separator VALUE, ... The schema of
  // `tool` tells bare values that are strings from others.
  LiteralArguments(const ChatTool& tool, char separator) : tool_(&tool), separator_(separator) {
    stack_.push_back({true, true, separator});
  }

  // The opening { of the JSON object.
  static std::string_view opening() { return "{"; }

  // The next byte. Appends to `out` what is certain of the JSON object.
  Status push(char c, std::string& out);
  // A quote of the format's own: it opens and closes strings in which no other sign means anything.
  Status push_quote(std::string& out);
  // The next byte is inside a string.
  bool in_string() const { return state_ == State::string || state_ == State::escape; }

 private:
  enum class State : uint8_t {
    before_key,
    key,         // bare
    quoted_key,  //
    behind_key,
    before_value,
    bare,
    string,  // until quote_
    escape,  // behind a backslash
    behind_value,
  };
  static constexpr char kOwnQuote = '\0';

  struct Level {
    bool is_object;
    bool is_empty;
    char separator;
  };

  Status begin_value(char c, std::string& out);
  Status end_value(char c, std::string& out);
  void begin_string(char quote, std::string& out);
  void end_string(std::string& out);
  void end_bare(std::string& out);
  void give_key(std::string& out);
  void give_comma(std::string& out);
  void take_escape(char c, std::string& out);

  const ChatTool* tool_;
  const char separator_;
  State state_ = State::before_key;
  std::vector<Level> stack_;
  std::string key_;
  std::string held_;     // a bare value, or the digits of an escape
  char quote_ = '"';     // that ends the string or key at hand
  size_t n_digits_ = 0;  // of an escape: still to come
  JsonStringWriter writer_;
};

// A value as Python's repr() writes it, as JSON. nullopt: it is none.
std::optional<std::string> json_of_literal(std::string_view literal);

}  // namespace floe
