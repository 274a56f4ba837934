#pragma once
// Splits generated text into reasoning, content and tool calls while it streams.
//
// What is a marker: where the vocabulary has a token for it, that token alone. The same bytes,
// written by other tokens, are text. Where the vocabulary has none, its spelling counts, with these
// limits: what opens reasoning only at the beginning of an answer; what closes it only inside
// reasoning; the markers of calls only if tools were declared; and inside a string of a call's
// arguments no marker.
#include <cstdint>
#include <memory>
#include <string_view>

#include "chat/answer_format.h"
#include "chat/answer_writer.h"
#include "chat/chat_message.h"
#include "text/tokenizer.h"

namespace floe {

class AnswerReader;

// One per stream. Not thread-safe.
//
// A call is a call from the moment at which its function, a declared one, and the beginning of its
// arguments are known: from there on its text comes out as arguments, whatever follows. What turns
// out to be no call, such as one of an undeclared function, is content, markers included. An answer
// that is cut before a call's function is known ends in front of that call, and one that is cut
// inside a marker that is spelled out, in front of that marker.
class OutputParser {
 public:
  struct Options {
    AnswerFormat format;  // without reasoning and calls: everything is content
    ChatTools tools;      // the functions that may be called
    bool starts_in_reasoning = false;
    // The answer goes on with a text that was begun before: blanks at its start are part of it.
    bool continues = false;
  };

  explicit OutputParser(Options options);
  ~OutputParser();
  OutputParser(OutputParser&&) noexcept;
  OutputParser& operator=(OutputParser&&) noexcept;

  // Text, and the format's markers that are tokens (by their index there), in the order of
  // generation.
  void push_text(std::string_view text, OutputDelta& delta);
  void push_marker(size_t marker, OutputDelta& delta);
  // The end. cut: by a limit or a stop string, not by the model.
  void finish(bool cut, OutputDelta& delta);

  bool in_reasoning() const;
  uint32_t n_tool_calls() const;
  // Those whose arguments are whole.
  uint32_t n_complete_tool_calls() const;
  bool has_reasoned() const;

 private:
  std::unique_ptr<AnswerReader> reader_;
};

// How to read the answer to a prompt: the one place where this is decided. `format` was made for
// `tokenizer`. Whether the answer begins inside reasoning is read off the prompt's tokens, unless
// the prompt says so itself.
OutputParser::Options parser_options(const AnswerFormat& format, const Tokenizer& tokenizer,
                                     const ChatPrompt& prompt, const ChatTools& tools);
// Nothing is taken apart: markers come out as text.
OutputParser::Options plain_text_options();

}  // namespace floe
