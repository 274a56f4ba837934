#pragma once
// Conversations to prompts, for the formats written by hand: floe-nano, ChatML (Qwen) and GLM-4.5
// or later.
//
// Markers are put in as ids; what people, tools and models wrote is encoded without special tokens,
// so that no field of any message can forge a turn, a call or the end of the reasoning. What looks
// like a marker in it stays text: a content with </think> in it is content.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "chat/chat_tools.h"
#include "text/tokenizer.h"

namespace floe {

struct ChatToolCall {
  std::string id;
  std::string name;
  // As the model wrote it: a JSON object, or what is left of one where the answer was cut. Blank:
  // no arguments.
  std::string arguments_json;
};

struct ChatMessage {
  std::string role;  // system, developer (as system), user, assistant or tool
  std::string content;
  std::optional<std::string> reasoning_content;  // assistant only
  std::vector<ChatToolCall> tool_calls;          // assistant only
  std::string tool_call_id;                      // tool only; not part of any prompt here
};

struct ChatOptions {
  bool add_generation_prompt = true;
  std::optional<bool> enable_thinking;  // absent: the format's own default
  ChatTools tools;                      // null: none
  // Keep the reasoning of all past assistant turns instead of only those after the last user turn:
  // the prompt then extends the previous one and the prefix cache holds.
  bool preserve_reasoning = false;
  // The last message stays open and the answer goes on with its text, whatever
  // add_generation_prompt says: with the content where it has one, else inside the reasoning. It is
  // the assistant's and has no tool calls. A message without any text begins anew.
  bool continue_final_message = false;
};

struct ChatPrompt {
  std::vector<int32_t> ids;
  Encoded::End end = Encoded::End::complete;
  size_t n_tokens_at_least = 0;   // see Encoded
  bool inside_reasoning = false;  // the prompt ends inside <think>: generation starts as reasoning
  bool continues = false;         // the prompt ends inside a text, which the answer goes on with
};

enum class ChatFormatKind : uint8_t {
  floe_nano,
  chatml,       // <|im_start|>role ... <|im_end|>
  glm,          // GLM-4.5 and 4.6: a line break behind each role
  glm_compact,  // GLM-4.7 and 5: none
};

// How a model writes its tool calls.
enum class ToolCallSyntax : uint8_t { none, json, glm_arguments };

class PromptBuilder;

class ChatFormat {
 public:
  // Chooses by the special tokens of the vocabulary. ErrorKind::model, naming what was looked for,
  // when none fits: chat is then unsupported for this model, completions still work.
  static Result<ChatFormat> detect(const Tokenizer& tokenizer);
  // "floe-nano", "chatml", "glm" or "glm-compact". ErrorKind::usage for another name,
  // ErrorKind::model when the vocabulary lacks a marker that the format needs.
  static Result<ChatFormat> by_name(const Tokenizer& tokenizer, std::string_view name);

  // ErrorKind::usage, naming the message, when a role is unknown, messages are empty, or the last
  // one cannot go on though it is to. Arguments of calls are put in as they stand, whatever they
  // are. `tokenizer` is
  // the one the format was chosen for.
  // With limits the prompt may be left unfinished, as ChatPrompt::end says.
  Result<ChatPrompt> format(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                            const ChatOptions& options, const EncodeLimits& limits = {}) const;
  // The same prompt as text, for /apply-template. Markers and message text look alike here.
  Result<std::string> render(std::span<const ChatMessage> messages,
                             const ChatOptions& options) const;

  ChatFormatKind kind() const { return kind_; }
  std::string_view name() const;
  bool thinks_by_default() const;

 private:
  explicit ChatFormat(ChatFormatKind kind) : kind_(kind) {}
  Result<PromptBuilder> build(std::span<const ChatMessage> messages,
                              const ChatOptions& options) const;

  ChatFormatKind kind_;
  // ChatML: whether the model has <think> at all, and whether its template opens it for the model.
  bool has_thinking_ = true;
  bool opens_thinking_ = false;
};

}  // namespace floe
