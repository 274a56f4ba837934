// What rendering small conversations tells of a template, for the public ones and for those that
// are no good.
#include "chat/template_probe.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "chat/chat_template.h"
#include "text/small_vocabulary.h"
#include "text/vocab_files.h"

namespace floe {
namespace {

std::unique_ptr<const Tokenizer> probe_tokenizer() {
  std::vector<std::pair<std::string, TokenType>> specials;
  for (const char* text : {"<|im_start|>", "<|im_end|>", "<think>", "</think>", "[gMASK]", "<sop>",
                           "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"}) {
    specials.emplace_back(text, TokenType::control);
  }
  auto made = Tokenizer::build(testing::small_byte_vocabulary(specials));
  EXPECT_TRUE(made.ok());
  return std::move(made).value();
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : "; ") + text;
  return all;
}

constexpr const char* kDropped = "reasoning of earlier turns is left out";
constexpr const char* kDate = "the date is part of the prompt";

TEST(TemplateProbe, TellsWhatReleasedTemplatesTake) {
  const std::string folder = testing::shared_dir();
  if (folder.empty()) GTEST_SKIP() << "no public templates beside the checkout";
  struct Row {
    const char* file;
    bool objects;
    bool null_content;
    bool nine;
    bool tools;
    bool system;
    bool thinks;
    bool can_switch;
    const char* reasoning_field;
    std::string breaks;
  };
  const std::string tool_turn = "a turn with tool calls is written otherwise when more follows";
  const Row rows[] = {
      {"Qwen-Qwen2.5-7B-Instruct", true, true, false, true, true, false, false, "reasoning_content",
       ""},
      {"Qwen3.5-4B", true, true, false, true, true, true, true, "reasoning_content",
       "an answer without reasoning is written otherwise than its prompt began; " +
           std::string(kDropped)},
      {"GLM-4.6", true, false, false, true, true, true, true, "reasoning_content", kDropped},
      {"Kimi-K2-Thinking", false, true, false, true, true, true, false, "reasoning_content",
       kDropped},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", true, true, false, false, true, false, true,
       "reasoning_content",
       "an answer without reasoning is written otherwise than its prompt began"},
      {"deepseek-ai-DeepSeek-V3.1", true, true, false, false, true, false, true,
       "reasoning_content", ""},
      {"openai-gpt-oss-120b", true, false, false, true, true, true, false, "thinking",
       std::string(kDropped) + "; " + kDate},
      {"mistralai-Mistral-Nemo-Instruct-2407", true, true, true, true, true, false, false,
       "reasoning_content", tool_turn},
      {"meta-llama-Llama-3.2-3B-Instruct", true, true, false, true, true, false, false,
       "reasoning_content", kDate},
      {"google-gemma-2-2b-it", true, false, false, false, false, false, false, "reasoning_content",
       ""},
      {"upstage-Solar-Open-100B", false, true, false, true, true, true, false, "reasoning",
       std::string(kDropped) + "; " + kDate},
      {"ByteDance-Seed-OSS", true, true, false, true, true, true, false, "reasoning_content", ""},
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", false, true, false, true, true, false,
       false, "reasoning_content", tool_turn},
  };
  const auto tokenizer = probe_tokenizer();
  for (const Row& row : rows) {
    ChatTemplateSource source;
    source.name = row.file;
    source.text = testing::read_file(folder + "/templates/" + row.file + ".jinja");
    const auto made = ChatTemplate::create(source, *tokenizer);
    ASSERT_TRUE(made.ok()) << made.error().message;
    const TemplateTraits& traits = made->traits();
    EXPECT_EQ(traits.shapes.arguments_as_objects, row.objects) << row.file;
    EXPECT_EQ(traits.shapes.null_content, row.null_content) << row.file;
    EXPECT_EQ(traits.shapes.ids_of_nine, row.nine) << row.file;
    EXPECT_EQ(traits.supports_tools, row.tools) << row.file;
    EXPECT_EQ(traits.supports_system, row.system) << row.file;
    EXPECT_EQ(traits.thinks_by_default, row.thinks) << row.file;
    EXPECT_EQ(traits.can_switch_thinking, row.can_switch) << row.file;
    EXPECT_EQ(traits.shapes.reasoning_field, row.reasoning_field) << row.file;
    EXPECT_EQ(joined(traits.prefix_breaks), row.breaks) << row.file;
  }
}

// A template may be anything. Probing ends all the same, and the fault is told.
TEST(TemplateProbe, SurvivesEveryTemplate) {
  const struct {
    const char* text;
    const char* fault;  // a part of it; empty: none
  } rows[] = {
      {"", ""},
      {"always the same", ""},
      {"{{ raise_exception('not today') }}", "not today"},
      {"{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
       "stopped after"},
      {"{% set ns = namespace(t='xxxxxxxx') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t "
       "%}{% endfor %}",
       "stopped after"},
      {"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", ""},
      {"{{ messages[17].content }}", "line 1"},
      {"{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}",
       ""},
  };
  for (const auto& row : rows) {
    const auto program = jinja::Template::parse(row.text);
    ASSERT_TRUE(program.ok()) << row.text << program.error().message;
    const TemplateTraits traits = probe_template(*program, row.text, Json::object(), "<think>");
    if (*row.fault != 0) {
      EXPECT_NE(traits.fault.find(row.fault), std::string::npos)
          << row.text << ": " << traits.fault;
    }
  }
}

TEST(TemplateProbe, FindsTemplatesThatTakePartsOnly) {
  const char* text =
      "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}";
  const auto program = jinja::Template::parse(text);
  ASSERT_TRUE(program.ok());
  EXPECT_TRUE(probe_template(*program, text, Json::object(), "").shapes.content_as_parts);
}

}  // namespace
}  // namespace floe
