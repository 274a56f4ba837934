#include "chat/tool_call_reader.h"

#include <algorithm>
#include <utility>

namespace floe {
namespace {

std::string_view strip(std::string_view text, std::string_view characters) {
  const size_t begin = text.find_first_not_of(characters);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(characters) - begin + 1);
}

}  // namespace

CallTexts::CallTexts(const AnswerFormat& of) : format(of) {
  const CallSyntax& calls = of.calls;
  const auto made = [&](std::string_view text, std::string_view around) {
    return to_symbols(strip(text, around), of.markers);
  };
  constexpr std::string_view kBlanks = " \t\r\n";
  // Readers of lists take the brackets themselves.
  const bool list = calls.layout == CallLayout::json_object || calls.layout == CallLayout::python;
  begin = made(calls.begin, list ? " \t\r\n[" : kBlanks);
  if (calls.begin.starts_with('['))
    begin = made(calls.begin.substr(0, calls.begin.find(']') + 1), kBlanks);
  end = made(calls.end, list && calls.end.starts_with(']') ? " \t\r\n]" : kBlanks);
  before_name = made(calls.before_name, kBlanks);
  after_name = made(calls.after_name, kBlanks);
  // Only these layouts end a call with a text that cannot stand inside it.
  if (calls.layout == CallLayout::json_arguments || calls.layout == CallLayout::tagged) {
    // A code fence in front of it is not told from blanks.
    const bool fence = calls.after_arguments.starts_with("\n```");
    after_arguments = made(calls.after_arguments, fence ? " \t\r\n`" : kBlanks);
  }
  before_key = made(calls.before_key, kBlanks);
  after_key = made(calls.after_key, kBlanks);
  before_value = made(calls.before_value, kBlanks);
  before_json_value = made(calls.before_json_value, kBlanks);
  after_value = made(calls.after_value, kBlanks);
  before_id = made(calls.before_id, kBlanks);
  if (calls.after_value.starts_with('\n')) line_and_after_value = u'\n' + after_value;
}

std::string CallTexts::text_of(std::u16string_view symbols) const {
  std::string text;
  for (const Symbol symbol : symbols) append(symbol, text);
  return text;
}

ToolCallReader::Took ToolCallReader::push(Symbol symbol) {
  Symbols released;
  const Symbols* found = nullptr;
  if (!is_text_ && matcher_.held().empty() && is_raw()) {
    released.push_back(symbol);
  } else {
    found = matcher_.push(symbol, released);
  }
  Took took = Took::it;
  for (const Symbol one : released) {
    if (is_text_) {
      out_.text(texts_.text_of({&one, 1}));
      continue;
    }
    if (!in_call()) texts_.append(one, undecided_);
    took = take(one);
  }
  if (found != nullptr) {
    if (is_text_) return take_text(*found);
    if (!in_call()) undecided_ += texts_.text_of(*found);
    took = matched(*found);
  }
  if (took == Took::nothing) {
    // What stood behind the last call separated it from nothing.
    std::string own;
    texts_.append(symbol, own);
    undecided_.resize(undecided_.size() - std::min(own.size(), undecided_.size()));
    out_.text(undecided_);
    return took;
  }
  if (undecided_.size() > kMaxUndecidedBytes) took = give_up();
  return took;
}

ToolCallReader::Took ToolCallReader::take_text(const Symbols& text) {
  const bool ends_block = &text == &texts_.end;
  if (!ends_block || !has_calls_) out_.text(texts_.text_of(text));
  if (ends_block) return Took::last;
  if (&text != &texts_.after_arguments) return Took::it;
  if (texts_.end.empty()) return Took::last;
  is_text_ = false;
  next_call();
  return Took::it;
}

ToolCallReader::Took ToolCallReader::give_up() {
  out_.text(std::exchange(undecided_, {}));
  tool_ = nullptr;
  if (texts_.end.empty() && texts_.after_arguments.empty()) return Took::last;
  is_text_ = true;
  look_for({&texts_.end, &texts_.after_arguments});
  return Took::it;
}

ToolCallReader::Took ToolCallReader::give_up(const Symbols& text) {
  const bool ends_call = &text == &texts_.after_arguments;
  const Took took = give_up();
  if (&text == &texts_.end || (ends_call && texts_.end.empty())) return Took::last;
  if (!ends_call) return took;
  is_text_ = false;
  next_call();
  return Took::it;
}

void ToolCallReader::finish(CallsEnd end, std::string_view marker) {
  const Symbols held = matcher_.take_held();
  if (!is_text_) end_block(end, held);
  if (is_text_) {
    // What is held may be the beginning of the end of a call: where the answer was cut there, it
    // ends in front of it.
    if (end != CallsEnd::cut) out_.text(texts_.text_of(held));
    if (!has_calls_) out_.text(marker);
    return;
  }
  if (undecided_.empty()) {
    if (!has_calls_) out_.text(marker);
    return;
  }
  // Where the answer was cut, nobody can tell what it would have become.
  if (end == CallsEnd::cut) return out_.drop_blanks();
  if (has_calls_ && undecided_.find_first_not_of(" \t\r\n") == std::string::npos) return;
  out_.text(undecided_);
  out_.text(texts_.text_of(held));
  out_.text(marker);
}

bool ToolCallReader::begin_call(std::string_view name) {
  tool_ = find_tool(tools_, name);
  if (tool_ == nullptr) return false;
  undecided_.clear();
  has_calls_ = true;
  out_.begin_call(name);
  return true;
}

void ToolCallReader::end_call() {
  tool_ = nullptr;
  out_.end_call();
}

}  // namespace floe
