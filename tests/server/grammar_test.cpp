// Answers bound by response_format, grammar and the guided fields, over HTTP.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "server/openai_request.h"
#include "server/test_server.h"

namespace floe {
namespace {

using namespace floe::testing;

Json chat_body(const Json& extra) {
  Json body = Json::parse(
      R"({"messages":[{"role":"user","content":"hello"}],"max_tokens":300,"enable_thinking":false})");
  body.update(extra);
  return body;
}

Json text_body(const Json& extra) {
  Json body = Json::parse(R"({"prompt":"hello","max_tokens":300})");
  body.update(extra);
  return body;
}

// [field, value]: {"type":"object", ...} of a name and a bounded text, so that a model that says
// anything comes to an end.
const char* const kSchema =
    R"({"type":"object","properties":{"a":{"type":"string","maxLength":5},"b":{"enum":[1,2]}},"required":["a","b"],"additionalProperties":false})";

struct Row {
  const char* name;
  std::string fields;
  const char* form;  // of the answer: "schema", "object", "yes|no", "ab+c"
};

std::vector<Row> rows() {
  const std::string schema = kSchema;
  return {
      {"json_schema",
       R"({"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":)" +
           schema + "}}}",
       "schema"},
      {"llama.cpp's schema",
       R"({"response_format":{"type":"json_object","schema":)" + schema + "}}", "schema"},
      {"json_schema as a field", R"({"json_schema":)" + schema + "}", "schema"},
      {"guided_json", R"({"guided_json":)" + schema + "}", "schema"},
      {"guided_json as text", R"({"guided_json":)" + Json(schema).dump() + "}", "schema"},
      {"structured_outputs", R"({"structured_outputs":{"json":)" + schema + "}}", "schema"},
      {"guided_choice", R"({"guided_choice":["yes","no"]})", "yes|no"},
      {"structured choice", R"({"structured_outputs":{"choice":["yes","no"]}})", "yes|no"},
      {"guided_regex", R"({"guided_regex":"ab{1,3}c"})", "ab+c"},
      {"regex", R"({"regex":"ab{1,3}c"})", "ab+c"},
      {"grammar", R"({"grammar":"root ::= \"a\" \"b\"{1,3} \"c\""})", "ab+c"},
      {"guided_grammar", R"({"guided_grammar":"root ::= \"a\" \"b\"{1,3} \"c\""})", "ab+c"},
      {"two fields that ask for the same", R"({"guided_regex":"ab{1,3}c","regex":"ab{1,3}c"})",
       "ab+c"},
  };
}

void expect_form(const std::string& form, const std::string& answer) {
  if (form == "yes|no") {
    EXPECT_TRUE(answer == "yes" || answer == "no") << answer;
  } else if (form == "ab+c") {
    EXPECT_TRUE(answer == "abc" || answer == "abbc" || answer == "abbbc") << answer;
  } else {
    const Result<Json> json = parse_json(answer);
    ASSERT_TRUE(json.ok()) << answer;
    EXPECT_TRUE((*json)["a"].is_string() && ((*json)["b"] == 1 || (*json)["b"] == 2)) << answer;
  }
}

TEST(BoundAnswers, HaveTheForm) {
  TestServer server;
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.name);
    const Json fields = Json::parse(row.fields);
    for (const double temperature : {0.0, 1.0}) {
      Json chat = chat_body(fields);
      chat["temperature"] = temperature;
      const Response response = server.post("/v1/chat/completions", chat);
      ASSERT_EQ(response.status, 200) << response.body;
      const Json answer = Json::parse(response.body)["choices"][0];
      EXPECT_EQ(answer["finish_reason"], "stop");
      expect_form(row.form, answer["message"]["content"].get<std::string>());
    }
    Json text = text_body(fields);
    text["n"] = 2;
    text["temperature"] = 1.0;
    const Response response = server.post("/v1/completions", text);
    ASSERT_EQ(response.status, 200) << response.body;
    const Json several = Json::parse(response.body);
    for (const Json& choice : several["choices"]) {
      EXPECT_EQ(choice["finish_reason"], "stop");
      expect_form(row.form, choice["text"].get<std::string>());
    }
  }
}

TEST(BoundAnswers, AStreamIsTheSameAndACutOneSaysSo) {
  TestServer server;
  Json body = chat_body(Json::parse(R"({"guided_regex":"[a-z]{40}-end"})"));
  const Json whole = Json::parse(server.post("/v1/chat/completions", body).body)["choices"][0];
  body["stream"] = true;
  std::string streamed;
  for (const std::string& data : sse_data(server.post("/v1/chat/completions", body).body)) {
    if (data == "[DONE]") continue;
    const Json chunk = Json::parse(data);
    const Json& delta = chunk["choices"][0]["delta"];
    if (delta.contains("content") && delta["content"].is_string()) {
      streamed += delta["content"].get<std::string>();
    }
  }
  EXPECT_EQ(streamed, whole["message"]["content"]);
  EXPECT_EQ(streamed.size(), 44u);
  body["stream"] = false;
  body["max_tokens"] = 10;
  const Json cut = Json::parse(server.post("/v1/chat/completions", body).body)["choices"][0];
  EXPECT_EQ(cut["finish_reason"], "length");
  EXPECT_EQ(cut["message"]["content"], streamed.substr(0, 10));
}

// The model may think first; what stands behind it is bound.
TEST(BoundAnswers, BehindTheReasoning) {
  TestServer server;
  const auto tokenizer = make_byte_tokenizer(true);
  const int32_t open = *tokenizer->find_special("<think>");
  const int32_t close = *tokenizer->find_special("</think>");
  Json body = chat_body(Json::parse(R"({"guided_choice":["yes","no"]})"));
  body["enable_thinking"] = true;
  body["temperature"] = 1.0;
  body["seed"] = 3;
  // It opens its reasoning, and closes it soon.
  body["logit_bias"] = {{std::to_string(open), 100}};
  body["max_tokens"] = 1;
  const Json opened = Json::parse(server.post("/v1/chat/completions", body).body);
  ASSERT_TRUE(opened.contains("choices")) << opened;
  EXPECT_EQ(opened["choices"][0]["finish_reason"], "length");
  body["logit_bias"] = {{std::to_string(open), 30}, {std::to_string(close), 31}};
  body["max_tokens"] = 300;
  const Json answer = Json::parse(server.post("/v1/chat/completions", body).body)["choices"][0];
  EXPECT_EQ(answer["finish_reason"], "stop");
  expect_form("yes|no", answer["message"]["content"].get<std::string>());
}

TEST(BoundAnswers, WhatCannotBeDoneIsRefusedSoonAndNamed) {
  TestServer server;
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"type":"array","items":)";
  deep += "true" + std::string(100, '}');
  struct Bad {
    std::string fields;
    const char* param;
    const char* message;
  };
  const std::string format = R"({"response_format":{"type":"json_schema","json_schema":{"schema":)";
  const Bad bad[] = {
      {R"({"response_format":"json"})", "response_format",
       "response_format must be an object with a type"},
      {R"({"response_format":{"type":"xml"}})", "response_format",
       "response_format must have the type text, json_object or json_schema"},
      {R"({"response_format":{"type":"json_schema"}})", "response_format",
       "response_format.json_schema must be an object with a schema"},
      {R"({"response_format":{"type":"json_schema","json_schema":{"schema":1}}})",
       "response_format", "response_format must be a JSON schema"},
      {format + R"({"type":"object","properties":{"a":{"not":{}}}}}}})", "response_format",
       "response_format: #/properties/a/not: the keyword is not supported"},
      {format + R"({"type":"integer","minimum":2,"maximum":1}}}})", "response_format",
       "response_format: #: no text satisfies it"},
      {format + R"({"$ref":"#"}}}})", "response_format",
       "response_format: #: no text satisfies it"},
      {format + R"({"type":"string","pattern":"((a{99}){99}){99}"}}}})", "response_format",
       "response_format: #/pattern: offset 13: needs more than 150000 states"},
      {format + R"({"description":")" + std::string(1'000'000, 'x') + R"("}}}})", "response_format",
       "response_format: 1000018 bytes are over the limit of 262144"},
      {R"({"grammar":"root ::= root"})", "grammar", "grammar: no text satisfies it"},
      {R"({"grammar":"root ::= x"})", "grammar",
       "grammar: line 1, column 11: rule x is not defined"},
      {R"({"grammar":1})", "grammar", "grammar must be a string"},
      {R"x({"guided_regex":"(?=a)"})x", "guided_regex",
       "guided_regex: offset 0: the group (?=... is not supported"},
      {R"({"guided_choice":"yes"})", "guided_choice", "guided_choice must be an array of strings"},
      {R"({"guided_choice":["yes",""]})", "guided_choice",
       "guided_choice: [1]: expected a text of at least one character"},
      {R"({"guided_json_object":1})", "guided_json_object",
       "guided_json_object must be true or false"},
      {R"({"structured_outputs":{"structural_tag":"x"}})", "structured_outputs",
       "structured_outputs may hold json, regex, choice, grammar and json_object"},
      {R"({"guided_regex":"a","guided_choice":["b"]})", "guided_choice",
       "guided_regex and guided_choice ask for different things of one answer"},
  };
  for (const Bad& row : bad) {
    SCOPED_TRACE(row.fields.substr(0, 100));
    const Json fields = Json::parse(row.fields);
    for (const bool is_chat : {true, false}) {
      const Response response = server.post(is_chat ? "/v1/chat/completions" : "/v1/completions",
                                            is_chat ? chat_body(fields) : text_body(fields));
      EXPECT_EQ(response.status, 400);
      EXPECT_EQ(error_object_fault(response), "");
      const Json error = Json::parse(response.body)["error"];
      EXPECT_EQ(error["param"], row.param);
      EXPECT_EQ(error["message"], row.message);
    }
  }
  const Response nested = server.post(
      "/v1/completions", text_body(Json::parse(R"({"max_tokens":1,"json_schema":)" + deep + "}")));
  EXPECT_EQ(nested.status, 200) << nested.body;
}

}  // namespace
}  // namespace floe
