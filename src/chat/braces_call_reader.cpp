// Gemma 4's calls: NAME{key:value,...} with a token of its own for quotes.
#include <algorithm>
#include <optional>

#include "chat/literal_text.h"
#include "chat/tool_call_reader.h"

namespace floe {
namespace {

constexpr size_t kMaxNameBytes = 1024;

class BracesCallReader final : public ToolCallReader {
 public:
  BracesCallReader(const CallTexts& texts, ChatTools tools, std::string opening, AnswerWriter& out)
      : ToolCallReader(texts, std::move(tools), std::move(opening), out) {
    look_for({&texts_.end, &texts_.before_name});
  }

 private:
  enum class State : uint8_t { before_name, name, arguments, behind_arguments };

  Took take(Symbol symbol) override {
    switch (state_) {
      case State::before_name:
        return is_blank(symbol) ? Took::it : give_up();
      case State::name:
        if (symbol == '{') return begin_arguments();
        texts_.append(symbol, name_);
        return name_.size() > kMaxNameBytes ? give_up() : Took::it;
      case State::arguments: {
        std::string text;
        texts_.append(symbol, text);
        for (const char c : text) {
          const auto status = literal_->push(c, given_);
          if (status == LiteralArguments::Status::open) continue;
          return end_arguments(status == LiteralArguments::Status::ended);
        }
        give();
        return Took::it;
      }
      case State::behind_arguments:
        forget();
        return Took::it;
    }
    return Took::it;
  }

  Took matched(const Symbols& text) override {
    if (&text == &texts_.end) {
      tool_ = nullptr;
      if (state_ == State::behind_arguments) forget();
      return has_calls() ? Took::last : give_up(text);
    }
    if (&text == &texts_.before_name) {
      state_ = State::name;
      look_for({&texts_.end});
      return Took::it;
    }
    const bool open = literal_->push_quote(given_) == LiteralArguments::Status::open;
    give();
    look_for_ends();
    return open ? Took::it : end_arguments(false);
  }

  void end_block(CallsEnd, const Symbols&) override {
    if (state_ == State::behind_arguments) forget();
    tool_ = nullptr;
  }

  // Inside a string only its quote means something, unless the end is a token.
  void look_for_ends() {
    const bool end_is_token = texts_.end.size() == 1 && is_marker(texts_.end.front());
    if (literal_->in_string() && !end_is_token) {
      look_for({&texts_.before_value});
    } else {
      look_for({&texts_.end, &texts_.before_value});
    }
  }

  Took begin_arguments() {
    const size_t first = std::min(name_.find_first_not_of(" \n"), name_.size());
    if (!begin_call(std::string_view(name_).substr(first))) return give_up();
    out_.arguments(LiteralArguments::opening());
    literal_.emplace(*tool_, ':');
    state_ = State::arguments;
    look_for_ends();
    return Took::it;
  }

  // What did not end as arguments do stays as it is.
  Took end_arguments(bool whole) {
    give();
    if (whole) end_call();
    tool_ = nullptr;
    forget();
    state_ = State::behind_arguments;
    look_for({&texts_.end});
    return Took::it;
  }

  void give() {
    out_.arguments(given_);
    given_.clear();
  }

  State state_ = State::before_name;
  std::string name_;
  std::optional<LiteralArguments> literal_;
  std::string given_;
};

}  // namespace

std::unique_ptr<ToolCallReader> make_braces_reader(const CallTexts& texts, ChatTools tools,
                                                   std::string opening, AnswerWriter& out) {
  return std::make_unique<BracesCallReader>(texts, std::move(tools), std::move(opening), out);
}

}  // namespace floe
