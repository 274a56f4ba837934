#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/request_properties.h"
#include "server/openai_request.h"

namespace floe {
namespace {

const RequestContext kContext{
    .n_vocab = 300, .default_sampling = {}, .default_max_tokens = UINT32_MAX};

Json chat_body() {
  return Json::parse(R"({"messages":[{"role":"user","content":"hi"}]})");
}
Json text_body() {
  return Json::parse(R"({"prompt":"hi"})");
}

ApiResult<GenerationRequest> parse(bool chat, const Json& body) {
  return chat ? parse_chat_request(body, kContext) : parse_completion_request(body, kContext);
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
      if (!(chat ? field.chat : field.completions)) {
        // Not a field here: ignored, whatever it holds.
        Json body = chat ? chat_body() : text_body();
        body[name] = "nonsense";
        if (name != "logprobs") {
          EXPECT_TRUE(parse(chat, body).ok()) << name;
        }
        continue;
      }
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
      // Zero means nothing to n_predict.
      const bool hole_at_zero = name == "n_predict";
      // More top_logprobs than none needs logprobs as well.
      const bool needs_more = name == "top_logprobs";
      expect(integer ? Json(static_cast<int64_t>(field.min)) : Json(field.min), true);
      if (!needs_more)
        expect(integer ? Json(static_cast<int64_t>(field.max)) : Json(field.max), true);
      expect(integer ? Json(static_cast<int64_t>(field.min) - 1) : Json(field.min - 0.001), false);
      // Beyond 2^53 the next number is not the next integer.
      expect(integer ? Json(static_cast<int64_t>(field.max) + 2) : Json(field.max + 0.1), false);
      if (integer) expect(field.min + 0.5, false);
      if (hole_at_zero) expect(0, false);
      const auto in_range = [&](double v) {
        return v >= field.min && v <= field.max && !(hole_at_zero && v == 0) &&
               !(needs_more && v > 0);
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
  RequestContext context = kContext;
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
  EXPECT_EQ(with(R"({"n_predict":-1})").max_tokens, UINT32_MAX);
  EXPECT_EQ(with(R"({"max_tokens":9007199254740992})").max_tokens, UINT32_MAX);
  EXPECT_EQ(with(R"({"repetition_penalty":1.5})").sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(with(R"({"top_k":-1})").sampling.top_k, 0u);
  EXPECT_FALSE(with(R"({"seed":-1})").seed_given);
  for (const char* off :
       {R"({"reasoning_effort":"none"})", R"({"chat_template_kwargs":{"enable_thinking":false}})",
        R"({"chat_template_kwargs":{"thinking":false}})", R"({"thinking":{"type":"disabled"}})",
        R"({"think":false})"}) {
    EXPECT_EQ(with(off).chat_options.enable_thinking, false) << off;
  }
  for (const char* on :
       {R"({"reasoning_effort":"low"})", R"({"chat_template_kwargs":{"enable_thinking":true}})",
        R"({"thinking":{"type":"enabled","budget_tokens":100}})", R"({"think":true})"}) {
    EXPECT_EQ(with(on).chat_options.enable_thinking, true) << on;
  }
  EXPECT_EQ(with("{}").chat_options.enable_thinking, std::nullopt);
}

TEST(RequestSchema, PromptsInAllTheirForms) {
  const auto prompts = [](const char* json) {
    const auto result = parse_completion_request(Json{{"prompt", Json::parse(json)}}, kContext);
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
  for (const auto& entry : std::filesystem::directory_iterator(std::string(FLOE_REPO_DIR) +
                                                               "/tests/fuzz/corpus/request")) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(check_request_properties(bytes), "") << entry.path();
    ++n_files;
  }
  EXPECT_GT(n_files, 20u);
}

}  // namespace
}  // namespace floe
