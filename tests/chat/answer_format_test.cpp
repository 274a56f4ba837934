#include "chat/answer_format.h"

#include <gtest/gtest.h>

#include <set>

#include "text/small_vocabulary.h"

namespace floe {
namespace {

std::unique_ptr<const Tokenizer> vocabulary(std::initializer_list<const char*> specials) {
  std::vector<std::pair<std::string, TokenType>> tokens;
  for (const char* text : specials) tokens.emplace_back(text, TokenType::control);
  return std::move(Tokenizer::build(testing::small_byte_vocabulary(tokens))).value();
}

// One row a way to know a format.
TEST(AnswerFormat, IsDetected) {
  const struct {
    const char* template_source;
    std::initializer_list<const char*> tokens;
    const char* name;
    const char* open;
  } rows[] = {
      {"", {}, "none", "<think>"},
      {"", {"<|im_start|>"}, "hermes", "<think>"},
      {"", {"<tool_call>"}, "hermes", "<think>"},
      {"", {"<tool_call>", "<arg_key>"}, "glm45", "<think>"},
      {"x <tool_call> <function= <parameter= y", {"<tool_call>"}, "qwen3_coder", "<think>"},
      {"x <tool_call> y", {"<tool_call>", "<arg_key>"}, "hermes", "<think>"},
      {"", {"[TOOL_CALLS]", "[THINK]", "[/THINK]"}, "mistral_json", "[THINK]"},
      {"", {"[TOOL_CALLS]", "[ARGS]"}, "mistral", "<think>"},
      {"nothing", {"[TOOL_CALLS]"}, "mistral_json", "<think>"},
      {"", {"<|channel|>", "<|message|>", "<|call|>"}, "openai", "<|channel|>analysis<|message|>"},
      {"<think:opensource> </think:opensource>", {}, "none", "<think:opensource>"},
  };
  for (const auto& row : rows) {
    const auto tokenizer = vocabulary(row.tokens);
    const AnswerFormat format = detect_answer_format(row.template_source, *tokenizer);
    EXPECT_EQ(format.name, row.name) << row.template_source;
    EXPECT_EQ(format.reasoning.open, row.open) << row.template_source;
  }
}

TEST(AnswerFormat, IsKnownByName) {
  const auto tokenizer = vocabulary({});
  for (const std::string_view name : answer_format_names()) {
    EXPECT_EQ(answer_format_by_name(name, {}, *tokenizer).value().name, name);
  }
  const auto unknown = answer_format_by_name("gpt5", {}, *tokenizer);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().kind, ErrorKind::usage);
  for (const std::string_view name : answer_format_names()) {
    EXPECT_NE(unknown.error().message.find(name), std::string::npos) << name;
  }
}

// Tokens of the vocabulary inside a format's texts, the longest first; blanks and words are none.
TEST(AnswerFormat, FindsItsMarkers) {
  const auto tokenizer = vocabulary({"<tool_call>", "<tool", "\n", "name", "<think>", "｜DSML｜"});
  const auto markers = [&](const char* name) {
    std::string all;
    const auto format = answer_format_by_name(name, {}, *tokenizer);
    for (const auto& marker : format->markers) {
      EXPECT_EQ(tokenizer->token_bytes(marker.id), marker.text);
      all += marker.text + " ";
    }
    return all;
  };
  EXPECT_EQ(markers("hermes"), "<think> <tool_call> ");
  EXPECT_EQ(markers("deepseek_v32"), "<think> ｜DSML｜ ");
}

TEST(AnswerFormat, TellsWhetherThePromptOpensReasoning) {
  const auto tokens = vocabulary({"<think>", "</think>", "<|user|>", "<|assistant|>"});
  const auto none = vocabulary({"<|user|>", "<|assistant|>"});
  const struct {
    const char* prompt;
    bool with_tokens;
    bool spelled;
  } rows[] = {
      {"<|user|>q<|assistant|>", false, false},
      {"<|user|>q<|assistant|><think>", true, true},
      {"<|user|>q<|assistant|><think>\n", true, true},
      {"<|user|>q<|assistant|><think>so far", true, false},
      {"<|user|>q<|assistant|><think></think>", false, false},
      {"<|user|>q<|assistant|><think>a</think>b", false, false},
      {"<think><|user|>q<|assistant|>", false, false},
      {"", false, false},
  };
  for (const auto& row : rows) {
    const auto opens = [&](const Tokenizer& tokenizer) {
      const AnswerFormat format = detect_answer_format({}, tokenizer);
      return prompt_opens_reasoning(format, tokenizer, tokenizer.encode(row.prompt, false, true));
    };
    EXPECT_EQ(opens(*tokens), row.with_tokens) << row.prompt;
    EXPECT_EQ(opens(*none), row.spelled) << row.prompt;
  }
  // Spelled by a user, it is no token.
  const AnswerFormat format = detect_answer_format({}, *tokens);
  EXPECT_FALSE(prompt_opens_reasoning(format, *tokens, tokens->encode("a<think>", false, false)));
}

TEST(AnswerFormat, IdsOfCallsAreTheirOwn) {
  EXPECT_EQ(tool_call_id(CallIdShape::any, "abcDEF123", 1, 12), "call_abcDEF123_1_12");
  EXPECT_EQ(tool_call_id(CallIdShape::nine_letters, "abcDEF123", 1, 37), "abcDE1011");
  std::set<std::string> ids;
  for (uint32_t choice = 0; choice < 8; ++choice) {
    for (uint32_t call = 0; call < 1500; ++call) {
      const std::string id = tool_call_id(CallIdShape::nine_letters, "ab", choice, call);
      EXPECT_EQ(id.size(), 9u);
      EXPECT_TRUE(ids.insert(id).second) << id;
    }
  }
}

}  // namespace
}  // namespace floe
