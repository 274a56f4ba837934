#pragma once
// What the chat formats share while they lay out one conversation. Used by ChatFormat alone; each
// family of formats has a file of its own.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/chat_format.h"

namespace floe {

// A prompt as stretches of text; only the format's own words are trusted to become special tokens.
class PromptBuilder {
 public:
  // The format's own words: what spells a special token in them becomes that token.
  void marker(std::string_view text) { append(text, true); }
  // What people, tools and models wrote: never a special token, whatever it spells.
  void text(std::string_view text) { append(text, false); }

  std::string rendered() const;
  Encoded encode(const Tokenizer& tokenizer, const EncodeLimits& limits) const;

  // The prompt ends inside <think>.
  bool inside_reasoning = false;
  // The prompt ends inside a text that the answer goes on with.
  bool continues = false;

 private:
  struct Stretch {
    std::string text;
    bool trusted;
  };
  void append(std::string_view text, bool trusted);
  std::vector<Stretch> stretches_;
};

// A checked conversation. Refers to the messages and options that it was made of.
struct Conversation {
  std::span<const ChatMessage> messages;
  const ChatOptions& options;
  bool thinking = false;  // what the request says, or else the format's default
  // The last message stays open, for the answer to go on with.
  bool continues = false;
  // A new message of the assistant begins behind the last one.
  bool opens_answer = false;

  bool has_tools() const { return options.tools != nullptr && !options.tools->empty(); }
  // The system message that stands first, and gets the tools; nullptr: another one stands there.
  const ChatMessage* first_system() const;
  bool is_continued(size_t i) const { return continues && i + 1 == messages.size(); }
  // Tool messages that follow each other are one turn.
  bool tool_run_begins(size_t i) const {
    return messages[i].role == "tool" && (i == 0 || messages[i - 1].role != "tool");
  }
  bool tool_run_ends(size_t i) const {
    return messages[i].role == "tool" &&
           (i + 1 == messages.size() || messages[i + 1].role != "tool");
  }
};

bool is_system(const ChatMessage& message);

// What an assistant message thought; empty where it did not.
std::string_view reasoning_of(const ChatMessage& message);
// A message that is to go on and has no content yet goes on with its reasoning.
bool continues_reasoning(const ChatMessage& message);

// {"name": ..., "arguments": ...} as the model would have written it.
void write_json_call(PromptBuilder& out, const ChatToolCall& call);

inline constexpr std::string_view kBlank = " \t\r\n\v\f";
std::string_view strip_left(std::string_view text, std::string_view characters);
std::string_view strip_right(std::string_view text, std::string_view characters);
std::string_view strip(std::string_view text, std::string_view characters);

// The formats. Total: whatever the messages hold gives a prompt.
void write_floe_nano(const Conversation& conversation, PromptBuilder& out);
// has_thinking: the vocabulary has <think>. opens_thinking: the model's template writes it for the
// model, so that an answer that thinks begins inside.
void write_chatml(const Conversation& conversation, bool has_thinking, bool opens_thinking,
                  PromptBuilder& out);
// compact: no line breaks behind roles (GLM-4.7 and 5).
void write_glm(const Conversation& conversation, bool compact, PromptBuilder& out);

}  // namespace floe
