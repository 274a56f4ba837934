#include "chat/answer_writer.h"

namespace floe {
namespace {

constexpr std::string_view kBlank = " \t\r\n";
constexpr std::string_view kLineBreaks = "\r\n";

}  // namespace

void AnswerWriter::enter(bool reasoning) {
  in_reasoning_ = reasoning;
  held_blanks_.clear();
  at_section_start_ = true;
}

void AnswerWriter::text(std::string_view text) {
  if (at_section_start_) {
    const size_t begin = text.find_first_not_of(kLineBreaks);
    if (begin == std::string_view::npos) return;
    text.remove_prefix(begin);
    at_section_start_ = false;
  }
  const size_t last = text.find_last_not_of(kBlank);
  if (last == std::string_view::npos) {
    held_blanks_ += text;
    return;
  }
  std::string& out = in_reasoning_ ? delta_->reasoning_content : delta_->content;
  out += held_blanks_;
  held_blanks_.assign(text.substr(last + 1));
  out += text.substr(0, last + 1);
  (in_reasoning_ ? reasoning_seen_ : content_seen_) = true;
}

void AnswerWriter::begin_call(std::string_view name) {
  enter(false);
  delta_->tool_calls.push_back({n_calls_++, std::string(name), {}});
}

void AnswerWriter::arguments(std::string_view text) {
  if (text.empty()) return;
  const uint32_t index = n_calls_ - 1;
  if (delta_->tool_calls.empty()) delta_->tool_calls.push_back({index, {}, {}});
  delta_->tool_calls.back().arguments += text;
}

void AnswerWriter::finish() {
  if (!in_reasoning_) delta_->content += held_blanks_;
  held_blanks_.clear();
}

}  // namespace floe
