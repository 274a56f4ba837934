#pragma once
// Splits generated text into reasoning, content and tool calls while it streams.
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/chat_format.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace floe {

struct ParsedToolCall {
  std::string name;
  std::string arguments_json;  // a JSON object
};

// What one step added. Concatenating all deltas gives the same as parsing the whole text at once.
struct OutputDelta {
  std::string reasoning_content;
  std::string content;
  std::vector<ParsedToolCall> tool_calls;  // each complete

  bool empty() const { return reasoning_content.empty() && content.empty() && tool_calls.empty(); }
};

// Works on text in which markers are either events (single special tokens) or spelled out. One per
// stream. Not thread-safe. Unfinished or malformed tool calls come out as content: nothing is lost.
class OutputParser {
 public:
  enum class Marker : uint8_t { think_begin, think_end, tool_call_begin, tool_call_end };

  struct Options {
    bool starts_in_reasoning = false;
    bool parse_reasoning = true;  // false: <think> stays in the content
    ToolCallSyntax tool_calls = ToolCallSyntax::none;
    // Markers that are single tokens in this vocabulary; their spelled form is then plain text.
    bool think_is_token = false;
    bool tool_call_is_token = false;
    // The request's tools, one JSON object each: tells which GLM arguments are strings.
    std::vector<std::string> tools;
  };

  explicit OutputParser(Options options);

  void push_text(std::string_view text, OutputDelta& delta);
  void push_marker(Marker marker, OutputDelta& delta);
  void finish(OutputDelta& delta);

  bool in_reasoning() const;
  bool in_tool_call() const { return state_ == State::tool_call; }
  size_t n_tool_calls() const;

 private:
  enum class State : uint8_t { reasoning, content, tool_call };
  void consume(bool at_end, OutputDelta& delta);
  void emit(std::string_view text, OutputDelta& delta);
  void enter(Marker marker);
  void close_tool_call(bool closed, OutputDelta& delta);
  bool marker_active(Marker marker) const;

  Options options_;
  State state_;
  std::string buffer_;       // text that may still be the start of a marker
  std::string held_blanks_;  // blanks at the end of a section so far: dropped if a marker follows
  std::string call_text_;    // inside a tool call
  bool at_section_start_;    // behind a marker: line breaks are dropped
  bool content_seen_ = false;
  size_t n_tool_calls_ = 0;
  // function name -> argument -> declared as string
  std::map<std::string, std::map<std::string, bool, std::less<>>, std::less<>> argument_is_string_;
};

// What the parser needs to know about a prompt that `format` made.
OutputParser::Options parser_options(const ChatFormat& format, const Tokenizer& tokenizer,
                                     const ChatPrompt& prompt, const ChatOptions& chat);

// Token ids of one generated sequence to deltas: detokenizer, stop strings and parser in one. Not
// thread-safe; `tokenizer` must outlive it.
class ResponseStream {
 public:
  static Result<ResponseStream> create(const Tokenizer& tokenizer, OutputParser::Options options,
                                       std::vector<std::string> stop_strings);

  // Feeds one generated token. End-of-generation tokens and other control tokens add no text. After
  // stopped() everything is ignored.
  OutputDelta push(int32_t id);
  OutputDelta finish();

  // While on, no stop string is looked for.
  void ignore_stops(bool on) { detokenizer_.ignore_stops(on); }
  // A stop string was found; generation should end.
  bool stopped() const { return detokenizer_.stopped(); }
  const std::optional<Detokenizer::StopMatch>& stop_match() const {
    return detokenizer_.stop_match();
  }
  bool in_reasoning() const { return parser_.in_reasoning(); }
  size_t n_tool_calls() const { return parser_.n_tool_calls(); }
  uint64_t n_reasoning_tokens() const { return n_reasoning_tokens_; }

 private:
  ResponseStream(const Tokenizer& tokenizer, OutputParser parser, Detokenizer detokenizer);

  const Tokenizer* tokenizer_;
  OutputParser parser_;
  Detokenizer detokenizer_;
  int32_t marker_ids_[4];
  uint64_t n_reasoning_tokens_ = 0;
};

}  // namespace floe
