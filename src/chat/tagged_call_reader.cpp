// Calls whose arguments stand each between tags: GLM, Qwen3-Coder, MiniMax and others.
#include <optional>

#include "base/json.h"
#include "chat/json_text.h"
#include "chat/literal_text.h"
#include "chat/tool_call_reader.h"

namespace floe {
namespace {

constexpr size_t kMaxValueDepth = 64;
constexpr size_t kMaxNameBytes = 1024;

std::string_view strip_blanks(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

bool has_marker(const Symbols& text) {
  for (const Symbol symbol : text) {
    if (is_marker(symbol)) return true;
  }
  return false;
}

class TaggedCallReader final : public ToolCallReader {
 public:
  TaggedCallReader(const CallTexts& texts, ChatTools tools, std::string opening, AnswerWriter& out)
      : ToolCallReader(texts, std::move(tools), std::move(opening), out) {
    next_call();
  }

 private:
  enum class State : uint8_t { before_name, name, between, key, before_value, value };

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
        held_.clear();
        return look_for({end, call_end, &texts_.after_name, &texts_.before_key});
      case State::between:
        return look_for({end, call_end, &texts_.before_key});
      case State::key:
        key_.clear();
        return look_for({end, call_end, &texts_.after_key, &texts_.before_value});
      case State::before_value:
        return look_for(
            {end, call_end, &texts_.before_value, &texts_.before_json_value, &texts_.before_key});
      case State::value:
        at_value_start_ = true;
        // Text that spells another tag is part of the value, but a token is never an accident.
        return look_for({&texts_.after_value, &texts_.line_and_after_value,
                         has_marker(*end) ? end : &kNothing,
                         has_marker(*call_end) ? call_end : &kNothing,
                         has_marker(texts_.before_key) ? &texts_.before_key : &kNothing});
    }
  }

  Took take(Symbol symbol) override {
    switch (state_) {
      case State::before_name:
        return is_blank(symbol) ? Took::it : give_up();
      case State::name:
        texts_.append(symbol, held_);
        return held_.size() > kMaxNameBytes ? give_up() : Took::it;
      case State::key:
        texts_.append(symbol, key_);
        return Took::it;
      case State::value: {
        const bool first_line = at_value_start_ && !texts_.line_and_after_value.empty();
        at_value_start_ = false;
        // Where values stand on lines of their own, the line break is none of theirs.
        if (first_line && symbol == '\n') return Took::it;
        std::string text;
        texts_.append(symbol, text);
        take_value(text);
        return Took::it;
      }
      case State::between:
      case State::before_value:
        return Took::it;  // line breaks
    }
    return Took::it;
  }

  Took matched(const Symbols& text) override {
    if (&text == &texts_.before_name && state_ == State::before_name) {
      enter(State::name);
      return Took::it;
    }
    if (state_ == State::name && !take_name()) return give_up(text);
    if (&text == &texts_.end) {
      if (in_call()) complete();
      return has_calls() ? Took::last : give_up(text);
    }
    if (&text == &texts_.after_arguments) {
      if (in_call()) complete();
      next_call();
      return texts_.end.empty() ? Took::last : Took::it;
    }
    if (&text == &texts_.before_key) {
      end_value();
      enter(State::key);
      has_key_ = false;
    } else if (&text == &texts_.before_value || &text == &texts_.before_json_value) {
      // A key that was not closed; a value without a key has no place in an object.
      if (state_ == State::key) has_key_ = true;
      if (has_key_) begin_value(&text == &texts_.before_json_value);
    } else if (&text == &texts_.after_key && state_ == State::key) {
      has_key_ = true;
      if (texts_.before_value.empty()) {
        begin_value(false);
      } else {
        enter(State::before_value);
      }
    } else if (state_ == State::value) {
      end_value();
    }
    return Took::it;
  }

  void end_block(CallsEnd end, const Symbols& held) override {
    if (state_ == State::name && !in_call()) {
      if (end == CallsEnd::model) return;
      // A line break behind the name says that it is whole.
      const std::string_view name = strip_blanks(held_);
      const size_t behind = held_.find(name) + name.size();
      const bool is_whole = texts_.after_name.empty() && !name.empty() &&
                            held_.find('\n', behind) != std::string::npos;
      if (end == CallsEnd::cut) {
        if (is_whole) begin_call(name);
        return;
      }
      if (!take_name()) return;
    }
    if (!in_call()) return;
    if (end != CallsEnd::cut && state_ == State::value) take_value(texts_.text_of(held));
    if (end == CallsEnd::marked) complete();
  }

  // The text in front of the first argument is the function's name.
  bool take_name() {
    if (!begin_call(strip_blanks(held_))) return false;
    out_.arguments("{");
    n_values_ = 0;
    has_key_ = false;
    enter(State::between);
    return true;
  }

  void complete() {
    end_value();
    out_.arguments("}");
    end_call();
  }

  // json: the tags say that the value is JSON.
  void begin_value(bool json) {
    const std::string_view key = strip_blanks(key_);
    type_ = &tool_->argument(key);
    is_json_ = json;
    const bool tags_tell = !texts_.before_json_value.empty();
    is_string_ = tags_tell ? !json : type_->is_always_string();
    std::string text = n_values_++ == 0 ? "\"" : ",\"";
    append_json_escaped(key, text);
    text += is_string_ ? "\":\"" : "\":";
    out_.arguments(text);
    held_.clear();
    has_key_ = false;
    enter(State::value);
  }

  void take_value(std::string_view text) {
    if (!is_string_) {
      held_ += text;
      return;
    }
    std::string given;
    writer_.push(text, given);
    out_.arguments(given);
  }

  void end_value() {
    if (state_ != State::value) return;
    enter(State::between);
    if (is_string_) {
      std::string rest;
      writer_.finish(rest);
      out_.arguments(rest + "\"");
      return;
    }
    const std::string_view bare = strip_blanks(held_);
    const bool is_string = !is_json_ && type_->is_string(bare);
    JsonLimits limits;
    limits.max_depth = kMaxValueDepth;
    const Result<Json> value = parse_json(bare, limits);
    if (!is_string && value.ok()) {
      out_.arguments(dump_json(*value));
    } else if (const auto literal = python_value(bare)) {
      out_.arguments(*literal);
    } else {
      // The format writes strings as they are, so blanks around them belong to them.
      std::string text = "\"";
      append_json_escaped(held_, text);
      out_.arguments(text + "\"");
    }
    held_.clear();
  }

  // Some models write other values than strings as Python does (Seed-OSS).
  std::optional<std::string> python_value(std::string_view bare) const {
    if (type_->allows_strings || bare.empty()) return std::nullopt;
    const bool known = bare == "True" || bare == "False" || bare == "None";
    if (!known && bare.front() != '{' && bare.front() != '[') return std::nullopt;
    return json_of_literal(bare);
  }

  static const Symbols kNothing;

  State state_ = State::before_name;
  const ArgumentType* type_ = nullptr;
  JsonStringWriter writer_;
  std::string held_;  // the name, or a value whose type is known only at its end
  std::string key_;
  bool has_key_ = false;
  bool is_string_ = false;  // known from the start, so that it comes out as it is written
  bool is_json_ = false;
  bool at_value_start_ = false;
  size_t n_values_ = 0;
};

const Symbols TaggedCallReader::kNothing;

}  // namespace

std::unique_ptr<ToolCallReader> make_tagged_reader(const CallTexts& texts, ChatTools tools,
                                                   std::string opening, AnswerWriter& out) {
  return std::make_unique<TaggedCallReader>(texts, std::move(tools), std::move(opening), out);
}

}  // namespace floe
