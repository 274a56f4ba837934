#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/json.h"
#include "fuzz/request_properties.h"
#include "repo_path.h"
#include "server/openai_request.h"
#include "server/openai_sampling.h"

namespace floe {
namespace {

const RequestContext kDefaultContext{
    .n_vocab = 300, .default_sampling = {}, .default_max_tokens = UINT32_MAX};

Json chat_body() {
  return Json::parse(R"({"messages":[{"role":"user","content":"hi"}]})");
}
Json text_body() {
  return Json::parse(R"({"prompt":"hi"})");
}

ApiResult<GenerationRequest> parse(bool chat, const Json& body) {
  return chat ? parse_chat_request(body, kDefaultContext)
              : parse_completion_request(body, kDefaultContext);
}

bool accepted(bool chat, const std::string& name, const Json& value) {
  Json body = chat ? chat_body() : text_body();
  body[name] = value;
  const auto result = parse(chat, body);
  if (!result.ok()) {
    EXPECT_EQ(result.error().status, 400);
    EXPECT_EQ(result.error().param, name);
    EXPECT_NE(result.error().message.find(name), std::string::npos) << result.error().message;
  }
  return result.ok();
}

// H14: generated from the table, so that a new field is covered by being there.
TEST(RequestSchema, EveryFieldAtItsBounds) {
  size_t n_checks = 0;
  for (const RequestField& field : request_fields()) {
    const std::string name(field.name);
    for (const bool chat : {true, false}) {
      if (!(chat ? field.chat : field.completions)) continue;
      const auto expect = [&](const Json& value, bool fine) {
        EXPECT_EQ(accepted(chat, name, value), fine) << name << " = " << value.dump();
        ++n_checks;
      };
      expect(nullptr, true);
      expect("1", false);
      expect(Json::array(), false);
      expect(Json::array({1}), false);
      expect(Json::object(), false);
      if (field.type == RequestField::Type::boolean) {
        expect(true, true);
        expect(false, true);
        for (const Json& value : {Json(0), Json(1), Json(1.5), Json(-1)}) expect(value, false);
        continue;
      }
      expect(true, false);
      const bool integer = field.type == RequestField::Type::integer;
      // More top_logprobs than none needs logprobs as well.
      const bool needs_more = name == "top_logprobs";
      expect(integer ? Json(static_cast<int64_t>(field.min)) : Json(field.min), true);
      if (!needs_more)
        expect(integer ? Json(static_cast<int64_t>(field.max)) : Json(field.max), true);
      expect(integer ? Json(static_cast<int64_t>(field.min) - 1) : Json(field.min - 0.001), false);
      // Beyond 2^53 the next number is not the next integer.
      expect(integer ? Json(static_cast<int64_t>(field.max) + 2) : Json(field.max + 0.1), false);
      if (integer) expect(field.min + 0.5, false);
      const auto in_range = [&](double v) {
        return v >= field.min && v <= field.max && !(needs_more && v > 0);
      };
      for (const double huge : {2147483648.0, -2147483648.0, 9.3e18, -9.3e18, 1e308, -1e308}) {
        expect(huge, in_range(huge));
      }
      for (const Json& huge :
           {Json(INT64_MAX), Json(INT64_MIN), Json(UINT64_MAX), Json(INT32_MIN), Json(INT32_MAX)}) {
        expect(huge, in_range(huge.get<double>()));
      }
    }
  }
  EXPECT_GT(n_checks, 500u);
}

// H14: all pairs of boundary values: no combination of values that are fine alone is refused or
// crashes.
TEST(RequestSchema, PairsOfBounds) {
  size_t n_pairs = 0;
  for (const RequestField& a : request_fields()) {
    for (const RequestField& b : request_fields()) {
      if (!a.completions || !b.completions || a.name >= b.name) continue;
      for (const double x : {a.min, a.max}) {
        for (const double y : {b.min, b.max}) {
          Json body = text_body();
          const auto put = [&](const RequestField& f, double v) {
            if (f.type == RequestField::Type::boolean) {
              body[std::string(f.name)] = v != 0;
            } else if (f.type == RequestField::Type::integer) {
              body[std::string(f.name)] = static_cast<int64_t>(v);
            } else {
              body[std::string(f.name)] = v;
            }
          };
          put(a, x);
          put(b, y);
          const auto result = parse(false, body);
          EXPECT_TRUE(result.ok()) << body.dump();
          ++n_pairs;
        }
      }
    }
  }
  EXPECT_GT(n_pairs, 400u);
}

TEST(RequestSchema, StoresWhatItReads) {
  Json body = chat_body();
  body.update(
      Json::parse(R"({"n":3,"max_tokens":7,"temperature":0.5,"top_p":0.25,"min_p":0.125,"top_k":9,
    "frequency_penalty":-1.5,"presence_penalty":1.25,"repeat_penalty":1.5,"repeat_last_n":12,"seed":-5,
    "logprobs":true,"top_logprobs":4,"stop":["a","b"],"logit_bias":{"7":-2.5},"stream":true,
    "stream_options":{"include_usage":true},"ignore_eos":true,"timings_per_token":true,
    "parallel_tool_calls":false,"model":"m"})"));
  const auto result = parse(true, body);
  ASSERT_TRUE(result.ok()) << result.error().message;
  const GenerationRequest& r = result.value();
  EXPECT_EQ(r.n, 3u);
  EXPECT_EQ(r.max_tokens, 7u);
  EXPECT_EQ(r.sampling.temperature, 0.5f);
  EXPECT_EQ(r.sampling.top_p, 0.25f);
  EXPECT_EQ(r.sampling.min_p, 0.125f);
  EXPECT_EQ(r.sampling.top_k, 9u);
  EXPECT_EQ(r.sampling.frequency_penalty, -1.5f);
  EXPECT_EQ(r.sampling.presence_penalty, 1.25f);
  EXPECT_EQ(r.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(r.sampling.repeat_last_n, 12);
  EXPECT_EQ(r.sampling.seed, static_cast<uint64_t>(-5));
  EXPECT_TRUE(r.seed_given);
  EXPECT_TRUE(r.sampling.logprobs);
  EXPECT_EQ(r.sampling.top_logprobs, 4u);
  EXPECT_EQ(r.stop, (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(r.sampling.logit_bias.size(), 1u);
  EXPECT_EQ(r.sampling.logit_bias[0], (std::pair<int32_t, float>{7, -2.5f}));
  EXPECT_TRUE(r.stream);
  EXPECT_TRUE(r.include_usage);
  EXPECT_TRUE(r.ignore_eos);
  EXPECT_TRUE(r.timings_per_token);
  EXPECT_FALSE(r.parallel_tool_calls);
  EXPECT_EQ(r.model, "m");
}

TEST(RequestSchema, DefaultsComeFromTheServer) {
  RequestContext context = kDefaultContext;
  context.default_sampling.temperature = 0.25f;
  context.default_sampling.top_k = 11;
  context.default_max_tokens = 99;
  Json body = text_body();
  body["top_k"] = 3;
  const auto result = parse_completion_request(body, context);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.value().sampling.temperature, 0.25f);
  EXPECT_EQ(result.value().sampling.top_k, 3u);
  EXPECT_EQ(result.value().max_tokens, 99u);
  EXPECT_FALSE(result.value().seed_given);
}

TEST(RequestSchema, Aliases) {
  const auto with = [](const char* json) {
    Json body = chat_body();
    body.update(Json::parse(json));
    const auto result = parse(true, body);
    EXPECT_TRUE(result.ok()) << json << ": " << (result.ok() ? "" : result.error().message);
    return result.value();
  };
  EXPECT_EQ(with(R"({"max_completion_tokens":5})").max_tokens, 5u);
  EXPECT_EQ(with(R"({"n_predict":5})").max_tokens, 5u);
  EXPECT_EQ(with(R"({"max_new_tokens":5})").max_tokens, 5u);
  EXPECT_EQ(with(R"({"num_predict":5})").max_tokens, 5u);
  EXPECT_EQ(with(R"({"max_output_tokens":5})").max_tokens, 5u);
  EXPECT_EQ(with(R"({"max_tokens":0})").max_tokens, 0u);
  EXPECT_EQ(with(R"({"n_cmpl":3})").n, 3u);
  EXPECT_EQ(with(R"({"max_tokens":9007199254740992})").max_tokens, UINT32_MAX);
  EXPECT_EQ(with(R"({"repetition_penalty":1.5})").sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(with(R"({"top_k":-1})").sampling.top_k, 0u);
  EXPECT_FALSE(with(R"({"seed":-1})").seed_given);
  for (const char* off :
       {R"({"reasoning_effort":"none"})", R"({"chat_template_kwargs":{"enable_thinking":false}})",
        R"({"chat_template_kwargs":{"thinking":false}})", R"({"thinking":{"type":"disabled"}})",
        R"({"think":false})", R"({"think":"none"})", R"({"enable_thinking":false})",
        R"({"thinking":false})", R"({"reasoning":{"effort":"none"}})",
        R"({"reasoning":{"enabled":false}})",
        R"({"chat_template_kwargs":{"reasoning_effort":"none"}})"}) {
    EXPECT_EQ(with(off).chat_options.enable_thinking, false) << off;
  }
  for (const char* on :
       {R"({"reasoning_effort":"low"})", R"({"chat_template_kwargs":{"enable_thinking":true}})",
        R"({"thinking":{"type":"enabled"}})", R"({"thinking":{"type":"enabled","x":null}})",
        R"({"think":true})", R"({"think":"high"})", R"({"enable_thinking":true})",
        R"({"reasoning":{"effort":"high"}})"}) {
    EXPECT_EQ(with(on).chat_options.enable_thinking, true) << on;
  }
  EXPECT_EQ(with("{}").chat_options.enable_thinking, std::nullopt);
  EXPECT_EQ(with("{}").chat_options.template_kwargs, nullptr);
  // Variables of the template pass through; what asks for nothing does not.
  EXPECT_EQ(*with(R"({"chat_template_kwargs":{"preserve_thinking":true,"x":[1],"y":null}})")
                 .chat_options.template_kwargs,
            Json::parse(R"({"preserve_thinking":true,"x":[1]})"));
  for (const char* refused :
       {R"([])", R"({"messages":[]})", R"({"tools":[]})", R"({"add_generation_prompt":false})",
        R"({"bos_token":"x"})", R"({"enable_thinking":"no"})", R"({"clear_thinking":1})",
        R"({"reasoning_effort":3})"}) {
    Json body = chat_body();
    body["chat_template_kwargs"] = Json::parse(refused);
    const auto result = parse(true, body);
    ASSERT_FALSE(result.ok()) << refused;
    EXPECT_EQ(result.error().param, "chat_template_kwargs") << refused;
  }
  EXPECT_EQ(with(R"({"reasoning_effort":"low"})").chat_options.reasoning_effort, "low");
  EXPECT_EQ(with(R"({"reasoning_effort":"none"})").chat_options.reasoning_effort, "");
}

// Everything that the rest of the server reads of a request.
Json summary(const GenerationRequest& r) {
  const SamplingParams& s = r.sampling;
  Json messages = Json::array();
  for (const ChatMessage& message : r.messages) {
    messages.push_back({message.role, message.content, message.tool_calls.size()});
  }
  Json tools = Json::array();
  if (r.chat_options.tools != nullptr) {
    for (const ChatTool& tool : *r.chat_options.tools) tools.push_back(*tool.definition);
  }
  return {{"model", r.model},
          {"messages", messages},
          {"prompts", r.prompts.size()},
          {"tools", tools},
          {"thinking",
           r.chat_options.enable_thinking ? Json(*r.chat_options.enable_thinking) : Json(nullptr)},
          {"effort", r.chat_options.reasoning_effort},
          {"kwargs", r.chat_options.template_kwargs ? *r.chat_options.template_kwargs : Json()},
          {"generation", r.chat_options.add_generation_prompt},
          {"continued", r.chat_options.continue_final_message},
          {"echo", r.echo},
          {"special", r.add_special_tokens},
          {"temperature", s.temperature},
          {"top", {s.top_k, s.top_p, s.min_p}},
          {"penalties",
           {s.repetition_penalty, s.frequency_penalty, s.presence_penalty, s.repeat_last_n}},
          {"bias", s.logit_bias},
          {"logprobs", {s.logprobs, s.top_logprobs}},
          {"prompt_logprobs", r.prompt_logprobs ? Json(*r.prompt_logprobs) : Json(nullptr)},
          {"seed", {r.seed_given, s.seed}},
          {"max_tokens", {r.max_tokens, s.min_tokens}},
          {"n", r.n},
          {"prediction", r.prediction},
          {"drafts", r.max_draft_tokens},
          {"stop", {r.stop, r.stop_token_ids, r.bad_words, r.ignore_eos}},
          {"stream", {r.stream, r.include_usage, r.timings_per_token, r.parallel_tool_calls}}};
}

// One row a field: values that ask for nothing give the request that the field's absence gives.
TEST(RequestSchema, ValuesThatAskForNothing) {
  struct Case {
    const char* name;
    std::vector<const char*> values;
    bool chat = true;
    bool completions = true;
  };
  const Case cases[] = {
      {"model", {R"("")"}},
      {"n", {"1", "1.0"}},
      {"n_cmpl", {"1"}},
      {"best_of", {"1", "1.0"}},
      {"max_tokens", {"-1", "-1.0"}},
      {"max_completion_tokens", {"-1"}},
      {"max_output_tokens", {"-1"}},
      {"max_new_tokens", {"-1"}},
      {"n_predict", {"-1"}},
      {"num_predict", {"-1"}},
      {"min_tokens", {"0", "0.0"}},
      {"temperature", {"1", "1.0"}},
      {"top_p", {"1", "1.0"}},
      {"top_k", {"0", "-1", "0.0"}},
      {"min_p", {"0", "0.0"}},
      {"frequency_penalty", {"0"}},
      {"presence_penalty", {"0"}},
      {"repeat_penalty", {"1"}},
      {"repetition_penalty", {"1"}},
      {"seed", {"-1", "-1.0"}},
      {"stop", {R"("")", "[]", R"([""])", "[null]"}},
      {"stop_token_ids", {"[]"}},
      {"bad_words", {"[]", R"("")", R"([""])"}},
      {"logit_bias", {"{}", "[]"}},
      {"logprobs", {"false"}},
      {"logprobs", {"0"}, true, false},
      {"top_logprobs", {"0"}},
      {"prompt_logprobs", {"false"}},
      {"stream", {"false"}},
      {"stream_options",
       {"{}", R"({"include_usage":false})", R"({"include_usage":null})",
        R"({"continuous_usage_stats":false})", R"({"include_obfuscation":false})"}},
      {"echo", {"false"}},
      {"suffix", {R"("")"}},
      {"ignore_eos", {"false"}},
      {"add_special_tokens", {"true"}, false, true},
      {"add_special_tokens", {"false"}, true, false},
      {"timings_per_token", {"false"}},
      {"speculative.n_max", {"-1", "32", "1000"}},
      {"prediction", {R"({"type":"content","content":""})", R"({"type":"content","content":[]})"}},
      {"response_format", {"{}", R"({"type":"text"})"}},
      {"tools", {"[]"}},
      {"tool_choice",
       {R"("auto")", R"("none")", R"({"type":"auto"})", R"({"type":"none"})"},
       true,
       false},
      {"tool_choice", {R"("auto")", R"("none")"}, false, true},
      {"parallel_tool_calls", {"true"}},
      {"add_generation_prompt", {"true"}},
      {"continue_final_message", {"false"}},
      {"reasoning_effort", {R"("")", R"("auto")", R"("default")"}},
      {"reasoning", {"{}"}},
      {"reasoning", {R"({"effort":null})", R"({"exclude":false})"}, true, false},
      {"thinking", {"{}"}},
      {"thinking", {R"({"type":"auto"})"}, true, false},
      {"chat_template_kwargs", {"{}"}},
      {"chat_template_kwargs", {R"({"enable_thinking":null})", R"({"x":null})"}, true, false},
      {"functions", {"[]"}, true, false},
      {"function_call", {R"("none")", R"("auto")"}, true, false},
      {"modalities", {R"(["text"])", "[]"}, true, false},
      {"verbosity", {R"("medium")"}, true, false},
      {"reasoning_format", {R"("auto")", R"("deepseek")"}, true, false},
      {"truncation", {R"("disabled")"}},
      {"typical_p", {"1", "1.0"}},
      {"mirostat", {"0"}},
      {"top_n_sigma", {"-1", "0"}},
      {"thinking_token_budget", {"-1"}},
      {"skip_special_tokens", {"true"}},
      {"structured_outputs", {"{}"}},
      {"guided_choice", {"[]"}},
      {"grammar", {R"("")"}},
  };
  for (const Case& c : cases) {
    for (const bool chat : {true, false}) {
      if (!(chat ? c.chat : c.completions)) continue;
      const Json base = chat ? chat_body() : text_body();
      const Json absent = summary(parse(chat, base).value());
      std::vector<const char*> values = c.values;
      values.push_back("null");
      for (const char* value : values) {
        Json body = base;
        body[c.name] = Json::parse(value);
        const auto result = parse(chat, body);
        ASSERT_TRUE(result.ok()) << c.name << " = " << value << ": " << result.error().message;
        EXPECT_EQ(summary(result.value()), absent) << c.name << " = " << value;
      }
    }
  }
  // An absent value of one field does not undo another.
  Json body = text_body();
  body.update(Json::parse(R"({"max_tokens":5,"n_predict":-1,"max_completion_tokens":null})"));
  EXPECT_EQ(parse(false, body).value().max_tokens, 5u);
  // Nor the server's own default.
  RequestContext context = kDefaultContext;
  context.default_max_tokens = 99;
  body = text_body();
  body["n_predict"] = -1;
  EXPECT_EQ(parse_completion_request(body, context).value().max_tokens, 99u);
}

TEST(RequestSchema, SeedsAreIntegersHoweverWritten) {
  for (const auto& [text, seed] :
       std::vector<std::pair<const char*, uint64_t>>{{"1", 1},
                                                     {"1.0", 1},
                                                     {"0", 0},
                                                     {"0.0", 0},
                                                     {"-5", static_cast<uint64_t>(-5)},
                                                     {"-5.0", static_cast<uint64_t>(-5)},
                                                     {"18446744073709551615", UINT64_MAX}}) {
    Json body = text_body();
    body["seed"] = Json::parse(text);
    const auto result = parse(false, body);
    ASSERT_TRUE(result.ok()) << text;
    EXPECT_TRUE(result.value().seed_given) << text;
    EXPECT_EQ(result.value().sampling.seed, seed) << text;
  }
  for (const char* text : {"1.5", "1e300", "\"1\"", "true", "[]"}) {
    EXPECT_FALSE(accepted(false, "seed", Json::parse(text))) << text;
  }
}

TEST(RequestSchema, TokensThatEndAndWordsThatAreBanned) {
  Json body = text_body();
  body.update(Json::parse(
      R"({"stop_token_ids":[1,299,7.0],"bad_words":["a","b c"],"min_tokens":3,"max_new_tokens":9,
          "prompt_logprobs":4,"add_special_tokens":false})"));
  const auto result = parse(false, body);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result.value().stop_token_ids, (std::vector<int32_t>{1, 299, 7}));
  EXPECT_EQ(result.value().bad_words, (std::vector<std::string>{"a", "b c"}));
  EXPECT_EQ(result.value().sampling.min_tokens, 3u);
  EXPECT_EQ(result.value().max_tokens, 9u);
  EXPECT_EQ(result.value().prompt_logprobs, 4u);
  EXPECT_FALSE(result.value().add_special_tokens);
  for (const char* ids : {"[300]", "[-1]", "[1.5]", R"(["1"])", "1", R"("a")", "{}"}) {
    EXPECT_FALSE(accepted(false, "stop_token_ids", Json::parse(ids))) << ids;
  }
  for (const char* words : {"[1]", "1", "{}", R"(["a",[]])"}) {
    EXPECT_FALSE(accepted(false, "bad_words", Json::parse(words))) << words;
  }
  EXPECT_FALSE(accepted(false, "prompt_logprobs", true));
  EXPECT_FALSE(accepted(false, "prompt_logprobs", -1));
  EXPECT_FALSE(accepted(false, "prompt_logprobs", 21));
  body["min_tokens"] = 10;
  EXPECT_EQ(parse(false, body).error().param, "min_tokens");
}

TEST(RequestSchema, PromptsInAllTheirForms) {
  const auto prompts = [](const char* json) {
    const auto result =
        parse_completion_request(Json{{"prompt", Json::parse(json)}}, kDefaultContext);
    EXPECT_TRUE(result.ok()) << json;
    return result.value().prompts;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(prompts("\"a\""), (std::vector<PromptInput>{std::string("a")}));
  EXPECT_EQ(prompts("[1,2]"), (std::vector<PromptInput>{Ids{1, 2}}));
  EXPECT_EQ(prompts("[\"a\",[3],\"b\"]"),
            (std::vector<PromptInput>{std::string("a"), Ids{3}, std::string("b")}));
  EXPECT_EQ(prompts("[[1],[2,299]]"), (std::vector<PromptInput>{Ids{1}, Ids{2, 299}}));
}

TEST(RequestSchema, PredictionInAllItsForms) {
  for (const bool chat : {true, false}) {
    const auto text = [&](const char* json) {
      Json body = chat ? chat_body() : text_body();
      body["prediction"] = Json::parse(json);
      const auto result = parse(chat, body);
      EXPECT_TRUE(result.ok()) << json;
      return result.ok() ? result.value().prediction : "refused";
    };
    EXPECT_EQ(text("null"), "");
    EXPECT_EQ(text(R"({"type":"content","content":"as <|before|>"})"), "as <|before|>");
    EXPECT_EQ(text(R"({"type":"content","content":""})"), "");
    EXPECT_EQ(text(R"({"type":"content","content":[]})"), "");
    EXPECT_EQ(
        text(
            R"({"type":"content","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]})"),
        "ab");
    for (const char* json :
         {"true", "1", R"("text")", "[]", "{}", R"({"type":"content"})", R"({"content":"a"})",
          R"({"type":"content","content":null})", R"({"type":"content","content":1})",
          R"({"type":"content","content":{"type":"text","text":"a"}})",
          R"({"type":"content","content":["a"]})", R"({"type":"content","content":[null]})",
          R"({"type":"content","content":[{"type":"text"}]})",
          R"({"type":"content","content":[{"text":"a"}]})",
          R"({"type":"content","content":[{"type":"text","text":1}]})",
          R"({"type":"content","content":[{"type":"image_url","text":"a"}]})",
          R"({"type":"text","content":"a"})", R"({"type":1,"content":"a"})"}) {
      EXPECT_FALSE(accepted(chat, "prediction", Json::parse(json))) << json;
    }
  }
}

TEST(RequestSchema, SpeculationIsLimitedPerRequest) {
  const auto limit = [](const char* json) {
    Json body = chat_body();
    body.update(Json::parse(json));
    return parse(true, body).value().max_draft_tokens;
  };
  EXPECT_EQ(limit("{}"), kMaxDraftTokens);
  EXPECT_EQ(limit(R"({"speculative.n_max":0})"), 0u);
  EXPECT_EQ(limit(R"({"speculative.n_max":5})"), 5u);
  EXPECT_EQ(limit(R"({"speculative.n_max":1000})"), kMaxDraftTokens);
}

TEST(RequestSchema, FuzzCorpusHolds) {
  size_t n_files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(repo_path("tests/fuzz/corpus/request"))) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(check_request_properties(bytes), "") << entry.path();
    ++n_files;
  }
  EXPECT_GT(n_files, 20u);
}

}  // namespace
}  // namespace floe
