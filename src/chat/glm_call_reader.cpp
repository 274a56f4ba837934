#include "base/json.h"
#include "chat/tool_call_reader.h"

namespace floe {
namespace {

constexpr size_t kMaxValueDepth = 64;

std::string_view strip_blanks(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

class GlmCallReader final : public ToolCallReader {
 public:
  explicit GlmCallReader(ChatTools tools) : ToolCallReader(std::move(tools)) {}

  void push(std::string_view text, std::string& arguments) override {
    switch (state_) {
      case State::name:
        held_ += text;
        return;
      case State::between:
        return;  // line breaks
      case State::key:
        key_ += text;
        return;
      case State::value:
        if (type_->is_always_string()) {
          append_json_escaped(text, arguments);
        } else {
          held_ += text;
        }
        return;
    }
  }

  void push_marker(OutputParser::Marker marker, std::string& arguments) override {
    using Marker = OutputParser::Marker;
    if (status_ == Status::text) return;
    switch (marker) {
      case Marker::arg_key_begin:
        if (state_ == State::name && !take_name(arguments)) return;
        end_value(arguments);
        state_ = State::key;
        key_.clear();
        has_key_ = false;
        return;
      case Marker::arg_key_end:
        if (state_ != State::key) return;
        has_key_ = true;
        state_ = State::between;
        return;
      case Marker::arg_value_begin:
        // A value without a key has no place in an object.
        if (state_ == State::key) has_key_ = true;
        if (has_key_) begin_value(arguments);
        return;
      case Marker::arg_value_end:
        end_value(arguments);
        return;
      default:
        return;
    }
  }

  void finish(ToolCallEnd end, std::string& arguments) override {
    if (state_ == State::name) {
      switch (end) {
        case ToolCallEnd::marked:
          if (!take_name(arguments)) return;
          break;
        case ToolCallEnd::model:
          status_ = Status::text;
          return;
        case ToolCallEnd::cut: {
          // The line break behind the name says that it is whole.
          const std::string_view name = strip_blanks(held_);
          const size_t behind = held_.find(name) + name.size();
          if (held_.find('\n', behind) == std::string::npos) return;
          if (find_tool(tools_, name) == nullptr) return;
          name_ = name;
          status_ = Status::call;
          return;
        }
      }
    }
    if (end != ToolCallEnd::marked || status_ != Status::call) return;
    end_value(arguments);
    arguments += '}';
    complete_ = true;
  }

  bool is_text_here(OutputParser::Marker marker) const override {
    return state_ == State::value && marker != OutputParser::Marker::arg_value_end;
  }

 private:
  enum class State : uint8_t { name, between, key, value };

  // The text in front of the first argument is the function's name.
  bool take_name(std::string& arguments) {
    name_ = strip_blanks(held_);
    held_.clear();
    tool_ = find_tool(tools_, name_);
    status_ = tool_ == nullptr ? Status::text : Status::call;
    state_ = State::between;
    if (tool_ == nullptr) return false;
    arguments += '{';
    return true;
  }

  void begin_value(std::string& arguments) {
    const std::string_view key = strip_blanks(key_);
    type_ = &tool_->argument(key);
    arguments += n_values_++ == 0 ? "\"" : ",\"";
    append_json_escaped(key, arguments);
    arguments += type_->is_always_string() ? "\":\"" : "\":";
    held_.clear();
    has_key_ = false;
    state_ = State::value;
  }

  void end_value(std::string& arguments) {
    if (state_ != State::value) return;
    state_ = State::between;
    if (type_->is_always_string()) {
      arguments += '"';
      return;
    }
    const std::string_view bare = strip_blanks(held_);
    // The format writes strings as they are, so blanks around them belong to them.
    if (type_->is_string(bare)) {
      arguments += '"';
      append_json_escaped(held_, arguments);
      arguments += '"';
    } else {
      const Result<Json> value = parse_json(bare, {.max_depth = kMaxValueDepth});
      arguments += value.ok() ? dump_json(*value) : "null";
    }
  }

  State state_ = State::name;
  const ChatTool* tool_ = nullptr;
  const ArgumentType* type_ = nullptr;
  std::string held_;  // the name, or a value whose type is known only at its end
  std::string key_;
  bool has_key_ = false;
  size_t n_values_ = 0;
};

}  // namespace

std::unique_ptr<ToolCallReader> make_glm_call_reader(ChatTools tools) {
  return std::make_unique<GlmCallReader>(std::move(tools));
}

}  // namespace floe
