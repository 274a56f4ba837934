// Calls as JSON objects with a name and arguments, alone, several in a row or in an array. The
// members may come in any order. The arguments are given as the model wrote them, blanks and all:
// sent back, they give the same tokens again.
#include "chat/json_text.h"
#include "chat/tool_call_reader.h"

namespace floe {
namespace {

class JsonCallReader final : public ToolCallReader {
 public:
  JsonCallReader(const CallTexts& texts, ChatTools tools, std::string opening, AnswerWriter& out)
      : ToolCallReader(texts, std::move(tools), std::move(opening), out) {
    look_for({&texts_.end});
  }

 private:
  enum class State : uint8_t {
    before_object,     // or in front of the bracket of an array
    before_key,        // behind { or ,
    key,               // inside a key
    before_colon,      //
    before_value,      //
    name,              // inside the string of the name
    arguments,         // inside the object of the arguments
    quoted_arguments,  // inside a string that holds the object
    null_arguments,    //
    other,             // inside a value that nobody asks for
    behind_value,      //
    behind_object,     //
    dropped,           // of a call that did not go on as one
  };

  bool is_raw() const override {
    return state_ == State::key || state_ == State::name || state_ == State::quoted_arguments ||
           ((state_ == State::arguments || state_ == State::other) && scanner_.in_string());
  }

  Took take(Symbol symbol) override {
    if (!is_marker(symbol)) return step(static_cast<char>(symbol));
    // A token that means nothing here says what it spells.
    if (state_ == State::behind_object && texts_.end.empty()) return Took::nothing;
    std::string text;
    texts_.append(symbol, text);
    for (const char c : text) {
      if (step(c) == Took::last) return Took::last;
      if (is_text()) break;
    }
    return Took::it;
  }

  Took matched(const Symbols& text) override {
    if (in_call()) end_block(CallsEnd::marked, {});
    return has_calls() && !is_inside_object() ? Took::last : give_up(text);
  }

  void end_block(CallsEnd end, const Symbols&) override {
    // A name that is whole says which call was begun, even if its arguments were still to come.
    if (end == CallsEnd::cut && named_ && !in_call() && is_inside_object()) begin_call(name_);
    if (!in_call()) return;
    give();
    if (arguments_ended_) end_call();
  }

  bool is_inside_object() const {
    return state_ != State::before_object && state_ != State::behind_object &&
           state_ != State::dropped && !in_call();
  }

  // Not JSON as a call has it. Where the call is certain already, what is left is dropped.
  Took fail() {
    if (!in_call() && state_ != State::dropped) return give_up();
    if (in_call()) {
      give();
      if (arguments_ended_) end_call();
    }
    state_ = State::dropped;
    return texts_.end.empty() ? Took::last : Took::it;
  }

  Took step(char c) {
    const Took took = step_state(c);
    if (in_call()) give();
    return took;
  }

  Took step_state(char c) {
    switch (state_) {
      case State::before_object:
        if (is_blank(static_cast<unsigned char>(c))) return Took::it;
        if (c == '[' && !in_array_) {
          in_array_ = true;
          return Took::it;
        }
        if (c == ']' && in_array_) return end_array();
        if (c != '{') return fail();
        state_ = State::before_key;
        named_ = has_arguments_ = arguments_ended_ = false;
        held_.clear();
        return Took::it;
      case State::before_key:
        if (is_blank(static_cast<unsigned char>(c))) return Took::it;
        if (c == '}') return end_object();
        if (c != '"') return fail();
        begin_string(State::key, key_);
        return Took::it;
      case State::key:
        if (decoder_.push(c, key_)) state_ = State::before_colon;
        return Took::it;
      case State::before_colon:
        if (is_blank(static_cast<unsigned char>(c))) return Took::it;
        if (c != ':') return fail();
        state_ = State::before_value;
        return Took::it;
      case State::before_value:
        return is_blank(static_cast<unsigned char>(c)) ? Took::it : begin_value(c);
      case State::name:
        if (!decoder_.push(c, name_)) return Took::it;
        named_ = true;
        if (find_tool(tools_, name_) == nullptr) return fail();
        if (has_arguments_) begin_call(name_);
        state_ = State::behind_value;
        return Took::it;
      case State::arguments:
        held_ += c;
        if (scanner_.push(c)) end_arguments();
        return Took::it;
      case State::quoted_arguments:
        return step_quoted(c);
      case State::null_arguments:
        if (!scanner_.ends_before(c)) {
          word_ += c;
          return std::string_view("null").starts_with(word_) ? Took::it : fail();
        }
        if (word_ != "null") return fail();
        held_ = "{}";
        begin_arguments();
        end_arguments();
        return step_state(c);
      case State::other:
        if (scanner_.ends_before(c)) {
          state_ = State::behind_value;
          return step_state(c);
        }
        if (scanner_.push(c)) state_ = State::behind_value;
        return Took::it;
      case State::behind_value:
        if (is_blank(static_cast<unsigned char>(c))) return Took::it;
        if (c == ',') {
          state_ = State::before_key;
          return Took::it;
        }
        return c == '}' ? end_object() : fail();
      case State::behind_object:
        return step_behind(c);
      case State::dropped:
        forget();
        return Took::it;
    }
    return Took::it;
  }

  // Between calls, and behind the last.
  Took step_behind(char c) {
    if (is_blank(static_cast<unsigned char>(c)) || c == ',' || c == ';') return Took::it;
    if (c == '{') {
      forget();
      state_ = State::before_object;
      return step_state(c);
    }
    if (c == ']' && in_array_) return end_array();
    if (texts_.end.empty()) {
      // No end was agreed on: this is what the answer goes on with.
      return Took::nothing;
    }
    forget();
    return Took::it;
  }

  Took end_array() {
    in_array_ = false;
    if (!has_calls()) return fail();
    forget();
    state_ = State::behind_object;
    return texts_.end.empty() ? Took::last : Took::it;
  }

  void begin_string(State state, std::string& out) {
    state_ = state;
    decoder_ = {};
    out.clear();
  }

  Took begin_value(char c) {
    scanner_ = {};
    if (key_ == texts_.format.calls.name_key && !named_) {
      if (c != '"') return fail();
      begin_string(State::name, name_);
      return Took::it;
    }
    const bool is_arguments =
        key_ == texts_.format.calls.arguments_key || key_ == "arguments" || key_ == "parameters";
    if (is_arguments && !has_arguments_) {
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
        return fail();
      }
      return Took::it;
    }
    state_ = State::other;
    if (c == ',' || c == '}') return fail();
    scanner_.push(c);
    return Took::it;
  }

  void begin_arguments() {
    has_arguments_ = true;
    if (named_ && !in_call()) begin_call(name_);
  }

  void end_arguments() {
    arguments_ended_ = true;
    state_ = State::behind_value;
  }

  // A string that holds the object, or nothing. It counts once its first byte shows that it does.
  Took step_quoted(char c) {
    const bool ended = decoder_.push(c, held_);
    if (!has_arguments_) {
      const size_t first = held_.find_first_not_of(" \t\r\n");
      if (first != std::string::npos && held_[first] != '{') return fail();
      if (first == std::string::npos && ended) held_ = "{}";
      if (first != std::string::npos || ended) begin_arguments();
    }
    if (ended) end_arguments();
    return Took::it;
  }

  // The object that is the call came to its end.
  Took end_object() {
    if (!named_) return fail();
    if (!has_arguments_) {
      held_ = "{}";
      begin_arguments();
    }
    give();
    end_call();
    state_ = State::behind_object;
    return Took::it;
  }

  void give() {
    out_.arguments(held_);
    held_.clear();
  }

  State state_ = State::before_object;
  JsonStringDecoder decoder_;
  JsonValueScanner scanner_;
  std::string key_;
  std::string name_;
  std::string word_;
  std::string held_;  // arguments that were not given away yet
  bool in_array_ = false;
  bool named_ = false;
  bool has_arguments_ = false;
  bool arguments_ended_ = false;
};

}  // namespace

std::unique_ptr<ToolCallReader> make_json_object_reader(const CallTexts& texts, ChatTools tools,
                                                        std::string opening, AnswerWriter& out) {
  return std::make_unique<JsonCallReader>(texts, std::move(tools), std::move(opening), out);
}

}  // namespace floe
