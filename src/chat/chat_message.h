#pragma once
// A conversation as every API of the server gives it, and how its prompt is to be made.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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
  std::string role;  // system, developer, user, assistant or tool
  std::string content;
  std::optional<std::string> reasoning_content;  // assistant only
  std::vector<ChatToolCall> tool_calls;          // assistant only
  std::string tool_call_id;                      // tool only; empty: none was given
  std::string name;  // of the function, with results, or of who speaks; empty: none was given
};

struct ChatOptions {
  bool add_generation_prompt = true;
  std::optional<bool> enable_thinking;  // absent: the template's own default
  std::string reasoning_effort;         // empty: the template's own default
  ChatTools tools;                      // null: none
  // Further variables of the template, an object. Null: none.
  std::shared_ptr<const Json> template_kwargs;
  // The last message stays open and the answer goes on with its text, whatever
  // add_generation_prompt says: with the content where it has one, else inside the reasoning. It is
  // the assistant's and has no tool calls. A message without any text begins anew.
  bool continue_final_message = false;
  std::optional<int64_t> now_unix_seconds;  // for templates that write a date; absent: the clock's
};

struct ChatPrompt {
  std::vector<int32_t> ids;
  Encoded::End end = Encoded::End::complete;
  size_t n_tokens_at_least = 0;   // see Encoded
  bool inside_reasoning = false;  // the prompt ends inside <think>: generation starts as reasoning
  bool continues = false;         // the prompt ends inside a text, which the answer goes on with
};

}  // namespace floe
