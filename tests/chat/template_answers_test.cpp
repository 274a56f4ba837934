// An independent witness of how models write: what their own templates make of an answer in a
// history is what the model's answer looks like, and must read as that answer.
#include <gtest/gtest.h>

#include "base/json.h"
#include "chat/output_parser.h"
#include "template/template.h"
#include "text/small_vocabulary.h"
#include "text/vocab_files.h"

namespace floe {
namespace {

constexpr const char* kToolDefinitions = R"([
  {"type": "function", "function": {"name": "get_weather", "description": "W", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
    "opts": {"type": "object"}, "sure": {"type": "boolean"}}, "required": ["city"]}}},
  {"type": "function", "function": {"name": "now", "description": "N", "parameters": {
    "type": "object", "properties": {}}}}])";
const char* const kWeather =
    R"({"city": "Paris \"x\"\nB ü", "days": 3, "opts": {"a": [1, true, "s"]}, "sure": false})";

struct TemplateRow {
  const char* file;
  const char* format;
  const char* end;  // of the answer, and what follows it is none of it
  const char* reasoning = "hmm";
  const char* content = "Let me see.";
  size_t n_calls = 2;
};

// Templates that do not write the reasoning or the content of an answer with calls leave it out
// here; those of Llama 3 and gpt-oss allow one call, and gpt-oss's thinks what the content says.
const TemplateRow kRows[] = {
    {"Apriel-1.6-15b-Thinker-fixed", "apriel", "\n<|end|>", ""},
    {"ByteDance-Seed-OSS", "seed_oss", "<seed:eos>"},
    {"Cohere2MoE", "command_r", "<|END_OF_TURN_TOKEN|>", "hmm", ""},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "command_r", "<|END_OF_TURN_TOKEN|>", "hmm",
     ""},
    {"GLM-4.6", "glm45", "<|observation|>"},
    {"GigaChat3.1-10B-A1.8B", "gigachat", "<|message_sep|>", "", "Let me see.", 1},
    {"Kimi-K2-Instruct", "kimi_k2", "<|im_end|>", ""},
    {"Kimi-K2-Thinking", "kimi_k2", "<|im_end|>"},
    {"LFM2.5-8B-A1B", "lfm2", "<|im_end|>", ""},
    {"MiMo-VL", "hermes", "<|im_end|>", ""},
    {"MiniMax-M1", "minimax_m1", "<end_of_sentence>", "", ""},
    {"Mistral-Small-3.2-24B-Instruct-2506", "mistral", "</s>", "", ""},
    {"NVIDIA-Nemotron-Nano-v2", "nemotron", "\n<SPECIAL_12>", ""},
    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "hermes", "<|im_end|>", "", ""},
    {"Qwen-QwQ-32B", "hermes", "<|im_end|>", ""},
    {"Qwen-Qwen2.5-7B-Instruct", "hermes", "<|im_end|>", ""},
    {"Qwen3-Coder", "qwen3_coder", "<|im_end|>", ""},
    {"Qwen3.5-4B", "qwen3_coder", "<|im_end|>"},
    {"Spark2.5", "glm45", "<｜end▁of▁sentence｜>"},
    {"StepFun3.5-Flash", "qwen3_coder", "<|im_end|>"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek_v3", "<｜end▁of▁sentence｜>", "", ""},
    {"deepseek-ai-DeepSeek-V3.1", "deepseek_v31", "<｜end▁of▁sentence｜>", ""},
    {"deepseek-ai-DeepSeek-V4", "deepseek_v4", "<｜end▁of▁sentence｜>"},
    {"deepseek-ai-DeepSeek-V4-Flash-0731", "deepseek_v4", "<｜end▁of▁sentence｜>"},
    {"google-gemma-4-31B-it-interleaved", "gemma4", "<turn|>"},
    {"ibm-granite-granite-4.0", "hermes", "<|end_of_text|>", ""},
    {"inclusionai-ling-3.0-flash", "glm45", "<|role_end|>"},
    {"meetkai-functionary-medium-v3.1", "functionary_v31", "<|eom_id|>", ""},
    {"meta-llama-Llama-3.2-3B-Instruct", "llama3_json", "<|eot_id|>", "", "", 1},
    {"meta-llama-Llama-3.3-70B-Instruct", "llama3_json", "<|eot_id|>", "", "", 1},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral", "</s>", ""},
    {"mistralai-Mistral-Nemo-Instruct-2407", "mistral_json", "</s>", "", ""},
    {"openai-gpt-oss-120b", "openai", "<|start|>functions", "Let me see.", "", 1},
    {"poolside-Laguna-S-2.1", "glm45", "</assistant>"},
    {"poolside-Laguna-XS-2.1", "glm45", "\n</assistant>"},
    {"tencent-Hy3", "hy3", "<｜hy_eos:opensource｜>"},
    {"unsloth-Apriel-1.5", "apriel", "\n<|end|>", ""},
};

Json conversation(size_t n_calls, bool as_text) {
  Json answer = {{"role", "assistant"},
                 {"content", "Let me see."},
                 {"reasoning_content", "hmm"},
                 {"tool_calls", Json::array()}};
  const std::pair<const char*, const char*> calls[] = {{"get_weather", kWeather}, {"now", "{}"}};
  for (size_t i = 0; i < n_calls; ++i) {
    const auto& [name, text] = calls[i];
    const Json arguments = Json::parse(text);
    answer["tool_calls"].push_back(
        {{"id", "abcdefgh" + std::to_string(i)},
         {"type", "function"},
         {"function",
          {{"name", name}, {"arguments", as_text ? Json(python_json(arguments)) : arguments}}}});
  }
  Json messages = Json::array({{{"role", "user"}, {"content", "q"}}, answer});
  for (const Json& call : answer["tool_calls"]) {
    messages.push_back({{"role", "tool"},
                        {"tool_call_id", call["id"]},
                        {"name", call["function"]["name"]},
                        {"content", "R"}});
  }
  return messages;
}

Result<std::string> rendered(const jinja::Template& made, const Json& messages, bool opens_answer) {
  const Json variables = {{"messages", messages},
                          {"tools", Json::parse(kToolDefinitions)},
                          {"add_generation_prompt", opens_answer},
                          {"enable_thinking", true},
                          {"thinking", true},
                          {"reasoning_effort", "high"}};
  const Json constants = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  jinja::TemplateInput input;
  input.variables = &variables;
  input.constants = &constants;
  FLOE_TRY(const auto text, made.render(input));
  return std::string(text.bytes());
}

TEST(TemplateAnswers, ReadAsWhatTheTemplateWasGiven) {
  const std::string folder = testing::shared_dir();
  if (folder.empty()) GTEST_SKIP() << "no public templates beside the checkout";
  const auto tokenizer = std::move(Tokenizer::build(testing::small_byte_vocabulary({}))).value();
  const ChatTools tools = make_chat_tools(Json::parse(kToolDefinitions)).value();
  for (const TemplateRow& row : kRows) {
    SCOPED_TRACE(row.file);
    const std::string source = testing::read_file(folder + "/templates/" + row.file + ".jinja");
    const AnswerFormat format = detect_answer_format(source, *tokenizer);
    EXPECT_EQ(format.name, row.format);
    const auto made = jinja::Template::parse(source);
    ASSERT_TRUE(made.ok()) << made.error().message;
    const Json question = Json::array({{{"role", "user"}, {"content", "q"}}});
    auto prompt = rendered(*made, question, true);
    ASSERT_TRUE(prompt.ok()) << prompt.error().message;
    auto history = rendered(*made, conversation(row.n_calls, false), false);
    if (!history.ok()) history = rendered(*made, conversation(row.n_calls, true), false);
    ASSERT_TRUE(history.ok()) << history.error().message;
    // The answer is what the history has behind the prompt. Where the prompt opened reasoning that
    // the history leaves out, it is what both do not share.
    size_t n_shared = 0;
    while (n_shared < std::min(prompt->size(), history->size()) &&
           (*prompt)[n_shared] == (*history)[n_shared]) {
      ++n_shared;
    }
    // Different markers begin alike.
    if (n_shared < prompt->size() && history->at(n_shared - 1) == '<') --n_shared;
    std::string answer = history->substr(n_shared);
    answer.resize(std::min(answer.find(row.end), answer.size()));
    OutputParser::Options options;
    options.format = format;
    options.tools = tools;
    options.starts_in_reasoning =
        n_shared == prompt->size() &&
        prompt_opens_reasoning(format, *tokenizer, tokenizer->encode(*prompt, false, false));
    OutputParser parser(options);
    OutputDelta all;
    parser.push_text(answer, all);
    parser.finish(false, all);
    EXPECT_EQ(all.reasoning_content, row.reasoning) << answer;
    EXPECT_EQ(all.content, row.content) << answer;
    ASSERT_EQ(parser.n_tool_calls(), row.n_calls) << answer;
    EXPECT_EQ(parser.n_complete_tool_calls(), row.n_calls) << answer;
    ASSERT_EQ(all.tool_calls.size(), row.n_calls);
    EXPECT_EQ(all.tool_calls[0].name, "get_weather");
    const auto arguments = parse_json(all.tool_calls[0].arguments);
    ASSERT_TRUE(arguments.ok()) << all.tool_calls[0].arguments;
    Json expected = Json::parse(kWeather);
    // Some templates sort the keys.
    EXPECT_EQ(nlohmann::json(*arguments), nlohmann::json(expected)) << answer;
    if (row.n_calls == 1) continue;
    EXPECT_EQ(all.tool_calls[1].name, "now");
    EXPECT_EQ(all.tool_calls[1].arguments, "{}");
  }
}

// Templates whose calls are written in none of the known ways.
TEST(TemplateAnswers, UnknownOnesHaveNoCalls) {
  const std::string folder = testing::shared_dir();
  if (folder.empty()) GTEST_SKIP() << "no public templates beside the checkout";
  const auto tokenizer = std::move(Tokenizer::build(testing::small_byte_vocabulary({}))).value();
  for (const char* file :
       {"Apertus-8B-Instruct", "GigaChat3-10B-A1.8B", "LFM2-8B-A1B", "MiniMax-M3",
        "google-gemma-2-2b-it", "ibm-granite-granite-3.3-2B-Instruct",
        "meetkai-functionary-medium-v3.2", "muse-glimmer", "upstage-Solar-Open-100B"}) {
    const std::string source = testing::read_file(folder + "/templates/" + file + ".jinja");
    ASSERT_FALSE(source.empty()) << file;
    EXPECT_EQ(detect_answer_format(source, *tokenizer).name, "none") << file;
  }
}

}  // namespace
}  // namespace floe
