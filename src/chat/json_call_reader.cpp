#include "base/json.h"
#include "chat/tool_call_reader.h"
#include "text/unicode.h"

namespace floe {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// The inside of a JSON string to the text it stands for, one byte at a time.
class StringDecoder {
 public:
  // Behind the opening quote. True: `c` was the closing one.
  bool push(char c, std::string& out) {
    switch (state_) {
      case State::plain:
        if (c == '"') {
          flush(out);
          return true;
        }
        if (c == '\\') {
          state_ = State::escape;
        } else {
          flush(out);
          out += c;
        }
        return false;
      case State::escape:
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
      case State::unicode:
        break;
    }
    const int digit = hex_digit(c);
    if (digit < 0) {
      // Not JSON. What is left of the escape has no meaning, but the text goes on.
      state_ = State::plain;
      flush(out);
      append_utf8(out, 0xFFFD);
      return push(c, out);
    }
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

 private:
  enum class State : uint8_t { plain, escape, unicode };

  // The first half of a pair whose second half did not come.
  void flush(std::string& out) {
    if (high_ != 0) append_utf8(out, 0xFFFD);
    high_ = 0;
  }
  static char unescape(char c) {
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
  static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }

  State state_ = State::plain;
  int n_digits_ = 0;
  uint32_t code_ = 0;
  uint32_t high_ = 0;
};

// Finds the end of a JSON value without asking whether it is one: depth is a number, so nothing
// recurses.
class ValueScanner {
 public:
  // A string, object or array: true when `c` is its last byte. For other values, which end before
  // the byte behind them, see ends_before().
  bool push(char c) {
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
  bool ends_before(char c) const {
    return !in_string_ && depth_ == 0 && (c == ',' || c == '}' || is_blank(c));
  }
  bool in_string() const { return in_string_; }

 private:
  uint64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

class JsonCallReader final : public ToolCallReader {
 public:
  explicit JsonCallReader(ChatTools tools) : ToolCallReader(std::move(tools)) {}

  void push(std::string_view text, std::string& arguments) override {
    for (const char c : text) {
      if (state_ == State::done || status_ == Status::text) break;
      step(c);
    }
    give(arguments);
  }

  void push_marker(OutputParser::Marker, std::string&) override {}

  void finish(ToolCallEnd end, std::string& arguments) override {
    // A name that is whole says which call was begun, even if its arguments were still to come.
    if (status_ == Status::undecided && end == ToolCallEnd::cut && named_) status_ = Status::call;
    if (status_ == Status::undecided && end != ToolCallEnd::cut) status_ = Status::text;
    give(arguments);
  }

  bool is_text_here(OutputParser::Marker) const override {
    return state_ == State::key || state_ == State::name || state_ == State::quoted_arguments ||
           ((state_ == State::arguments || state_ == State::other) && scanner_.in_string());
  }

 private:
  enum class State : uint8_t {
    begin,             // before the object
    before_key,        // behind { or ,
    key,               // inside a key
    before_colon,      //
    before_value,      //
    name,              // inside the string of "name"
    arguments,         // inside the object of "arguments"
    quoted_arguments,  // inside a string of "arguments" that holds the object
    null_arguments,    //
    other,             // inside a value that nobody asks for
    behind_value,      //
    done,              // behind the object
  };

  // Not JSON as a call has it. Where the call is certain already, what is left is dropped.
  void give_up() {
    if (status_ == Status::undecided) status_ = Status::text;
    state_ = State::done;
  }

  void step(char c) {
    switch (state_) {
      case State::begin:
        if (is_blank(c)) return;
        if (c != '{') return give_up();
        state_ = State::before_key;
        return;
      case State::before_key:
        if (is_blank(c)) return;
        if (c == '}') return end_object();
        if (c != '"') return give_up();
        begin_string(State::key, key_);
        return;
      case State::key:
        if (decoder_.push(c, key_)) state_ = State::before_colon;
        return;
      case State::before_colon:
        if (is_blank(c)) return;
        if (c != ':') return give_up();
        state_ = State::before_value;
        return;
      case State::before_value:
        if (!is_blank(c)) begin_value(c);
        return;
      case State::name:
        if (!decoder_.push(c, name_)) return;
        named_ = true;
        if (find_tool(tools_, name_) == nullptr) return give_up();
        if (has_arguments_) status_ = Status::call;
        state_ = State::behind_value;
        return;
      case State::arguments:
        held_ += c;
        if (scanner_.push(c)) end_arguments();
        return;
      case State::quoted_arguments:
        step_quoted(c);
        return;
      case State::null_arguments:
        if (!scanner_.ends_before(c)) {
          word_ += c;
          if (std::string_view("null").substr(0, word_.size()) != word_) give_up();
          return;
        }
        if (word_ != "null") return give_up();
        held_ = "{}";
        has_arguments_ = true;
        end_arguments();
        return step(c);
      case State::other:
        if (scanner_.ends_before(c)) {
          state_ = State::behind_value;
          return step(c);
        }
        if (scanner_.push(c)) state_ = State::behind_value;
        return;
      case State::behind_value:
        if (is_blank(c)) return;
        if (c == ',') {
          state_ = State::before_key;
        } else if (c == '}') {
          end_object();
        } else {
          give_up();
        }
        return;
      case State::done:
        return;
    }
  }

  void begin_string(State state, std::string& out) {
    state_ = state;
    decoder_ = {};
    out.clear();
  }

  void begin_value(char c) {
    scanner_ = {};
    if (key_ == "name" && !named_) {
      if (c != '"') return give_up();
      return begin_string(State::name, name_);
    }
    if ((key_ == "arguments" || key_ == "parameters") && !has_arguments_) {
      if (c == '{') {
        begin_arguments();
        state_ = State::arguments;
        held_ += c;
        scanner_.push(c);
      } else if (c == '"') {
        begin_string(State::quoted_arguments, held_);
      } else if (c == 'n') {
        state_ = State::null_arguments;
        word_ = c;
      } else {
        give_up();
      }
      return;
    }
    state_ = State::other;
    if (c == ',' || c == '}') return give_up();
    scanner_.push(c);
  }

  void begin_arguments() {
    has_arguments_ = true;
    if (named_) status_ = Status::call;
  }
  void end_arguments() {
    complete_ = true;
    if (named_) status_ = Status::call;
    state_ = State::behind_value;
  }

  // An object written as a string. It counts once its first byte shows that it is one.
  void step_quoted(char c) {
    const bool ended = decoder_.push(c, held_);
    if (!has_arguments_) {
      const size_t first = held_.find_first_not_of(" \t\r\n");
      if (first != std::string::npos && held_[first] != '{') return give_up();
      if (first != std::string::npos) begin_arguments();
      if (first == std::string::npos && ended) {
        held_ = "{}";
        begin_arguments();
      }
    }
    if (ended) end_arguments();
  }

  // The object that is the call came to its end.
  void end_object() {
    if (!named_) return give_up();
    if (!has_arguments_) {
      held_ = "{}";
      begin_arguments();
      complete_ = true;
    }
    state_ = State::done;
  }

  void give(std::string& arguments) {
    if (status_ != Status::call) return;
    arguments += held_;
    held_.clear();
  }

  State state_ = State::begin;
  StringDecoder decoder_;
  ValueScanner scanner_;
  std::string key_;
  std::string word_;
  std::string held_;  // arguments that were not given away yet
  bool named_ = false;
  bool has_arguments_ = false;
};

}  // namespace

std::unique_ptr<ToolCallReader> make_json_call_reader(ChatTools tools) {
  return std::make_unique<JsonCallReader>(std::move(tools));
}

}  // namespace floe
