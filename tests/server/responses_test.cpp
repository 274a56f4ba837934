// OpenAI's Responses API: what its bodies become, what its clients read, and what is kept.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "server/response_store.h"
#include "server/responses_request.h"
#include "server/responses_response.h"
#include "server/test_server.h"

namespace floe::testing {
namespace {

// One row a body: what it is as the body of a chat.
TEST(ResponsesRequest, BecomesAChat) {
  const struct {
    const char* body;
    const char* chat;
  } rows[] = {
      {R"({"input":"a","max_output_tokens":5})",
       R"({"messages":[{"role":"user","content":"a"}],"max_output_tokens":5})"},
      {R"({"instructions":"i","input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}],"reasoning":{"effort":"low","summary":"auto"},"truncation":"disabled","include":["reasoning.encrypted_content"],"background":false})",
       R"({"messages":[{"role":"system","content":"i"},{"role":"user","content":[{"type":"input_text","text":"a"}]}],"reasoning":{"effort":"low"}})"},
      {R"({"input":[{"type":"message","role":"user","content":"q"},{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"t"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"c"}]},{"type":"function_call","call_id":"1","name":"f","arguments":"{\"a\": 1}"},{"type":"function_call","call_id":"2","name":"g","arguments":"{"},{"type":"function_call_output","call_id":"1","output":"r"},{"type":"function_call_output","call_id":"2","output":[{"type":"input_text","text":"s"}]}]})",
       R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"output_text","text":"c"}],"reasoning_content":"t","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},{"id":"2","type":"function","function":{"name":"g","arguments":"{"}}]},{"role":"tool","tool_call_id":"1","content":"r"},{"role":"tool","tool_call_id":"2","content":[{"type":"input_text","text":"s"}]}]})"},
      {R"({"input":[{"type":"reasoning","summary":[{"type":"summary_text","text":"x"},{"type":"summary_text","text":"y"}],"encrypted_content":"z"},{"type":"function_call","call_id":"1","name":"f","arguments":""}]})",
       R"({"messages":[{"role":"assistant","content":null,"reasoning_content":"x\ny","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":""}}]}]})"},
      {R"({"input":"a","tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],"tool_choice":{"type":"function","name":"f"},"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true},"verbosity":"medium"}})",
       R"({"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"},"strict":true}}],"tool_choice":{"type":"function","function":{"name":"f"}},"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}}})"},
      {R"({"input":"a","tool_choice":"required","text":{"format":{"type":"text"}}})",
       R"({"messages":[{"role":"user","content":"a"}],"tool_choice":"required","response_format":{"type":"text"}})"},
  };
  for (const auto& row : rows) {
    ApiResult<ResponsesBody> made = chat_body_of_response(Json::parse(row.body), nullptr);
    ASSERT_TRUE(made.ok()) << row.body << made.error().message;
    EXPECT_EQ(made->chat, Json::parse(row.chat)) << dump_json(made->chat);
  }
  const Json earlier =
      Json::parse(R"([{"role":"user","content":"x"},{"role":"assistant","content":"y"}])");
  ApiResult<ResponsesBody> made =
      chat_body_of_response(Json::parse(R"({"instructions":"i","input":"z"})"), earlier);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->chat["messages"].size(), 4u);
  EXPECT_EQ(made->chat["messages"][0]["role"], "system");
  // Instructions are of one response only.
  EXPECT_EQ(made->messages.size(), 3u);
}

TEST(ResponsesRequest, FaultsNameTheirField) {
  const struct {
    const char* body;
    const char* param;
  } rows[] = {
      {R"([])", ""},
      {R"({})", "input"},
      {R"({"input":[]})", "input"},
      {R"({"input":7})", "input"},
      {R"({"input":["a"]})", "input[0]"},
      {R"({"input":[{"type":"web_search_call"}]})", "input[0].type"},
      {R"({"input":[{"content":"a"}]})", "input[0].role"},
      {R"({"input":[{"type":"function_call","call_id":"1","name":"f"}]})", "input[0].arguments"},
      {R"({"input":[{"type":"function_call_output","call_id":"1"}]})", "input[0].output"},
      {R"({"input":[{"type":"reasoning","content":"a"}]})", "input[0].content"},
      {R"({"input":"a","instructions":[]})", "instructions"},
      {R"({"input":"a","store":1})", "store"},
      {R"({"input":"a","tools":[{"type":"web_search"}]})", "tools[0].type"},
      {R"({"input":"a","background":true})", "background"},
      {R"({"input":"a","conversation":"c"})", "conversation"},
      {R"({"input":"a","prompt":{"id":"p"}})", "prompt"},
      {R"({"input":"a","truncation":"auto"})", "truncation"},
      {R"({"input":"a","include":["message.output_text.logprobs"]})", "include"},
      {R"({"input":"a","text":{"verbosity":"low"}})", "text.verbosity"},
      {R"({"input":"a","text":{"format":"json"}})", "text.format"},
      {R"({"input":"a","reasoning":"high"})", "reasoning"},
  };
  for (const auto& row : rows) {
    const ApiResult<ResponsesBody> made = chat_body_of_response(Json::parse(row.body), nullptr);
    ASSERT_FALSE(made.ok()) << row.body;
    EXPECT_EQ(made.error().param, row.param) << row.body;
  }
  EXPECT_FALSE(previous_response_id(Json::parse(R"({"previous_response_id":1})")).ok());
}

TEST(ResponseStore, ForgetsWhatWasAskedForLongestAgo) {
  ResponseStore store(4000);
  const auto response = [](size_t size) { return StoredResponse{std::string(size, 'o'), "[]"}; };
  store.put("", "a", response(900));
  store.put("", "b", response(900));
  store.put("", "c", response(900));
  EXPECT_TRUE(store.find("", "a").has_value());
  store.put("", "d", response(900));
  EXPECT_FALSE(store.find("", "b").has_value());
  EXPECT_TRUE(store.find("", "a").has_value());
  EXPECT_FALSE(store.find("key", "a").has_value());
  EXPECT_LE(store.n_bytes(), 4000u);
  store.put("", "huge", response(5000));
  EXPECT_FALSE(store.find("", "huge").has_value());
  EXPECT_TRUE(store.erase("", "a"));
  EXPECT_FALSE(store.erase("", "a"));
  store.put("", "c", response(10));
  EXPECT_EQ(store.find("", "c")->object.size(), 10u);
}

// The data of the events of a stream, each with the name that it came under.
std::vector<Json> events_of(const std::string& frames) {
  std::vector<Json> events;
  for (size_t at = 0; at < frames.size();) {
    const size_t end = frames.find("\n\n", at);
    const std::string frame = frames.substr(at, end - at);
    at = end + 2;
    const size_t line = frame.find("\ndata: ");
    if (line == std::string::npos) continue;
    events.push_back(Json::parse(frame.substr(line + 7)));
    EXPECT_EQ(frame.substr(7, line - 7), events.back()["type"].get<std::string>());
    EXPECT_EQ(events.back()["sequence_number"], events.size() - 1);
  }
  return events;
}

// What a client makes of the events: the items of the output.
Json output_of(const std::vector<Json>& events) {
  Json output = Json::array();
  for (const Json& event : events) {
    const std::string type = event["type"];
    const auto item = [&]() -> Json& { return output[event["output_index"].get<size_t>()]; };
    if (type == "response.output_item.added") {
      EXPECT_EQ(event["output_index"], output.size());
      output.push_back(event["item"]);
    }
    if (type == "response.content_part.added") item()["content"].push_back(event["part"]);
    if (type == "response.output_text.delta" || type == "response.reasoning_text.delta") {
      EXPECT_EQ(item()["id"], event["item_id"]);
      Json& text = item()["content"][0]["text"];
      text = text.get<std::string>() + event["delta"].get<std::string>();
    }
    if (type == "response.function_call_arguments.delta") {
      Json& text = item()["arguments"];
      text = text.get<std::string>() + event["delta"].get<std::string>();
    }
    if (type == "response.output_item.done") {
      item()["status"] = event["item"]["status"];
      EXPECT_EQ(event["item"], item());
    }
  }
  return output;
}

TEST(ResponsesResponse, TheStreamIsTheResponse) {
  ResponseStore store(1 << 20);
  const auto context = std::make_shared<ResponseContext>();
  context->echo = Json::parse(R"({"instructions":"i","temperature":0})");
  context->messages = Json::parse(R"([{"role":"user","content":"q"}])");
  context->owner = "k";
  context->store = &store;
  AnswerIdentity identity;
  identity.chat = true;
  identity.id = "resp_1";
  identity.model = "m";
  identity.created = 9;
  AnswerUsage usage;
  usage.prompt_tokens = 10;
  usage.cached_tokens = 4;
  usage.completion_tokens = 7;
  usage.reasoning_tokens = 2;
  AnswerChoice choice;
  choice.reasoning_content = "think";
  choice.content = "te\"xt";
  choice.tool_calls = {{"id1", "f", "{\"a\": 1}"}};
  for (const char* reason : {"tool_calls", "length"}) {
    choice.finish_reason = reason;
    const Json whole = Json::parse(
        make_responses_writer(identity, context)->whole(std::vector{choice}, false, usage, ""));
    const char* status = std::string_view(reason) == "length" ? "incomplete" : "completed";
    EXPECT_EQ(whole["status"], status);
    EXPECT_EQ(whole["output"][2]["status"], status);
    EXPECT_EQ(whole["instructions"], "i");
    EXPECT_EQ(whole["tool_choice"], "auto");
    EXPECT_EQ(whole["usage"]["total_tokens"], 17);
    const auto stored = store.find("k", "resp_1");
    ASSERT_TRUE(stored.has_value());
    EXPECT_EQ(Json::parse(stored->object), whole);
    EXPECT_EQ(stored->messages,
              R"([{"role":"user","content":"q"},{"role":"assistant","content":"te\"xt",)"
              R"("reasoning_content":"think","tool_calls":[{"id":"id1","type":"function",)"
              R"("function":{"name":"f","arguments":"{\"a\": 1}"}}]}])");
    store.erase("k", "resp_1");

    const auto writer = make_responses_writer(identity, context);
    std::string frames;
    writer->begin(0, {}, frames);
    for (const char* text : {"thi", "nk"}) writer->reasoning(0, text, {}, {}, frames);
    for (const char* text : {"te", "\"xt"}) writer->content(0, text, {}, {}, frames);
    writer->tool_call(0, 0, "id1", "f", {}, {}, frames);
    for (const char* text : {"{\"a\"", ": 1}"}) writer->tool_arguments(0, 0, text, {}, {}, frames);
    writer->finish(0, reason, "", {}, {}, frames);
    writer->finish_stream(usage, "", frames);
    const std::vector<Json> events = events_of(frames);
    EXPECT_EQ(output_of(events), whole["output"]);
    EXPECT_EQ(events.back()["response"], whole);
    EXPECT_EQ(events.back()["type"], std::string("response.") + status);
    EXPECT_TRUE(store.find("k", "resp_1").has_value());
  }
}

TEST(ResponsesApi, GoesOnFromAResponse) {
  TestServer server;
  const auto post = [&](const char* body) {
    return server.post("/v1/responses", Json::parse(body)).json();
  };
  const Json first =
      post(R"({"model":"fake","max_output_tokens":9,"temperature":0,"input":"one"})");
  ASSERT_TRUE(first["id"].get<std::string>().starts_with("resp_")) << dump_json(first);
  EXPECT_EQ(first["status"], "incomplete");
  std::string text;
  for (const Json& item : first["output"]) {
    if (item["type"] == "message") text += item["content"][0]["text"];
  }
  Json next{{"model", "fake"},
            {"max_output_tokens", 9},
            {"temperature", 0},
            {"input", "two"},
            {"previous_response_id", first["id"]}};
  const Json second = server.post("/v1/responses", next).json();
  const Json chat =
      server
          .post("/v1/chat/completions", Json{{"max_tokens", 9},
                                             {"temperature", 0},
                                             {"messages",
                                              {{{"role", "user"}, {"content", "one"}},
                                               {{"role", "assistant"}, {"content", text}},
                                               {{"role", "user"}, {"content", "two"}}}}})
          .json();
  std::string answered;
  for (const Json& item : second["output"]) {
    if (item["type"] == "message") answered += item["content"][0]["text"];
  }
  EXPECT_EQ(answered, chat["choices"][0]["message"]["content"]);
  EXPECT_EQ(second["previous_response_id"], first["id"]);
  EXPECT_EQ(server.get("/v1/responses/" + first["id"].get<std::string>()).json(), first);

  next["previous_response_id"] = "resp_nobody";
  const Response lost = server.post("/v1/responses", next);
  EXPECT_EQ(lost.status, 404);
  EXPECT_EQ(lost.json()["error"]["code"], "previous_response_not_found");
  const Json unstored =
      post(R"({"model":"fake","max_output_tokens":2,"temperature":0,"input":"one","store":false})");
  EXPECT_EQ(server.get("/v1/responses/" + unstored["id"].get<std::string>()).status, 404);

  Json streamed{{"model", "fake"},
                {"max_output_tokens", 9},
                {"temperature", 0},
                {"input", "one"},
                {"stream", true}};
  const std::vector<Json> events = events_of(server.post("/v1/responses", streamed).body);
  EXPECT_EQ(output_of(events).size(), first["output"].size());
  EXPECT_EQ(events.back()["response"]["output"][0]["content"], first["output"][0]["content"]);
}

}  // namespace
}  // namespace floe::testing
