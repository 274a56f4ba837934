// Answers that are a text with markers in it, as most models write them.
#include "chat/answer_reader.h"

namespace floe {
namespace {

bool is_token(const Symbols& text) {
  return text.size() == 1 && is_marker(text.front());
}

bool begins_with_token(const Symbols& text) {
  return !text.empty() && is_marker(text.front());
}

class MarkedAnswerReader final : public AnswerReader {
 public:
  MarkedAnswerReader(AnswerFormat format, ChatTools tools, const AnswerStart& start)
      : AnswerReader(std::move(format), std::move(tools), start),
        open_(to_symbols(format_.reasoning.open, format_.markers)),
        close_(to_symbols(format_.reasoning.close, format_.markers)),
        begin_(takes_calls() ? texts_.begin : Symbols()) {
    enter(start.in_reasoning ? State::reasoning : State::content);
  }

  void push(Symbol symbol) override {
    if (state_ == State::calls) return push_call(symbol);
    if (state_ == State::content && begins_bare_call(symbol)) {
      begin_calls({});
      return push_call(symbol);
    }
    Symbols released;
    const Symbols* found = matcher_.push(symbol, released);
    if (!released.empty()) {
      out_.text(texts_.text_of(released));
      // Reasoning that is spelled out opens an answer and nothing else.
      if (state_ == State::content) enter(State::content);
    }
    if (found != nullptr) take_marker(*found);
  }

  void finish(bool cut) override {
    if (state_ == State::calls) {
      const CallsEnd end = cut ? CallsEnd::cut : CallsEnd::model;
      if (calls_ != nullptr) {
        calls_->finish(end, {});
      } else if (cut) {
        out_.drop_blanks();
      } else {
        out_.text(opening_);
      }
    } else if (!cut || !matcher_.holds_beginning()) {
      // An answer that is cut inside a marker that is spelled out is cut in front of it.
      out_.text(texts_.text_of(matcher_.take_held()));
    }
    out_.finish();
  }

 private:
  enum class State : uint8_t { reasoning, content, calls };

  void enter(State state) {
    state_ = state;
    if (state == State::reasoning) {
      const bool calls_end_it = format_.reasoning.ends_at_calls && begins_with_token(begin_);
      matcher_.look_for({&close_, calls_end_it ? &begin_ : &nothing_});
    } else if (state == State::content) {
      const bool may_open = begins_with_token(open_) || !out_.content_seen();
      matcher_.look_for({may_open ? &open_ : &nothing_, &begin_});
    }
  }

  void take_marker(const Symbols& marker) {
    if (&marker == &open_) {
      // Text in front of it may have shown just now that it is none.
      if (!begins_with_token(open_) && out_.content_seen()) return out_.text(texts_.text_of(open_));
      out_.enter_reasoning();
      enter(State::reasoning);
    } else if (&marker == &close_) {
      out_.enter_content();
      enter(State::content);
    } else {
      if (state_ == State::reasoning) out_.enter_content();
      begin_calls(texts_.text_of(marker));
    }
  }

  // A call that begins the answer without a marker, where the format has such.
  bool begins_bare_call(Symbol symbol) const {
    return format_.calls.may_be_bare && symbol == '{' && takes_calls() && !out_.content_seen() &&
           matcher_.held().empty();
  }

  void begin_calls(std::string opening) {
    state_ = State::calls;
    opening_ = std::move(opening);
    calls_ = nullptr;
  }

  // Which reader it takes is known at the first sign that is no blank.
  void make_reader(Symbol symbol) {
    const CallLayout layout = format_.calls.layout;
    const bool json = layout == CallLayout::json_object ||
                      (format_.calls.may_be_json && (symbol == '{' || symbol == '['));
    const auto make = json                                   ? make_json_object_reader
                      : layout == CallLayout::json_arguments ? make_json_arguments_reader
                      : layout == CallLayout::tagged         ? make_tagged_reader
                      : layout == CallLayout::braces         ? make_braces_reader
                                                             : make_python_reader;
    calls_ = make(texts_, tools_, std::exchange(opening_, {}), out_);
  }

  void push_call(Symbol symbol) {
    // A token is never an accident, wherever it stands.
    const bool begins = is_token(texts_.begin) && symbol == texts_.begin.front();
    const bool ends = is_token(texts_.end) && symbol == texts_.end.front();
    if (begins || ends) {
      const std::string end = ends ? texts_.text_of(texts_.end) : std::string();
      if (calls_ != nullptr) {
        calls_->finish(ends ? CallsEnd::marked : CallsEnd::model, end);
      } else {
        out_.text(opening_ + end);
      }
      if (begins) return begin_calls(texts_.text_of(texts_.begin));
      return end_calls();
    }
    if (calls_ == nullptr) {
      if (is_blank(symbol)) return texts_.append(symbol, opening_);
      make_reader(symbol);
    }
    switch (calls_->push(symbol)) {
      case ToolCallReader::Took::it:
        return;
      case ToolCallReader::Took::last:
        return end_calls();
      case ToolCallReader::Took::nothing:
        end_calls();
        return push(symbol);
    }
  }

  void end_calls() {
    calls_ = nullptr;
    enter(State::content);
  }

  const Symbols open_;
  const Symbols close_;
  const Symbols begin_;  // empty where no calls are taken
  const Symbols nothing_;
  State state_ = State::content;
  SymbolMatcher matcher_;
  std::string opening_;  // of the block of calls, until its reader is known
  std::unique_ptr<ToolCallReader> calls_;
};

}  // namespace

std::unique_ptr<AnswerReader> make_marked_reader(AnswerFormat format, ChatTools tools,
                                                 const AnswerStart& start) {
  return std::make_unique<MarkedAnswerReader>(std::move(format), std::move(tools), start);
}

}  // namespace floe
