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
#include "chat/chat_message.h"
#include "chat/chat_tools.h"
#include "text/tokenizer.h"

namespace floe {

enum class ChatFormatKind : uint8_t {
  floe_nano,
  chatml,       // <|im_start|>role ... <|im_end|>
  glm,          // GLM-4.5 and 4.6: a line break behind each role
  glm_compact,  // GLM-4.7 and 5: none
};

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
