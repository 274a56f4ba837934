// Calls that a grammar makes: which answers it reads in the formats of several families.
#include "chat/call_grammar.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "text/grammar_tokens.h"
#include "text/small_vocabulary.h"

namespace floe {
namespace {

const char* const kWeather =
    R"({"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1,"maximum":9},"unit":{"enum":["C","F"]}},"required":["city"],"additionalProperties":false})";

std::vector<CallableFunction> functions() {
  return {{"weather", kWeather, true}, {"now", "", false}};
}

// One token a byte, and these.
std::unique_ptr<const Tokenizer> tokenizer_with(const std::vector<std::string>& special) {
  std::vector<std::pair<std::string, TokenType>> tokens;
  for (const std::string& text : special) tokens.emplace_back(text, TokenType::user_defined);
  auto tokenizer = Tokenizer::build(testing::small_byte_vocabulary(tokens));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return std::move(tokenizer).value();
}

struct Family {
  const char* format;
  std::vector<std::string> special;
  std::vector<std::string> whole;
  std::vector<std::string> no;  // or not whole
};

std::vector<Family> forced_families() {
  return {
      {"hermes",
       {"<tool_call>", "</tool_call>"},
       {"<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\":\"Paris\",\"days\": 3}}\n"
        "</tool_call>",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"x\":[1]}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n"
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"},
       {"<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"days\":3}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\":\"x\",\"days\":10}}\n"
        "</tool_call>",
        "<tool_call>\n{\"name\": \"rain\", \"arguments\": {}}\n</tool_call>", "text",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n"}},
      {"hermes",
       {},  // tags as text
       {"<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"},
       {"<tool_call>{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"}},
      {"glm45",
       {"<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"},
       {"<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Paris {\"</arg_value>\n"
        "</tool_call>",
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value></arg_value>\n<arg_key>days"
        "</arg_key>\n<arg_value>3</arg_value>\n<arg_key>unit</arg_key>\n<arg_value>C</arg_value>\n"
        "</tool_call>"},
       {"<tool_call>weather\n</tool_call>",
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>x</arg_value>\n<arg_key>days"
        "</arg_key>\n<arg_value>x</arg_value>\n</tool_call>",
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>x</arg_value>\n<arg_key>unit"
        "</arg_key>\n<arg_value>\"C\"</arg_value>\n</tool_call>"}},
      {"qwen3_coder",
       {"<tool_call>", "</tool_call>"},
       {"<tool_call>\n<function=weather>\n<parameter=city>\nNew </param York\n</parameter>\n"
        "</function>\n</tool_call>"},
       {"<tool_call>\n<function=weather>\n<parameter=city>\na</parameter>b\n</parameter>\n"
        "</function>\n</tool_call>"}},
      {"deepseek_v31",
       {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
        "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"},
       {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
        "<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"city\":\"a\"}<｜tool▁call▁end｜>"
        "<｜tool▁calls▁end｜>"},
       {"<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>"}},
      {"kimi_k2",
       {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
        "<|tool_call_argument_begin|>", "<|tool_call_end|>"},
       {"<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>"
        "{}<|tool_call_end|><|tool_calls_section_end|>"},
       {"<|tool_calls_section_begin|><|tool_call_begin|>now<|tool_call_argument_begin|>{}"
        "<|tool_call_end|><|tool_calls_section_end|>"}},
  };
}

std::shared_ptr<OutputGrammar> bound(Automaton automaton, const Tokenizer& tokenizer) {
  auto output = std::make_shared<OutputGrammar>();
  output->grammar =
      std::make_shared<const Grammar>(std::move(automaton), make_token_trie(tokenizer));
  return output;
}

bool is_whole(const std::shared_ptr<OutputGrammar>& output, const Tokenizer& tokenizer,
              const std::string& text) {
  GrammarMatcher matcher(output);
  for (const int32_t token : tokenizer.encode(text, false, true)) {
    if (!matcher.accept(token)) return false;
  }
  return matcher.can_end();
}

TEST(CallGrammar, ReadsCallsOfEachFamily) {
  for (const Family& family : forced_families()) {
    SCOPED_TRACE(family.format);
    const auto tokenizer = tokenizer_with(family.special);
    const auto format = answer_format_by_name(family.format, {}, *tokenizer);
    ASSERT_TRUE(format.ok()) << format.error().message;
    auto automaton = make_call_grammar(*format, functions(), {});
    ASSERT_TRUE(automaton.ok()) << automaton.error().message;
    const auto output = bound(std::move(*automaton), *tokenizer);
    for (const std::string& text : family.whole) {
      EXPECT_TRUE(is_whole(output, *tokenizer, text)) << text;
    }
    for (const std::string& text : family.no) {
      EXPECT_FALSE(is_whole(output, *tokenizer, text)) << text;
    }
  }
}

TEST(CallGrammar, BehindTheTokenThatTheModelWrote) {
  const auto tokenizer = tokenizer_with({"<tool_call>", "</tool_call>"});
  const auto format = answer_format_by_name("hermes", {}, *tokenizer);
  ASSERT_TRUE(format.ok());
  EXPECT_EQ(call_begin_token(*format), *tokenizer->find_special("<tool_call>"));
  auto automaton = make_call_grammar(*format, functions(), {true, true});
  ASSERT_TRUE(automaton.ok()) << automaton.error().message;
  auto output = bound(std::move(*automaton), *tokenizer);
  output->begins_behind = {call_begin_token(*format)};
  output->again = true;
  const std::string call = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
  EXPECT_TRUE(is_whole(output, *tokenizer, "Let me see. " + call + "\n" + call + " Done."));
  EXPECT_TRUE(is_whole(output, *tokenizer, "No call."));
  EXPECT_FALSE(is_whole(output, *tokenizer, "x<tool_call>x"));
  EXPECT_FALSE(is_whole(output, *tokenizer, "x<tool_call>\n{\"name\": \"now\""));
}

TEST(CallGrammar, OneCallWhereOneIsWanted) {
  const auto tokenizer =
      tokenizer_with({"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
                      "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"});
  const auto format = answer_format_by_name("deepseek_v31", {}, *tokenizer);
  ASSERT_TRUE(format.ok());
  auto automaton = make_call_grammar(*format, functions(), {false, false});
  ASSERT_TRUE(automaton.ok());
  const auto output = bound(std::move(*automaton), *tokenizer);
  const std::string call = "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>";
  EXPECT_TRUE(
      is_whole(output, *tokenizer, "<｜tool▁calls▁begin｜>" + call + "<｜tool▁calls▁end｜>"));
  EXPECT_FALSE(is_whole(output, *tokenizer,
                        "<｜tool▁calls▁begin｜>" + call + call + "<｜tool▁calls▁end｜>"));
}

TEST(CallGrammar, Refusals) {
  const auto tokenizer = tokenizer_with({"<tool_call>", "</tool_call>"});
  const struct {
    const char* format;
    CallableFunction function;
    CallGrammarOptions options;
    const char* message;
  } rows[] = {
      {"hermes",
       {"f", R"({"type":"object","properties":{"a":{"not":{}}}})", true},
       {},
       "tools[0].function.parameters#/properties/a/not: the keyword is not supported"},
      {"hermes", {"f", R"({"type":"object","properties":{"a":{"not":{}}}})", false}, {}, nullptr},
      {"glm45",
       {"f", R"({"properties":{"a":{"type":"string","pattern":"x"}}})", true},
       {},
       "tools[0].function.parameters#/properties/a/pattern: is not supported for calls in this "
       "model's format"},
      {"gemma4", {"f", "", false}, {}, "calls in this model's format (gemma4) cannot be forced"},
      {"none", {"f", "", false}, {}, "calls in this model's format (none) cannot be forced"},
      {"nemotron",
       {"f", "", false},
       {true, true},
       "calls in this model's format (nemotron) begin with no token"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.format);
    const auto format = answer_format_by_name(row.format, {}, *tokenizer);
    ASSERT_TRUE(format.ok());
    const auto automaton = make_call_grammar(*format, {&row.function, 1}, row.options);
    ASSERT_EQ(automaton.ok(), row.message == nullptr);
    if (!automaton.ok()) {
      EXPECT_EQ(automaton.error().message, row.message);
    }
  }
}

}  // namespace
}  // namespace floe
