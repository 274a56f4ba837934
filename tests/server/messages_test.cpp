// What a client may send as a conversation: everything that any model could have answered.
#include <gtest/gtest.h>

#include "base/json.h"
#include "server/openai_messages.h"

namespace floe {
namespace {

std::vector<ChatMessage> read_ok(const std::string& messages) {
  std::vector<ChatMessage> out;
  const auto fault = read_messages(Json::parse("{\"messages\":" + messages + "}"), out);
  EXPECT_FALSE(fault.has_value()) << messages << ": " << fault->message;
  return out;
}

TEST(Messages, InAllTheirForms) {
  const auto m = read_ok(R"([
    {"role":"developer","content":"d"},
    {"role":"user","content":[{"type":"text","text":"a"},{"type":"input_text","text":"b"}]},
    {"role":"assistant","content":null,"reasoning":"r","tool_calls":[
      {"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}},
      {"id":"2","function":{"name":"g","arguments":{"z":1,"a":2}}}]},
    {"role":"tool","tool_call_id":"1","content":"t"},
    {"role":"assistant","function_call":{"name":"old","arguments":"{}"}},
    {"role":"function","name":"old","content":"u"},
    {"role":"assistant","refusal":null,"audio":null,"annotations":[],"tool_calls":null,
     "content":[{"type":"output_text","text":"c"},{"type":"refusal","refusal":"no"}]},
    {"role":"assistant","refusal":"I will not"}])");
  ASSERT_EQ(m.size(), 8u);
  EXPECT_EQ(m[0].role, "developer");
  EXPECT_EQ(m[1].content, "a\nb");
  EXPECT_EQ(m[2].content, "");
  EXPECT_EQ(m[2].reasoning_content, "r");
  ASSERT_EQ(m[2].tool_calls.size(), 2u);
  EXPECT_EQ(m[2].tool_calls[0].arguments_json, "{\"x\": 1}");
  EXPECT_EQ(m[2].tool_calls[1].arguments_json, "{\"z\":1,\"a\":2}");
  EXPECT_EQ(m[3].tool_call_id, "1");
  ASSERT_EQ(m[4].tool_calls.size(), 1u);
  EXPECT_EQ(m[4].tool_calls[0].name, "old");
  EXPECT_EQ(m[5].role, "tool");
  EXPECT_EQ(m[6].content, "c\nno");
  EXPECT_EQ(m[7].content, "I will not");
}

// One row a call that some model wrote.
TEST(Messages, CallsAreTakenAsTheyStand) {
  const struct {
    const char* function;
    const char* name;
    const char* arguments;
  } rows[] = {
      {R"({"name":"f","arguments":""})", "f", ""},
      {R"({"name":"f","arguments":"  "})", "f", "  "},
      {R"({"name":"f","arguments":"{"})", "f", "{"},
      {R"({"name":"f","arguments":"{\"a\": \"x"})", "f", "{\"a\": \"x"},
      {R"({"name":"f","arguments":"[1]"})", "f", "[1]"},
      {R"({"name":"f","arguments":"null"})", "f", "null"},
      {R"({"name":"f","arguments":null})", "f", ""},
      {R"({"name":"f"})", "f", ""},
      {R"({"name":"get weather","arguments":"{}"})", "get weather", "{}"},
      {R"({"name":"gr\u00fc\u00dfe!\n","arguments":"{}"})",
       "gr\xc3\xbc\xc3\x9f"
       "e!\n",
       "{}"},
  };
  for (const auto& row : rows) {
    const auto m = read_ok(std::string(R"([{"role":"assistant","tool_calls":[{"id":"1","type":)") +
                           R"("function","function":)" + row.function + "}]}]");
    ASSERT_EQ(m.size(), 1u) << row.function;
    ASSERT_EQ(m[0].tool_calls.size(), 1u) << row.function;
    EXPECT_EQ(m[0].tool_calls[0].name, row.name);
    EXPECT_EQ(m[0].tool_calls[0].arguments_json, row.arguments);
  }
  std::string many = R"([{"role":"assistant","tool_calls":[)";
  for (int i = 0; i < 1000; ++i) {
    many += i == 0 ? "" : ",";
    many += R"({"function":{"name":"f","arguments":"{}"}})";
  }
  EXPECT_EQ(read_ok(many + "]}]")[0].tool_calls.size(), 1000u);
}

TEST(Messages, FaultsNameTheirField) {
  const struct {
    const char* second;  // messages[1]
    const char* param;
  } rows[] = {
      {"1", "messages[1]"},
      {"{}", "messages[1]"},
      {R"({"role":"king"})", "messages[1].role"},
      {R"({"role":"user","content":1})", "messages[1].content"},
      {R"({"role":"user","content":["x"]})", "messages[1].content[0]"},
      {R"({"role":"user","content":[{"type":"text","text":"a"},{"type":"text"}]})",
       "messages[1].content[1].text"},
      {R"({"role":"user","content":[{"type":"image_url"}]})", "messages[1].content[0].type"},
      {R"({"role":"assistant","reasoning_content":1})", "messages[1].reasoning_content"},
      {R"({"role":"assistant","refusal":1})", "messages[1].refusal"},
      {R"({"role":"assistant","tool_calls":{}})", "messages[1].tool_calls"},
      {R"({"role":"assistant","tool_calls":[1]})", "messages[1].tool_calls[0]"},
      {R"({"role":"assistant","tool_calls":[{"function":{"name":"f"}},{}]})",
       "messages[1].tool_calls[1].function"},
      {R"({"role":"assistant","tool_calls":[{"type":"custom","function":{"name":"f"}}]})",
       "messages[1].tool_calls[0].type"},
      {R"({"role":"assistant","tool_calls":[{"id":1,"function":{"name":"f"}}]})",
       "messages[1].tool_calls[0].id"},
      {R"({"role":"assistant","tool_calls":[{"function":{"name":""}}]})",
       "messages[1].tool_calls[0].function.name"},
      {R"({"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":7}}]})",
       "messages[1].tool_calls[0].function.arguments"},
      {R"({"role":"assistant","function_call":[]})", "messages[1].function_call"},
  };
  for (const auto& row : rows) {
    std::vector<ChatMessage> out;
    const auto fault =
        read_messages(Json::parse(std::string(R"({"messages":[{"role":"user","content":"x"},)") +
                                  row.second + "]}"),
                      out);
    ASSERT_TRUE(fault.has_value()) << row.second;
    EXPECT_EQ(fault->status, 400);
    EXPECT_EQ(fault->param, row.param);
    EXPECT_NE(fault->message.find(row.param), std::string::npos) << fault->message;
  }
}

TEST(Messages, ToolsAndTheirChoice) {
  const std::string f =
      R"({"type":"function","function":{"name":"f","parameters":{"zeta":1,"alpha":2}}})";
  const struct {
    std::string members;
    size_t n_tools;
    const char* param;  // of the refusal
  } rows[] = {
      {"\"tools\":[" + f + "]", 1, nullptr},
      {"\"tools\":null", 0, nullptr},
      {"\"tools\":[]", 0, nullptr},
      {"\"tools\":[" + f + "],\"tool_choice\":\"auto\"", 1, nullptr},
      {"\"tools\":[" + f + "],\"tool_choice\":{\"type\":\"auto\"}", 1, nullptr},
      {"\"tools\":[" + f + "],\"tool_choice\":\"none\"", 0, nullptr},
      {"\"tools\":[" + f + "],\"tool_choice\":{\"type\":\"none\"}", 0, nullptr},
      {"\"tools\":[" + f + "],\"tool_choice\":\"required\"", 1, nullptr},
      {"\"tools\":[" + f +
           "],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
       1, nullptr},
      {"\"tools\":[" + f + "],\"tool_choice\":{\"type\":\"function\"}", 0, "tool_choice"},
      {"\"tool_choice\":\"required\"", 0, "tool_choice"},
      {"\"tools\":[" + f + "],\"tool_choice\":{}", 0, "tool_choice"},
      {"\"tools\":{}", 0, "tools"},
      {"\"tools\":[" + f + ",1]", 0, "tools[1]"},
      {"\"tools\":[{\"function\":{\"name\":\"a b\"}}]", 0, "tools[0].function.name"},
      {"\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":[]}}]", 0,
       "tools[0].function.parameters"},
  };
  for (const auto& row : rows) {
    ChatTools out;
    const auto fault = read_tools(Json::parse("{" + row.members + "}"), out);
    EXPECT_EQ(fault ? fault->param : "", row.param == nullptr ? "" : row.param) << row.members;
    if (fault) continue;
    EXPECT_EQ(out == nullptr ? 0 : out->size(), row.n_tools) << row.members;
    if (out == nullptr) continue;
    // Key order reaches the prompt.
    const std::string definition = dump_json(*out->front().definition);
    EXPECT_LT(definition.find("zeta"), definition.find("alpha"));
  }
}

TEST(Messages, HowThePromptEnds) {
  const struct {
    const char* last;   // role and more of the last message
    const char* flags;  // members of the body
    const char* param;  // of the refusal; nullptr: accepted
    bool continues;
    bool opens;
  } rows[] = {
      {R"("user","content":"x")", "", nullptr, false, true},
      {R"("user","content":"x")", R"(,"add_generation_prompt":false)", nullptr, false, false},
      {R"("assistant","content":"x")", "", nullptr, true, true},
      {R"("assistant","content":"x")", R"(,"continue_final_message":true)", nullptr, true, true},
      {R"("assistant","content":"x")",
       R"(,"continue_final_message":true,"add_generation_prompt":false)", nullptr, true, false},
      {R"("assistant","content":"x")", R"(,"continue_final_message":null)", nullptr, true, true},
      {R"("assistant","content":"x")", R"(,"continue_final_message":false)", nullptr, false, true},
      {R"("assistant","content":"x")",
       R"(,"continue_final_message":true,"add_generation_prompt":true)", "continue_final_message",
       false, false},
      {R"("assistant","tool_calls":[{"function":{"name":"f"}}])", "", nullptr, false, true},
      {R"("assistant","tool_calls":[{"function":{"name":"f"}}])",
       R"(,"continue_final_message":true)", "continue_final_message", false, false},
      {R"("user","content":"x")", R"(,"continue_final_message":true)", "continue_final_message",
       false, false},
      {R"("user","content":"x")", R"(,"continue_final_message":1)", "continue_final_message", false,
       false},
      {R"("user","content":"x")", R"(,"add_generation_prompt":1)", "add_generation_prompt", false,
       false},
  };
  for (const auto& row : rows) {
    const std::string body =
        std::string(R"({"messages":[{"role":)") + row.last + "}]" + row.flags + "}";
    const Json json = Json::parse(body);
    std::vector<ChatMessage> messages;
    ASSERT_FALSE(read_messages(json, messages).has_value());
    ChatOptions options;
    const auto fault = read_prompt_end(json, messages, options);
    EXPECT_EQ(fault ? fault->param : "", row.param == nullptr ? "" : row.param) << body;
    if (fault) continue;
    EXPECT_EQ(options.continue_final_message, row.continues) << body;
    EXPECT_EQ(options.add_generation_prompt, row.opens) << body;
  }
}

}  // namespace
}  // namespace floe
