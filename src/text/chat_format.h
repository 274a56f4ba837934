#pragma once
// Conversations to prompts, for the formats written by hand: floe-nano, ChatML (Qwen) and GLM-4.5
// or later. Markers are put in as ids; what people wrote is encoded without special tokens, so no
// message can forge a turn.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
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
  std::vector<std::string> tools;  // one JSON object each, as the request spelled it, keys in order
  // Keep the reasoning of all past assistant turns instead of only those after the last user turn:
  // the prompt then extends the previous one and the prefix cache holds.
  bool preserve_reasoning = false;
};

struct ChatPrompt {
  std::vector<int32_t> ids;
  Encoded::End end = Encoded::End::complete;
  size_t n_tokens_at_least = 0;   // see Encoded
  bool inside_reasoning = false;  // the prompt ends inside <think>: generation starts as reasoning
};

enum class ChatFormatKind : uint8_t {
  floe_nano,
  chatml,       // <|im_start|>role ... <|im_end|>
  glm,          // GLM-4.5 and 4.6: a line break behind each role
  glm_compact,  // GLM-4.7 and 5: none
};

// How a model writes its tool calls.
enum class ToolCallSyntax : uint8_t { none, json, glm_arguments };

class ChatFormat {
 public:
  // Chooses by the special tokens of the vocabulary. ErrorKind::model, naming what was looked for,
  // when none fits: chat is then unsupported for this model, completions still work.
  static Result<ChatFormat> detect(const Tokenizer& tokenizer);
  // "floe-nano", "chatml", "glm" or "glm-compact". ErrorKind::usage for another name,
  // ErrorKind::model when the vocabulary lacks a marker that the format needs.
  static Result<ChatFormat> by_name(const Tokenizer& tokenizer, std::string_view name);

  // ErrorKind::usage, naming the message or tool, when a role is unknown, messages are empty, or a
  // tool is no JSON. Arguments of calls are put in as they stand, whatever they are. `tokenizer` is
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
  ToolCallSyntax tool_call_syntax() const;

 private:
  explicit ChatFormat(ChatFormatKind kind) : kind_(kind) {}

  ChatFormatKind kind_;
  // ChatML: whether the model has <think> at all, and whether its template opens it for the model.
  bool has_thinking_ = true;
  bool opens_thinking_ = false;
};

// JSON text spelled as Python's json.dumps does, the way models saw it in training: one line, a
// space behind commas and colons, characters outside ASCII as they are. Key order is kept.
Result<std::string> python_json(std::string_view json);

}  // namespace floe
