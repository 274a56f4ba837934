#include "chat/output_parser.h"

#include <algorithm>
#include <utility>

#include "chat/tool_call_reader.h"

namespace floe {
namespace {

using Marker = OutputParser::Marker;

constexpr std::string_view kBlank = " \t\r\n";
constexpr std::string_view kLineBreaks = "\r\n";
// A call that has not shown its function by then is none.
constexpr size_t kMaxUndecidedBytes = size_t{4} << 20;

constexpr std::string_view kSpellings[OutputParser::kMarkers] = {
    "<think>",   "</think>",   "<tool_call>", "</tool_call>",
    "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"};

Marker marker_at(size_t i) {
  return static_cast<Marker>(i);
}

// Bytes at the end of `text` that may be the start of `marker`; the whole of it does not count.
size_t partial_length(std::string_view text, std::string_view marker) {
  for (size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length) {
    if (text.substr(text.size() - length) == marker.substr(0, length)) return length;
  }
  return 0;
}

}  // namespace

std::string_view OutputParser::spelling(Marker marker) {
  return kSpellings[static_cast<size_t>(marker)];
}

bool OutputParser::Options::takes(Marker marker) const {
  switch (marker) {
    case Marker::think_begin:
    case Marker::think_end:
      return parse_reasoning;
    case Marker::tool_call_begin:
    case Marker::tool_call_end:
      return tool_calls != ToolCallSyntax::none;
    default:
      return tool_calls == ToolCallSyntax::glm_arguments;
  }
}

OutputParser::OutputParser(Options options)
    : options_(std::move(options)),
      state_(options_.starts_in_reasoning && options_.parse_reasoning ? State::reasoning
                                                                      : State::content),
      at_section_start_(state_ == State::reasoning && !options_.continues),
      content_seen_(state_ == State::content && options_.continues) {}

OutputParser::~OutputParser() = default;
OutputParser::OutputParser(OutputParser&&) noexcept = default;
OutputParser& OutputParser::operator=(OutputParser&&) noexcept = default;

bool OutputParser::marker_active(Marker marker) const {
  if (!options_.takes(marker)) return false;
  const bool is_token = options_.is_token(marker);
  switch (marker) {
    case Marker::think_begin:
      // A token is never an accident: it opens reasoning anywhere outside a call.
      return state_ == State::content && (is_token || !content_seen_);
    case Marker::think_end:
      return state_ == State::reasoning;
    case Marker::tool_call_begin:
      return state_ == State::content ||
             (is_token && (state_ == State::tool_call || state_ == State::not_a_call));
    case Marker::tool_call_end:
      return state_ == State::tool_call || state_ == State::not_a_call;
    default:
      return state_ == State::tool_call;
  }
}

// Text of the present section. Line breaks at its start are dropped where a marker came before;
// blanks at its end wait until more text shows that they are not the end.
void OutputParser::emit(std::string_view text, OutputDelta& delta) {
  if (at_section_start_) {
    const size_t begin = text.find_first_not_of(kLineBreaks);
    if (begin == std::string_view::npos) return;
    text.remove_prefix(begin);
    at_section_start_ = false;
  }
  const bool reasoning = state_ == State::reasoning;
  std::string& out = reasoning ? delta.reasoning_content : delta.content;
  const size_t last = text.find_last_not_of(kBlank);
  if (last == std::string_view::npos) {
    held_blanks_ += text;
    return;
  }
  out += held_blanks_;
  held_blanks_.assign(text.substr(last + 1));
  out += text.substr(0, last + 1);
  (reasoning ? reasoning_seen_ : content_seen_) = true;
}

void OutputParser::enter(State state) {
  state_ = state;
  held_blanks_.clear();
  at_section_start_ = true;
}

// What was held still counts should this be no call.
void OutputParser::begin_tool_call() {
  state_ = State::tool_call;
  reader_ = options_.tool_calls == ToolCallSyntax::glm_arguments
                ? make_glm_call_reader(options_.tools)
                : make_json_call_reader(options_.tools);
  call_text_ = spelling(Marker::tool_call_begin);
  call_given_ = false;
}

void OutputParser::read_call(std::string_view text, OutputDelta& delta) {
  if (reader_->status() == ToolCallReader::Status::undecided) call_text_ += text;
  std::string arguments;
  reader_->push(text, arguments);
  give_call(std::move(arguments), delta);
}

// Passes on what the reader made certain.
void OutputParser::give_call(std::string arguments, OutputDelta& delta) {
  switch (reader_->status()) {
    case ToolCallReader::Status::undecided:
      if (call_text_.size() <= kMaxUndecidedBytes) return;
      [[fallthrough]];
    case ToolCallReader::Status::text:
      state_ = State::not_a_call;
      emit(std::exchange(call_text_, {}), delta);
      return;
    case ToolCallReader::Status::call:
      break;
  }
  if (!call_given_) {
    call_given_ = true;
    held_blanks_.clear();
    call_text_.clear();
    delta.tool_calls.push_back({n_tool_calls_++, reader_->name(), std::move(arguments)});
  } else if (!arguments.empty()) {
    delta.tool_calls.push_back({n_tool_calls_ - 1, {}, std::move(arguments)});
  }
}

void OutputParser::end_tool_call(ToolCallEnd end, OutputDelta& delta) {
  std::string arguments;
  reader_->finish(end, arguments);
  give_call(std::move(arguments), delta);
  if (reader_->status() == ToolCallReader::Status::call) {
    if (reader_->complete()) ++n_complete_tool_calls_;
    enter(State::content);
  } else if (state_ == State::tool_call) {
    // Cut before its function was known: nobody can tell what it would have become.
    enter(State::content);
  }
  call_text_.clear();
}

// Text in which no marker is spelled out.
void OutputParser::take_text(std::string_view text, OutputDelta& delta) {
  if (text.empty()) return;
  if (state_ == State::tool_call) {
    read_call(text, delta);
  } else {
    emit(text, delta);
  }
}

// A marker, as a token or spelled out, that may mean something here.
void OutputParser::take_marker(Marker marker, OutputDelta& delta) {
  if (!marker_active(marker)) return take_text(spelling(marker), delta);
  switch (marker) {
    case Marker::think_begin:
      enter(State::reasoning);
      return;
    case Marker::think_end:
      enter(State::content);
      return;
    case Marker::tool_call_begin:
      if (state_ == State::tool_call) {
        end_tool_call(ToolCallEnd::model, delta);
      }
      if (state_ == State::not_a_call) state_ = State::content;
      begin_tool_call();
      return;
    case Marker::tool_call_end:
      if (state_ == State::tool_call) {
        call_text_ += spelling(marker);
        end_tool_call(ToolCallEnd::marked, delta);
      } else {
        emit(spelling(marker), delta);
      }
      if (state_ == State::not_a_call) state_ = State::content;
      return;
    default: {
      if (reader_->status() == ToolCallReader::Status::undecided) call_text_ += spelling(marker);
      std::string arguments;
      reader_->push_marker(marker, arguments);
      give_call(std::move(arguments), delta);
      return;
    }
  }
}

void OutputParser::consume(bool at_end, OutputDelta& delta) {
  while (true) {
    // The first marker that is spelled out here and means something in this state.
    size_t first = std::string::npos;
    Marker which = Marker::think_begin;
    size_t keep = 0;
    for (size_t i = 0; i < kMarkers; ++i) {
      const Marker marker = marker_at(i);
      if (options_.is_token(marker) || !marker_active(marker)) continue;
      const size_t at = buffer_.find(spelling(marker));
      if (at < first) {
        first = at;
        which = marker;
      }
      keep = std::max(keep, partial_length(buffer_, spelling(marker)));
    }
    const size_t n_text = first != std::string::npos ? first
                          : at_end                   ? buffer_.size()
                                                     : buffer_.size() - keep;
    const std::string text = buffer_.substr(0, n_text);
    buffer_.erase(0, n_text);
    take_text(text, delta);
    if (first == std::string::npos) return;
    // The text before the marker may have changed what it means.
    const bool inside_string = state_ == State::tool_call && reader_->is_text_here(which);
    buffer_.erase(0, spelling(which).size());
    if (inside_string) {
      take_text(spelling(which), delta);
    } else {
      take_marker(which, delta);
    }
  }
}

void OutputParser::push_text(std::string_view text, OutputDelta& delta) {
  if (text.empty()) return;
  buffer_ += text;
  consume(false, delta);
}

void OutputParser::push_marker(Marker marker, OutputDelta& delta) {
  consume(true, delta);
  take_marker(marker, delta);
}

void OutputParser::finish(bool cut, OutputDelta& delta) {
  // An answer that is cut inside a marker is cut in front of it.
  consume(!cut, delta);
  buffer_.clear();
  if (state_ == State::tool_call) {
    end_tool_call(cut ? ToolCallEnd::cut : ToolCallEnd::model, delta);
  }
  // The end of the text is no marker: blanks at the end of an answer are part of it.
  if (state_ != State::reasoning) delta.content += held_blanks_;
  held_blanks_.clear();
}

OutputParser::Options parser_options(const AnswerFormat& format, const Tokenizer& tokenizer,
                                     const ChatPrompt& prompt, const ChatTools& tools) {
  OutputParser::Options options;
  options.starts_in_reasoning =
      prompt.inside_reasoning || prompt_opens_reasoning(format, tokenizer, prompt.ids);
  options.continues = prompt.continues;
  if (tools != nullptr && !tools->empty()) {
    options.tools = tools;
    if (format.calls.layout == CallLayout::json_object) options.tool_calls = ToolCallSyntax::json;
    if (format.name == "glm45") options.tool_calls = ToolCallSyntax::glm_arguments;
  }
  for (size_t i = 0; i < OutputParser::kMarkers; ++i) {
    options.marker_ids[i] = tokenizer.find_special(kSpellings[i]).value_or(-1);
  }
  return options;
}

OutputParser::Options plain_text_options() {
  OutputParser::Options options;
  options.parse_reasoning = false;
  return options;
}

}  // namespace floe
