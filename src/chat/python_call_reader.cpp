// Calls as Python writes them: NAME(key=value, ...), several in a row or in a list.
#include <optional>

#include "chat/literal_text.h"
#include "chat/tool_call_reader.h"

namespace floe {
namespace {

constexpr size_t kMaxNameBytes = 1024;

class PythonCallReader final : public ToolCallReader {
 public:
  PythonCallReader(const CallTexts& texts, ChatTools tools, std::string opening, AnswerWriter& out)
      : ToolCallReader(texts, std::move(tools), std::move(opening), out) {
    look_for({&texts_.end});
  }

 private:
  enum class State : uint8_t { name, arguments, behind_call, dropped };

  bool is_raw() const override { return state_ == State::arguments && literal_->in_string(); }

  Took take(Symbol symbol) override {
    switch (state_) {
      case State::behind_call:
        if (is_blank(symbol) || symbol == ',' || symbol == ';' || symbol == ']') {
          forget();
          return Took::it;
        }
        // The next call; it is text again should it be none.
        forget({symbol});
        name_.clear();
        texts_.append(symbol, name_);
        state_ = State::name;
        return Took::it;
      case State::name:
        if (name_.empty() && (is_blank(symbol) || symbol == '[')) return Took::it;
        if (symbol == '(') return begin_arguments();
        texts_.append(symbol, name_);
        return name_.size() > kMaxNameBytes ? give_up() : Took::it;
      case State::arguments: {
        std::string text;
        texts_.append(symbol, text);
        std::string given;
        for (const char c : text) {
          const auto status = literal_->push(c, given);
          if (status == LiteralArguments::Status::open) continue;
          out_.arguments(given);
          if (status == LiteralArguments::Status::ended) end_call();
          tool_ = nullptr;
          state_ = status == LiteralArguments::Status::ended ? State::behind_call : State::dropped;
          return Took::it;
        }
        out_.arguments(given);
        return Took::it;
      }
      case State::dropped:
        forget();
        return Took::it;
    }
    return Took::it;
  }

  Took matched(const Symbols& text) override {
    const bool between = state_ == State::behind_call || state_ == State::dropped || in_call();
    tool_ = nullptr;
    if (between) forget();
    return between ? Took::last : give_up(text);
  }

  void end_block(CallsEnd, const Symbols&) override {
    if (state_ == State::behind_call || state_ == State::dropped) forget();
    tool_ = nullptr;
  }

  Took begin_arguments() {
    const std::string_view name =
        std::string_view(name_).substr(0, name_.find_last_not_of(" \n") + 1);
    if (!begin_call(name)) return give_up();
    out_.arguments(LiteralArguments::opening());
    literal_.emplace(*tool_, '=');
    state_ = State::arguments;
    return Took::it;
  }

  State state_ = State::name;
  std::string name_;
  std::optional<LiteralArguments> literal_;
};

}  // namespace

std::unique_ptr<ToolCallReader> make_python_reader(const CallTexts& texts, ChatTools tools,
                                                   std::string opening, AnswerWriter& out) {
  return std::make_unique<PythonCallReader>(texts, std::move(tools), std::move(opening), out);
}

}  // namespace floe
