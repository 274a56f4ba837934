// gpt-oss: an answer is a row of messages, each with a header that says its channel and recipient.
#include <string>

#include "chat/answer_reader.h"
#include "chat/json_text.h"

namespace floe {
namespace {

constexpr size_t kMaxHeaderBytes = 4096;

class HarmonyAnswerReader final : public AnswerReader {
 public:
  HarmonyAnswerReader(AnswerFormat format, ChatTools tools, const AnswerStart& start)
      : AnswerReader(std::move(format), std::move(tools), start) {
    // The prompt ends behind the role of the first header.
    enter(start.in_reasoning || start.continues ? State::text : State::opening);
  }

  void push(Symbol symbol) override {
    Symbols released;
    const Symbols* found = nullptr;
    // Inside a string of a call's arguments no text means anything.
    if (state_ == State::call && scanner_.in_string() && matcher_.held().empty() &&
        !is_marker(symbol)) {
      released.push_back(symbol);
    } else {
      found = matcher_.push(symbol, released);
    }
    for (const Symbol one : released) take(one);
    if (found != nullptr) take_marker(*found);
  }

  void finish(bool cut) override {
    const std::string held =
        matcher_.holds_beginning() && cut ? std::string() : texts_.text_of(matcher_.take_held());
    switch (state_) {
      case State::opening:
      case State::header:
      case State::call_start:
        // Cut before it was known, nobody can tell what it would have become.
        if (cut) {
          if (state_ == State::call_start) out_.begin_call(name_);
        } else {
          out_.text(raw_ + held);
        }
        break;
      case State::text:
      case State::not_a_call:
        out_.text(held);
        break;
      case State::call:
        for (const char c : held) take_argument(c);
        break;
      case State::behind_call:
      case State::between:
        break;
    }
    out_.finish();
  }

 private:
  enum class State : uint8_t {
    opening,      // of the answer: a header, unless it turns out to be text without one
    header,       // up to <|message|>
    text,         // of a message to the user, or of reasoning
    call_start,   // of a message to a function, before the object of the arguments
    call,         // inside that object
    behind_call,  //
    not_a_call,   // a message to somebody else
    between,      // behind a message
  };

  void enter(State state) {
    state_ = state;
    switch (state) {
      case State::opening:
      case State::header:
        return matcher_.look_for({&message_, &channel_, &start_, &end_, &call_, &return_});
      case State::between:
        return matcher_.look_for({&channel_, &start_, &end_, &call_, &return_});
      default:
        return matcher_.look_for({&start_, &end_, &call_, &return_, &channel_});
    }
  }

  void take(Symbol symbol) {
    switch (state_) {
      case State::opening:
        texts_.append(symbol, raw_);
        if (!may_be_header()) become_text();
        return;
      case State::header:
        texts_.append(symbol, raw_);
        if (raw_.size() > kMaxHeaderBytes) become_text();
        return;
      case State::call_start:
        texts_.append(symbol, raw_);
        if (is_blank(symbol)) return;
        if (symbol != '{') {
          out_.text(raw_);
          return enter(State::not_a_call);
        }
        out_.begin_call(name_);
        scanner_ = {};
        enter(State::call);
        return take_argument('{');
      case State::call: {
        std::string text;
        texts_.append(symbol, text);
        for (const char c : text) take_argument(c);
        return;
      }
      case State::behind_call:
        return;
      case State::between:
        if (is_blank(symbol)) return;
        out_.enter_content();
        enter(State::text);
        [[fallthrough]];
      case State::text:
      case State::not_a_call: {
        std::string text;
        texts_.append(symbol, text);
        return out_.text(text);
      }
    }
  }

  void take_marker(const Symbols& marker) {
    const bool in_header = state_ == State::opening || state_ == State::header;
    if (in_header && (&marker == &channel_ || &marker == &start_)) {
      raw_ += texts_.text_of(marker);
      return enter(State::header);
    }
    if (in_header && &marker == &message_) return begin_message();
    // The end of a message, or the beginning of the next where it is missing.
    const bool begins = &marker == &channel_ || &marker == &start_;
    if (in_header) {
      out_.enter_content();
      out_.text(raw_ + texts_.text_of(marker));
    } else if (state_ == State::call_start) {
      out_.begin_call(name_);
      if (!begins) {
        out_.arguments("{}");
        out_.end_call();
      }
    } else if (state_ == State::not_a_call && !begins) {
      out_.text(texts_.text_of(marker));
    }
    raw_.clear();
    if (begins) {
      raw_ = texts_.text_of(marker);
      enter(State::header);
    } else {
      enter(State::between);
    }
  }

  // Behind the role that the prompt gave, a header goes on with a recipient or a channel.
  bool may_be_header() const {
    const size_t first = raw_.find_first_not_of(' ');
    if (first == std::string::npos) return true;
    const std::string_view text = std::string_view(raw_).substr(first);
    constexpr std::string_view kTo = "to=";
    return raw_.size() <= kMaxHeaderBytes &&
           (first > 0 ? text.starts_with(kTo) || kTo.starts_with(text) : false);
  }

  void become_text() {
    out_.enter_content();
    out_.text(std::exchange(raw_, {}));
    enter(State::text);
  }

  // The word behind `mark` in the header.
  std::string header_word(std::string_view mark) const {
    const size_t at = raw_.rfind(mark);
    if (at == std::string::npos) return {};
    const size_t begin = at + mark.size();
    return raw_.substr(begin, raw_.find_first_of(" \t\r\n<", begin) - begin);
  }

  void begin_message() {
    const std::string recipient = header_word("to=");
    const std::string channel = header_word(texts_.text_of(channel_));
    raw_ += texts_.text_of(message_);
    if (recipient.empty() || recipient == "user" || recipient == "assistant") {
      raw_.clear();
      if (channel == "analysis") {
        out_.enter_reasoning();
      } else {
        out_.enter_content();
      }
      return enter(State::text);
    }
    std::string_view name = recipient;
    if (name.starts_with(format_.calls.name_prefix)) {
      name.remove_prefix(format_.calls.name_prefix.size());
    }
    if (out_.in_reasoning()) out_.enter_content();
    if (!takes_calls() || find_tool(tools_, name) == nullptr) {
      out_.text(std::exchange(raw_, {}));
      return enter(State::not_a_call);
    }
    name_ = name;
    enter(State::call_start);
  }

  void take_argument(char c) {
    if (state_ != State::call) return;
    out_.arguments({&c, 1});
    if (!scanner_.push(c)) return;
    out_.end_call();
    enter(State::behind_call);
  }

  Symbols symbols(std::string_view text) const { return to_symbols(text, format_.markers); }

  const Symbols start_ = symbols("<|start|>");
  const Symbols channel_ = symbols("<|channel|>");
  const Symbols message_ = symbols("<|message|>");
  const Symbols end_ = symbols("<|end|>");
  const Symbols call_ = symbols("<|call|>");
  const Symbols return_ = symbols("<|return|>");
  State state_ = State::opening;
  SymbolMatcher matcher_;
  std::string raw_;   // the header so far, as text, while it is not known what follows it
  std::string name_;  // of the function that is called
  JsonValueScanner scanner_;
};

}  // namespace

std::unique_ptr<AnswerReader> make_harmony_reader(AnswerFormat format, ChatTools tools,
                                                  const AnswerStart& start) {
  return std::make_unique<HarmonyAnswerReader>(std::move(format), std::move(tools), start);
}

}  // namespace floe
