// Calls as a name and, behind a text of its own, the arguments as a JSON object: DeepSeek, Kimi,
// Mistral and others. The arguments are given as the model wrote them.
#include "chat/json_text.h"
#include "chat/tool_call_reader.h"

namespace floe {
namespace {

constexpr size_t kMaxNameBytes = 1024;

std::string_view strip_blanks(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

class ArgumentsCallReader final : public ToolCallReader {
 public:
  ArgumentsCallReader(const CallTexts& texts, ChatTools tools, std::string opening,
                      AnswerWriter& out)
      : ToolCallReader(texts, std::move(tools), std::move(opening), out) {
    next_call();
  }

 private:
  enum class State : uint8_t { before_name, name, id, before_object, object, behind_object };

  void next_call() override {
    enter(texts_.before_name.empty() ? State::name : State::before_name);
  }

  void enter(State state) {
    state_ = state;
    const Symbols* end = &texts_.end;
    const Symbols* call_end = &texts_.after_arguments;
    switch (state) {
      case State::before_name:
        return look_for({end, &texts_.before_name});
      case State::name:
        name_.clear();
        return look_for({end, call_end, &texts_.after_name, &texts_.before_id});
      case State::id:
        return look_for({end, call_end, &texts_.after_name});
      case State::before_object:
      case State::object:
        return look_for({end, call_end});
      case State::behind_object:
        // The end of a call may be missing.
        return look_for({end, call_end, &texts_.before_name});
    }
  }

  bool is_raw() const override { return state_ == State::object && scanner_.in_string(); }

  Took take(Symbol symbol) override {
    switch (state_) {
      case State::before_name:
        return is_blank(symbol) ? Took::it : give_up();
      case State::name:
        if (symbol == '{' && find_tool(tools_, function_name()) != nullptr) {
          return begin_object(symbol);
        }
        texts_.append(symbol, name_);
        return name_.size() > kMaxNameBytes ? give_up() : Took::it;
      case State::before_object:
        if (is_blank(symbol)) return Took::it;
        return symbol == '{' ? begin_object(symbol) : give_up();
      case State::object:
        return take_object(symbol);
      case State::behind_object:
        forget();
        return Took::it;
      case State::id:
        return Took::it;
    }
    return Took::it;
  }

  Took matched(const Symbols& text) override {
    const bool ends_block = &text == &texts_.end;
    if (state_ == State::behind_object) {
      // What stood between the object and here says nothing.
      if (&text == &texts_.before_name) {
        forget(text);
      } else {
        forget();
      }
    }
    if (&text == &texts_.before_name) {
      enter(State::name);
      return Took::it;
    }
    if (&text == &texts_.before_id) {
      enter(State::id);
      return Took::it;
    }
    if (&text == &texts_.after_name) {
      if (find_tool(tools_, function_name()) == nullptr) return give_up();
      enter(State::before_object);
      return Took::it;
    }
    // The end of the call or of the block.
    switch (state_) {
      case State::before_name:
        return has_calls() ? Took::last : give_up(text);
      case State::name:
      case State::id:
      case State::before_object:
        if (!begin_without_object()) return give_up(text);
        break;
      case State::object:
      case State::behind_object:
        break;
    }
    tool_ = nullptr;
    next_call();
    return ends_block || texts_.end.empty() ? Took::last : Took::it;
  }

  void end_block(CallsEnd end, const Symbols& held) override {
    switch (state_) {
      case State::before_name:
      case State::name:
      case State::id:
      case State::behind_object:
        break;
      case State::before_object:
        // The name is whole, so that it is known which call was begun.
        if (end == CallsEnd::marked) {
          begin_without_object();
        } else if (end == CallsEnd::cut) {
          begin_call(function_name());
        }
        break;
      case State::object:
        if (end == CallsEnd::cut) break;
        for (const Symbol symbol : held) take_object(symbol);
        break;
    }
    tool_ = nullptr;
  }

  // The name as tools have it, without what the format puts around it.
  std::string function_name() const {
    const CallSyntax& calls = texts_.format.calls;
    std::string_view name = strip_blanks(name_);
    if (find_tool(tools_, name) != nullptr) return std::string(name);
    if (name.starts_with(calls.name_prefix)) name.remove_prefix(calls.name_prefix.size());
    if (calls.numbered) {
      const size_t colon = name.rfind(':');
      const bool number = colon != std::string_view::npos &&
                          name.find_first_not_of("0123456789", colon + 1) == std::string_view::npos;
      if (number) name = name.substr(0, colon);
    }
    return std::string(name);
  }

  Took begin_object(Symbol symbol) {
    if (!begin_call(function_name())) return give_up();
    scanner_ = {};
    enter(State::object);
    return take_object(symbol);
  }

  bool begin_without_object() {
    if (!begin_call(function_name())) return false;
    out_.arguments("{}");
    end_call();
    return true;
  }

  Took take_object(Symbol symbol) {
    std::string text;
    texts_.append(symbol, text);
    out_.arguments(text);
    bool ended = false;
    for (const char c : text) ended = scanner_.push(c);
    if (!ended) return Took::it;
    end_call();
    enter(State::behind_object);
    return texts_.end.empty() && texts_.after_arguments.empty() ? Took::last : Took::it;
  }

  State state_ = State::before_name;
  JsonValueScanner scanner_;
  std::string name_;
};

}  // namespace

std::unique_ptr<ToolCallReader> make_json_arguments_reader(const CallTexts& texts, ChatTools tools,
                                                           std::string opening, AnswerWriter& out) {
  return std::make_unique<ArgumentsCallReader>(texts, std::move(tools), std::move(opening), out);
}

}  // namespace floe
