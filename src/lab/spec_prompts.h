#pragma once
// Prompts of spec-bench, a class to a file: lines of JSON, of which each holds one of
//   "messages"  a conversation through the model's chat template, with "tools" and "think" where
//   wanted "text"      text to continue "random"    so many random token ids, from "seed"
// and may hold "n" (most tokens to generate), "temperature" and "seed" (greedy when left out).
// bench/prompts/README.md has the details.
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "chat/chat_template.h"
#include "text/tokenizer.h"

namespace floe {

struct SpecPrompt {
  std::string name;  // "prose 3": class and line
  std::vector<int32_t> tokens;
  uint32_t max_tokens = 256;
  float temperature = 0.0f;
  uint64_t seed = 0;
};

struct SpecClass {
  std::string name;
  std::vector<SpecPrompt> prompts;
};

// text: the lines of one file. source names it in errors, all of which are ErrorKind::usage but for
// that of `chat`, which is what "messages" are laid out with, or why they cannot be.
Result<SpecClass> parse_spec_prompts(const std::string& text, const std::string& class_name,
                                     const std::string& source, const Tokenizer& tokenizer,
                                     const Result<ChatTemplate>& chat);

}  // namespace floe
