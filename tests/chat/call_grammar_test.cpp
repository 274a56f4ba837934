// Calls that a grammar makes: which answers it reads in the formats of several families.
#include "chat/call_grammar.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "chat/response_stream.h"
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
      {"gemma4",
       {"<|tool_call>", "<tool_call|>", "<|\"|>"},
       {"<|tool_call>call:weather{city:<|\"|>New \"York\", {x}<|\"|>,days:3}<tool_call|>",
        "<|tool_call>call:weather{city:<|\"|><|\"|>,unit:<|\"|>C<|\"|>}<tool_call|>",
        "<|tool_call>call:now{}<tool_call|>",
        "<|tool_call>call:now{a:[1,<|\"|>x<|\"|>,{b:None,c:true}],d:{}}<tool_call|>"},
       {"<|tool_call>call:weather{days:3}<tool_call|>",
        "<|tool_call>call:weather{city:Paris}<tool_call|>",
        "<|tool_call>call:weather{city:<|\"|>a<|\"|>,days:12}<tool_call|>",
        "<|tool_call>call:weather{city:<|\"|>a<|\"|>,unit:<|\"|>K<|\"|>}<tool_call|>",
        "<|tool_call>call:weather{,city:<|\"|>a<|\"|>}<tool_call|>", "<|tool_call>call:now{}"}},
      {"lfm2",
       {"<|tool_call_start|>", "<|tool_call_end|>"},
       {"<|tool_call_start|>[weather(city=\"a \\\"b\\\" \\\\\", days=3)]<|tool_call_end|>",
        "<|tool_call_start|>[weather(city=\"\", unit=\"F\"), now()]<|tool_call_end|>",
        "<|tool_call_start|>[now(a=[1, \"x\", {'b': None, 'c': True}], d={})]<|tool_call_end|>"},
       {"<|tool_call_start|>[weather()]<|tool_call_end|>",
        "<|tool_call_start|>[weather(city='a')]<|tool_call_end|>",
        "<|tool_call_start|>[weather(days=3, city=\"a\")]<|tool_call_end|>",
        "<|tool_call_start|>[weather(city=\"a\", days=0)]<|tool_call_end|>",
        "<|tool_call_start|>[weather(city=\"a\"b\")]<|tool_call_end|>"}},
      {"openai",
       {"<|channel|>", "<|message|>", "<|call|>", "<|constrain|>", "<|start|>", "<|end|>"},
       {"<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}<|call|>",
        "<|channel|>analysis<|message|>Let me see: {\"a\"} <end><|end|><|start|>assistant"
        "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>"
        "{\"city\": \"Paris\"}<|call|>"},
       {"<|channel|>final<|message|>no", "<|channel|>analysis<|message|>only thoughts<|end|>",
        "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{}<|call|>"}},
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

// What a grammar lets be written reads back as calls with arguments that the schema allows.
TEST(CallGrammar, WhatItLetsBeWrittenIsACall) {
  const ChatTools tools = *make_chat_tools(Json::array(
      {Json{{"name", "weather"}, {"parameters", Json::parse(kWeather)}}, Json{{"name", "now"}}}));
  std::mt19937 random(7);
  for (const Family& family : forced_families()) {
    SCOPED_TRACE(family.format);
    const auto tokenizer = tokenizer_with(family.special);
    const auto format = answer_format_by_name(family.format, {}, *tokenizer);
    ASSERT_TRUE(format.ok());
    auto automaton = make_call_grammar(*format, functions(), {});
    ASSERT_TRUE(automaton.ok());
    const auto output = bound(std::move(*automaton), *tokenizer);
    const uint32_t n_vocab = output->grammar->n_vocab();
    std::vector<uint64_t> mask((n_vocab + 63) / 64);
    uint32_t n_ended = 0;
    for (int walk = 0; walk < 60; ++walk) {
      GrammarMatcher matcher(output);
      auto stream =
          ResponseStream::create(*tokenizer, parser_options(*format, *tokenizer, {}, tools), {});
      ASSERT_TRUE(stream.ok());
      std::string text;
      std::vector<ChatToolCall> calls;
      const auto take = [&](const OutputDelta& delta) {
        for (const ToolCallDelta& call : delta.tool_calls) {
          if (call.index == calls.size()) calls.push_back({{}, call.name, {}});
          calls[call.index].arguments_json += call.arguments;
        }
      };
      for (int i = 0; i < 3000 && !matcher.must_end(); ++i) {
        if (matcher.can_end() && random() % 2 == 0) break;
        ASSERT_TRUE(matcher.tokens(mask));
        std::vector<int32_t> allowed;
        std::vector<int32_t> marks;  // that a text ends with, so that walks come to their end
        for (int32_t id = 0; id < static_cast<int32_t>(n_vocab); ++id) {
          if ((mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) == 0) continue;
          allowed.push_back(id);
          const std::string_view bytes = tokenizer->token_bytes(id);
          if (bytes.size() > 1 || bytes.find_first_of("\"<}])/") != std::string_view::npos) {
            marks.push_back(id);
          }
        }
        ASSERT_FALSE(allowed.empty()) << text;
        const std::vector<int32_t>& from = !marks.empty() && random() % 3 == 0 ? marks : allowed;
        const int32_t id = from[random() % from.size()];
        ASSERT_TRUE(matcher.accept(id));
        text += tokenizer->token_bytes(id);
        take(stream->push(id));
      }
      if (!matcher.can_end()) continue;
      ++n_ended;
      take(stream->finish(false));
      ASSERT_FALSE(calls.empty()) << text;
      for (const ChatToolCall& call : calls) {
        const Json arguments = Json::parse(call.arguments_json, nullptr, false);
        ASSERT_TRUE(arguments.is_object()) << text << "\n" << call.arguments_json;
        if (call.name != "weather") continue;
        ASSERT_TRUE(arguments.contains("city") && arguments["city"].is_string()) << text;
        if (arguments.contains("days")) {
          ASSERT_TRUE(arguments["days"] >= 1 && arguments["days"] <= 9) << text;
        }
        if (arguments.contains("unit")) {
          ASSERT_TRUE(arguments["unit"] == "C" || arguments["unit"] == "F") << text;
        }
      }
    }
    EXPECT_GT(n_ended, 20u);
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

// Where no token tells the beginning of a call, the whole answer is bound: text, or calls as they
// must be.
TEST(CallGrammar, TextOrCallsWhereNoTokenTells) {
  const std::vector<Family> rows = {
      {"llama3_json",
       {"<|python_tag|>"},
       {"", "It rains. {\"name\"", "{\"name\": \"now\", \"parameters\": {}}",
        "<|python_tag|>{\"name\": \"weather\", \"parameters\": {\"city\": \"a\"}}"},
       {"{\"a\": 1}", "{\"name\": \"rain\", \"parameters\": {}}", " {", "<|python_tag|>text",
        "{\"name\": \"weather\", \"parameters\": {}}"}},
      {"openai",
       {"<|channel|>", "<|message|>", "<|call|>", "<|constrain|>", "<|start|>", "<|end|>"},
       {"<|channel|>final<|message|>Hello.",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>"
        "I look.<|end|><|start|>assistant<|channel|>commentary to=functions.now "
        "<|constrain|>json<|message|>{}<|call|>"},
       {"Hello.", "<|channel|>commentary to=functions.rain <|constrain|>json<|message|>{}<|call|>",
        "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{}<|call|>"}},
      {"nemotron",
       {},
       {"", "I say <TOOL", "<TOOLCALL>[{\"name\": \"now\", \"arguments\": {}}]</TOOLCALL>",
        "Well: <TOOLCALL>[{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"weather\", "
        "\"arguments\": {\"city\": \"x\"}}]</TOOLCALL>"},
       {"<TOOLCALL>[", "a <TOOLCALL>[{\"name\": \"rain\"",
        "b <TOOLCALL>[{\"name\": \"weather\", \"arguments\": {}}]</TOOLCALL>"}},
  };
  for (const Family& row : rows) {
    SCOPED_TRACE(row.format);
    const auto tokenizer = tokenizer_with(row.special);
    const auto format = answer_format_by_name(row.format, {}, *tokenizer);
    ASSERT_TRUE(format.ok());
    EXPECT_EQ(call_begin_token(*format), -1);
    CallGrammarOptions options;
    options.or_text = true;
    auto automaton = make_call_grammar(*format, functions(), options);
    ASSERT_TRUE(automaton.ok()) << automaton.error().message;
    const auto output = bound(std::move(*automaton), *tokenizer);
    for (const std::string& text : row.whole) {
      EXPECT_TRUE(is_whole(output, *tokenizer, text)) << text;
    }
    for (const std::string& text : row.no) {
      EXPECT_FALSE(is_whole(output, *tokenizer, text)) << text;
    }
  }
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
      {"gemma4", {"f", "", false}, {}, nullptr},
      {"gemma4",
       {"f", R"({"properties":{"a":{"type":"array","minItems":1}}})", true},
       {},
       "tools[0].function.parameters#/properties/a/minItems: is not supported for calls in this "
       "model's format"},
      {"lfm2", {"f", R"({"properties":{"a":{"$ref":"#"}}})", false}, {}, nullptr},
      {"lfm2",
       {"f", R"({"properties":{"a b":{}},"required":["a b"]})", true},
       {},
       "tools[0].function.parameters#/properties/a b: is not supported as a name for calls in this "
       "model's format"},
      {"none", {"f", "", false}, {}, "calls in this model's format (none) cannot be forced"},
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
