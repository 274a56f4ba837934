// Anthropic's Messages API: what its bodies become, and what its clients read.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "server/anthropic_request.h"
#include "server/anthropic_response.h"
#include "server/openai_request.h"
#include "server/test_server.h"

namespace floe::testing {
namespace {

// One row a body: what it is as the body of a chat.
TEST(AnthropicRequest, BecomesAChat) {
  const struct {
    const char* body;
    const char* chat;
  } rows
      [] =
          {
              {R"({"max_tokens":5,"messages":[{"role":"user","content":"a"}]})",
               R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"max_tokens":5})"},
              {R"({"max_tokens":5,"system":"s","messages":[{"role":"user","content":""}],"min_p":0.1})",
               R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":""}]}],"max_tokens":5,"min_p":0.1})"},
              {R"({"max_tokens":5,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}},{"type":"text","text":"t"}],"messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"user","content":"b"}]})",
               R"({"messages":[{"role":"system","content":[{"type":"text","text":"s"},{"type":"text","text":"t"}]},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"max_tokens":5})"},
              {R"({"max_tokens":5,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"y"},{"type":"redacted_thinking","data":"z"},{"type":"thinking","thinking":"w"},{"type":"text","text":"c"},{"type":"tool_use","id":"1","name":"f","input":{"b":1,"a":[]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"r"},{"type":"tool_result","tool_use_id":"2","is_error":true,"content":[{"type":"text","text":"e"}]},{"type":"tool_result","tool_use_id":"3"},{"type":"tool_result","tool_use_id":"4","is_error":true},{"type":"text","text":"go on"}]}]})",
               R"({"messages":[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":[{"type":"text","text":"c"}],"reasoning_content":"x\nw","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"b":1,"a":[]}}}]},{"role":"tool","tool_call_id":"1","content":"r"},{"role":"tool","tool_call_id":"2","content":[{"type":"text","text":"Error: e"}]},{"role":"tool","tool_call_id":"3","content":""},{"role":"tool","tool_call_id":"4","content":[{"type":"text","text":"Error: "}]},{"role":"user","content":[{"type":"text","text":"go on"}]}],"max_tokens":5})"},
              {R"({"max_tokens":5,"messages":[{"role":"user","content":"a"}],"stop_sequences":["x"],"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"z":{},"y":{}}},"cache_control":{}},{"type":"custom","name":"g"}],"tool_choice":{"type":"any","disable_parallel_tool_use":true}})", R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"z":{},"y":{}}}}},{"type":"function","function":{"name":"g"}}],"tool_choice":"required","parallel_tool_calls":false,"stop":["x"],"max_tokens":5})"},
              {R"({"max_tokens":5,"messages":[{"role":"user","content":"a"}],"tool_choice":{"type":"tool","name":"f"},"output_config":{"effort":"low","format":{"type":"json_schema","schema":{"type":"object"}}}})",
               R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"tool_choice":{"type":"function","function":{"name":"f"}},"reasoning_effort":"low","response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object"}}},"max_tokens":5})"},
          };
  for (const auto& row : rows) {
    const ApiResult<Json> chat = chat_body_of_messages(Json::parse(row.body), false);
    ASSERT_TRUE(chat.ok()) << row.body << chat.error().message;
    EXPECT_EQ(chat.value(), Json::parse(row.chat)) << row.body << "\n" << dump_json(chat.value());
    EXPECT_EQ(dump_json(chat.value()["messages"]), dump_json(Json::parse(row.chat)["messages"]));
  }
}

TEST(AnthropicRequest, FaultsNameTheirField) {
  const struct {
    const char* body;
    const char* param;
  } rows[] = {
      {R"([])", ""},
      {R"({"messages":[{"role":"user","content":"a"}]})", "max_tokens"},
      {R"({"max_tokens":1})", "messages"},
      {R"({"max_tokens":1,"messages":[]})", "messages"},
      {R"({"max_tokens":1,"messages":["a"]})", "messages[0].role"},
      {R"({"max_tokens":1,"messages":[{"role":"system","content":"a"}]})", "messages[0].role"},
      {R"({"max_tokens":1,"messages":[{"role":"user"}]})", "messages[0].content"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":7}]})", "messages[0].content"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":["a"]}]})",
       "messages[0].content[0].type"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{}}]}]})",
       "messages[0].content[0].type"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"text"}]}]})",
       "messages[0].content[0].text"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result"}]}]})",
       "messages[0].content[0].tool_use_id"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"image"}]}]}]})",
       "messages[0].content[0].content[0].type"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","is_error":1}]}]})",
       "messages[0].content[0].is_error"},
      {R"({"max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":"{}"}]}]})",
       "messages[0].content[0].input"},
      {R"({"max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_result"}]}]})",
       "messages[0].content[0].type"},
      {R"({"max_tokens":1,"system":{},"messages":[{"role":"user","content":"a"}]})", "system"},
      {R"({"max_tokens":1,"system":[{"type":"image"}],"messages":[{"role":"user","content":"a"}]})",
       "system[0].type"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":{}})", "tools"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[{"type":"web_search_20250305","name":"w"}]})",
       "tools[0].type"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tools":[{}]})",
       "tools[0].name"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tool_choice":"auto"})",
       "tool_choice.type"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"tool_choice":{"type":"tool"}})",
       "tool_choice.name"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"stop_sequences":"x"})",
       "stop_sequences"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"mcp_servers":[{}]})",
       "mcp_servers"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"n":2})", "n"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"logprobs":true})",
       "logprobs"},
      {R"({"max_tokens":1,"messages":[{"role":"user","content":"a"}],"output_config":{"format":{"type":"text"}}})",
       "output_config.format.type"},
  };
  for (const auto& row : rows) {
    const ApiResult<Json> chat = chat_body_of_messages(Json::parse(row.body), false);
    ASSERT_FALSE(chat.ok()) << row.body;
    EXPECT_EQ(chat.error().status, 400);
    EXPECT_EQ(chat.error().param, row.param) << row.body;
  }
  EXPECT_TRUE(
      chat_body_of_messages(Json::parse(R"({"messages":[{"role":"user","content":"a"}]})"), true)
          .ok());
}

// The data of the events of a stream, each with the name that it came under.
std::vector<Json> events_of(const std::string& frames) {
  std::vector<Json> events;
  for (size_t at = 0; at < frames.size();) {
    const size_t end = frames.find("\n\n", at);
    const std::string frame = frames.substr(at, end - at);
    at = end + 2;
    const size_t line = frame.find("\ndata: ");
    EXPECT_TRUE(frame.starts_with("event: ")) << frame;
    if (line == std::string::npos) continue;
    events.push_back(Json::parse(frame.substr(line + 7)));
    EXPECT_EQ(frame.substr(7, line - 7), events.back()["type"].get<std::string>());
  }
  return events;
}

// What a client makes of the events: the message of the whole answer.
Json message_of(const std::vector<Json>& events) {
  Json message;
  std::string input;
  for (const Json& event : events) {
    const std::string type = event["type"];
    if (type == "message_start") message = event["message"];
    if (type == "content_block_start") {
      EXPECT_EQ(event["index"], message["content"].size());
      message["content"].push_back(event["content_block"]);
      input.clear();
    }
    if (type == "content_block_delta") {
      EXPECT_EQ(event["index"].get<size_t>() + 1, message["content"].size());
      const Json& delta = event["delta"];
      Json& block = message["content"].back();
      for (const char* field : {"text", "thinking"}) {
        if (delta.contains(field)) {
          block[field] = block[field].get<std::string>() + delta[field].get<std::string>();
        }
      }
      if (delta.contains("partial_json")) input += delta["partial_json"].get<std::string>();
    }
    if (type == "content_block_stop" && message["content"].back()["type"] == "tool_use") {
      message["content"].back()["input"] = Json::parse(input);
    }
    if (type == "message_delta") {
      for (const auto& [name, value] : event["delta"].items()) message[name] = value;
      message["usage"] = event["usage"];
    }
  }
  return message;
}

TEST(AnthropicResponse, TheStreamIsTheMessage) {
  AnswerIdentity identity;
  identity.chat = true;
  identity.id = "msg_1";
  identity.model = "m\"";
  AnswerUsage usage;
  usage.prompt_tokens = 10;
  usage.cached_tokens = 4;
  usage.completion_tokens = 7;
  AnswerChoice choice;
  choice.reasoning_content = "th\nink";
  choice.content = "te\"xt";
  choice.tool_calls = {{"id1", "f", "{\"a\": 1}"}, {"id2", "g", "{}"}};
  choice.finish_reason = "tool_calls";
  const auto writer = make_anthropic_writer(identity);
  const Json whole = Json::parse(writer->whole(std::vector{choice}, false, usage, ""));
  EXPECT_EQ(
      dump_json(whole),
      R"({"id":"msg_1","type":"message","role":"assistant","model":"m\"","content":[)"
      R"({"type":"thinking","thinking":"th\nink","signature":""},{"type":"text","text":"te\"xt"},)"
      R"({"type":"tool_use","id":"id1","name":"f","input":{"a":1}},)"
      R"({"type":"tool_use","id":"id2","name":"g","input":{}}],)"
      R"("stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":6,)"
      R"("cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":7}})");

  std::string frames;
  writer->begin(0, usage, frames);
  for (const char* text : {"th", "\nink"}) writer->reasoning(0, text, {}, {}, frames);
  for (const char* text : {"te", "\"xt"}) writer->content(0, text, {}, {}, frames);
  writer->tool_call(0, 0, "id1", "f", {}, {}, frames);
  for (const char* text : {"{\"a\"", ": 1}"}) writer->tool_arguments(0, 0, text, {}, {}, frames);
  writer->tool_call(0, 1, "id2", "g", {}, {}, frames);
  writer->tool_arguments(0, 1, "{}", {}, {}, frames);
  writer->finish(0, "tool_calls", "", {}, {}, frames);
  writer->finish_stream(usage, "", frames);
  const std::vector<Json> events = events_of(frames);
  EXPECT_EQ(message_of(events), whole);
  EXPECT_EQ(events.back()["type"], "message_stop");
}

TEST(AnthropicResponse, WhyItEnded) {
  const struct {
    const char* reason;
    const char* stop_string;
    const char* expected;
  } rows[] = {
      {"stop", "", R"("stop_reason":"end_turn","stop_sequence":null)"},
      {"stop", "X\"", R"("stop_reason":"stop_sequence","stop_sequence":"X\"")"},
      {"length", "", R"("stop_reason":"max_tokens","stop_sequence":null)"},
      {"length", "X", R"("stop_reason":"max_tokens","stop_sequence":null)"},
      {"tool_calls", "", R"("stop_reason":"tool_use","stop_sequence":null)"},
  };
  for (const auto& row : rows) {
    AnswerChoice choice;
    choice.finish_reason = row.reason;
    choice.stop_string = row.stop_string;
    choice.tool_calls = {{"1", "f", "{\"cut"}};
    const std::string whole = make_anthropic_writer({})->whole(std::vector{choice}, false, {}, "");
    EXPECT_NE(whole.find(row.expected), std::string::npos) << whole;
    EXPECT_NE(whole.find(R"("input":{"INVALID_JSON":"{\"cut"})"), std::string::npos) << whole;
  }
}

TEST(AnthropicApi, AnswersLikeAChat) {
  TestServer server;
  const Json body = Json::parse(
      R"({"model":"fake","max_tokens":20,"temperature":0,"system":"s","messages":[{"role":"user","content":"hi"}]})");
  const Json chat = Json::parse(
      R"({"model":"fake","max_tokens":20,"temperature":0,"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}]})");
  const Json expected = server.post("/v1/chat/completions", chat).json()["choices"][0];
  const Json message = server.post("/v1/messages", body).json();
  EXPECT_TRUE(message["id"].get<std::string>().starts_with("msg_"));
  std::string text;
  for (const Json& block : message["content"]) {
    if (block["type"] == "text") text += block["text"];
  }
  EXPECT_EQ(text, expected["message"]["content"]);
  EXPECT_EQ(message["usage"]["output_tokens"], 20);
  Json streamed = body;
  streamed["stream"] = true;
  const Json from_stream = message_of(events_of(server.post("/v1/messages", streamed).body));
  EXPECT_EQ(from_stream["content"], message["content"]);
  EXPECT_EQ(from_stream["stop_reason"], message["stop_reason"]);
  EXPECT_EQ(from_stream["usage"]["output_tokens"], 20);
  const Json counted = server.post("/v1/messages/count_tokens", body).json();
  EXPECT_EQ(counted["input_tokens"],
            message["usage"]["input_tokens"].get<uint64_t>() +
                message["usage"]["cache_read_input_tokens"].get<uint64_t>());
}

TEST(AnthropicApi, ErrorsAreItsOwn) {
  TestServerOptions options;
  options.serve.api_keys = {"secret"};
  TestServer server(options);
  const auto post = [&](const std::string& body, const char* key) {
    return server.request(
        "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: " + std::string(key) +
        "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body);
  };
  const struct {
    const char* body;
    const char* key;
    int status;
    const char* type;
  } rows[] = {
      {"{}", "wrong", 401, "authentication_error"},
      {"{", "secret", 400, "invalid_request_error"},
      {"{}", "secret", 400, "invalid_request_error"},
      {R"({"model":"other","max_tokens":1,"messages":[{"role":"user","content":"a"}]})", "secret",
       404, "not_found_error"},
  };
  for (const auto& row : rows) {
    const Response response = post(row.body, row.key);
    EXPECT_EQ(response.status, row.status) << response.body;
    const Json json = response.json();
    EXPECT_EQ(json["type"], "error") << response.body;
    EXPECT_EQ(json["error"]["type"], row.type) << response.body;
    EXPECT_FALSE(json["error"]["message"].get<std::string>().empty());
  }
}

}  // namespace
}  // namespace floe::testing
