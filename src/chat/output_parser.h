#pragma once
// Splits generated text into reasoning, content and tool calls while it streams.
//
// What is a marker: where the vocabulary has a token for it, that token alone. The same bytes,
// written by other tokens, are text. Where the vocabulary has none, its spelling counts, with these
// limits: <think> only at the beginning of an answer; </think> only inside reasoning; the markers
// of calls only if tools were declared; and inside a string of a call's arguments no marker.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/answer_format.h"
#include "chat/chat_message.h"
#include "text/tokenizer.h"

namespace floe {

class ToolCallReader;

// How a model writes its tool calls.
enum class ToolCallSyntax : uint8_t { none, json, glm_arguments };

// How the text of a call came to its end.
enum class ToolCallEnd : uint8_t {
  marked,  // by the closing marker
  model,   // the model ended its answer, or began another call
  cut,     // by a limit or a stop string: more would have come
};

// A piece of a tool call.
struct ToolCallDelta {
  uint32_t index = 0;     // of the call among those of its answer
  std::string name;       // with the first piece of each call; else empty
  std::string arguments;  // what follows those said before; all together a JSON object
};

// What one step added. Concatenating all deltas gives the same as parsing the whole text at once.
struct OutputDelta {
  std::string reasoning_content;
  std::string content;
  std::vector<ToolCallDelta> tool_calls;

  bool empty() const { return reasoning_content.empty() && content.empty() && tool_calls.empty(); }
};

// One per stream. Not thread-safe.
//
// A call is a call from the moment at which its function, a declared one, and the beginning of its
// arguments are known: from there on its text comes out as arguments, whatever follows. What turns
// out to be no call, such as one of an undeclared function, is content, markers included. An answer
// that is cut before a call's function is known ends in front of that call, and one that is cut
// inside a marker that is spelled out, in front of that marker.
class OutputParser {
 public:
  enum class Marker : uint8_t {
    think_begin,
    think_end,
    tool_call_begin,
    tool_call_end,
    arg_key_begin,  // GLM
    arg_key_end,
    arg_value_begin,
    arg_value_end,
  };
  static constexpr size_t kMarkers = 8;
  static std::string_view spelling(Marker marker);

  struct Options {
    Options() { marker_ids.fill(-1); }

    bool starts_in_reasoning = false;
    // The answer goes on with a text that was begun before: blanks at its start are part of it.
    bool continues = false;
    bool parse_reasoning = true;  // false: <think> stays in the content
    ToolCallSyntax tool_calls = ToolCallSyntax::none;
    ChatTools tools;                           // the functions that may be called
    std::array<int32_t, kMarkers> marker_ids;  // -1: the vocabulary has no token for it

    bool is_token(Marker marker) const { return marker_ids[static_cast<size_t>(marker)] >= 0; }
    // Whether this request takes the marker for structure anywhere in the answer.
    bool takes(Marker marker) const;
  };

  explicit OutputParser(Options options);
  ~OutputParser();
  OutputParser(OutputParser&&) noexcept;
  OutputParser& operator=(OutputParser&&) noexcept;

  // Text, and markers that are tokens, in the order of generation.
  void push_text(std::string_view text, OutputDelta& delta);
  void push_marker(Marker marker, OutputDelta& delta);
  // The end. cut: by a limit or a stop string, not by the model.
  void finish(bool cut, OutputDelta& delta);

  bool in_reasoning() const { return state_ == State::reasoning; }
  uint32_t n_tool_calls() const { return n_tool_calls_; }
  // Those whose arguments are whole.
  uint32_t n_complete_tool_calls() const { return n_complete_tool_calls_; }
  bool has_reasoned() const { return reasoning_seen_; }

 private:
  enum class State : uint8_t {
    reasoning,
    content,
    tool_call,
    not_a_call,  // content up to the end of what began as a call
  };
  void consume(bool at_end, OutputDelta& delta);
  void take_text(std::string_view text, OutputDelta& delta);
  void take_marker(Marker marker, OutputDelta& delta);
  void emit(std::string_view text, OutputDelta& delta);
  void enter(State state);
  void begin_tool_call();
  void read_call(std::string_view text, OutputDelta& delta);
  void give_call(std::string arguments, OutputDelta& delta);
  void end_tool_call(ToolCallEnd end, OutputDelta& delta);
  bool marker_active(Marker marker) const;

  Options options_;
  State state_;
  std::string buffer_;       // text that may still be the start of a marker
  std::string held_blanks_;  // blanks at the end of a section so far: dropped if a marker follows
  std::string call_text_;    // of a call that may still turn out to be none
  std::unique_ptr<ToolCallReader> reader_;  // of the call at hand
  bool call_given_ = false;                 // its name went out
  bool at_section_start_;                   // behind a marker: line breaks are dropped
  bool content_seen_ = false;
  bool reasoning_seen_ = false;
  uint32_t n_tool_calls_ = 0;
  uint32_t n_complete_tool_calls_ = 0;
};

// How to read the answer to a prompt: the one place where this is decided. `format` was made for
// `tokenizer`. Whether the answer begins inside reasoning is read off the prompt's tokens, unless
// the prompt says so itself.
OutputParser::Options parser_options(const AnswerFormat& format, const Tokenizer& tokenizer,
                                     const ChatPrompt& prompt, const ChatTools& tools);
// Nothing is taken apart: markers come out as text.
OutputParser::Options plain_text_options();

}  // namespace floe
