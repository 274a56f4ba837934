#include "chat/chat_tools.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace floe {
namespace {

Result<ChatTools> tools_with(const std::string& parameters) {
  return make_chat_tools(Json::parse(R"([{"type":"function","function":{"name":"f","parameters":)" +
                                     parameters + "}}]"));
}

// One row a schema of the argument "a" and a text that a model wrote for it.
TEST(ChatTools, TextThatIsAString) {
  const struct {
    const char* schema;
    const char* text;
    bool is_string;
  } rows[] = {
      {R"({"type":"string"})", "42", true},
      {R"({"type":"string"})", "null", true},
      {R"({"type":"string"})", "{\"a\":1}", true},
      {R"({"type":"integer"})", "42", false},
      {R"({"type":"integer"})", "forty", true},
      {R"({"type":["string","null"]})", "42", true},
      {R"({"type":["string","null"]})", "true", true},
      {R"({"type":["null","string"]})", "null", false},
      {R"({"type":["string","null"]})", "nullify", true},
      {R"({"type":["integer","null"]})", "42", false},
      {R"({"type":"string","nullable":true})", "null", false},
      {R"({"anyOf":[{"type":"string"},{"type":"null"}]})", "42", true},
      {R"({"anyOf":[{"type":"integer"},{"type":"string"}]})", "42", true},
      {R"({"anyOf":[{"type":"integer"},{"type":"null"}]})", "42", false},
      {R"({"oneOf":[{"type":"boolean"},{"anyOf":[{"type":"array"},{"type":"string"}]}]})", "[1]",
       true},
      {R"({"allOf":[{"minLength":1},{"type":"string"}]})", "42", true},
      {R"({"if":{},"then":{"type":"string"},"else":{"type":"integer"}})", "42", true},
      {R"({"enum":["a","b"]})", "42", true},
      {R"({"enum":["a",42]})", "42", false},
      {R"({"enum":["a",42]})", "43", true},
      {R"({"enum":["42",42]})", "42", true},
      {R"({"enum":[1,2]})", "2", false},
      {R"({"enum":["a",null]})", "null", false},
      {R"({"enum":["null",null]})", "null", true},
      {R"({"const":"42"})", "42", true},
      {R"({"const":42})", "42", false},
      {R"({"const":{"k":[1]}})", "{ \"k\": [1] }", false},
      {R"({"type":"string","enum":["1","2"]})", "1", true},
      {R"({"type":"string","enum":["1","2"]})", "3", true},
      {R"({"type":["string","integer"],"enum":["a",1]})", "1", false},
      {R"({"pattern":"^[0-9]+$"})", "42", true},
      {R"({"format":"date"})", "2024", true},
      {R"({"$ref":"#/$defs/S"})", "42", true},
      {R"({"$ref":"#/definitions/a~1b~0"})", "42", true},
      {R"({"$ref":"#/$defs/list/1"})", "42", true},
      {R"({"$ref":"#/$defs/loop"})", "42", true},
      {R"({"$ref":"#/$defs/self"})", "42", false},
      {R"({"$ref":"#/$defs/none"})", "42", false},
      {R"({"$ref":"https://example.org/x"})", "42", false},
      {R"({"$ref":""})", "42", false},
      // A schema that says nothing of types: JSON where it is JSON.
      {R"({})", "42", false},
      {R"({})", "forty two", true},
      {R"({})", "\"quoted\"", true},
      {R"(true)", "42", false},
      {R"({"description":"a number or so"})", "42", false},
      {R"({"type":7})", "42", false},
  };
  for (const auto& row : rows) {
    const auto tools =
        tools_with(std::string(R"({"type":"object","properties":{"a":)") + row.schema +
                   R"(},"$defs":{"S":{"anyOf":[{"type":"string"},{"type":"null"}]},
            "list":[{"type":"null"},{"type":"string"}],"self":{"$ref":"#/$defs/self"},
            "loop":{"anyOf":[{"$ref":"#/$defs/loop"},{"$ref":"#/$defs/S"}]}},
            "definitions":{"a/b~":{"type":"string"}}})");
    ASSERT_TRUE(tools.ok()) << row.schema;
    const ArgumentType& type = (**tools)[0].argument("a");
    EXPECT_EQ(type.is_string(row.text), row.is_string) << row.schema << " " << row.text;
    // Nobody waits for the end of what is a string anyway, and only of that.
    if (type.is_always_string()) {
      EXPECT_TRUE(type.is_string("null"));
      EXPECT_TRUE(type.is_string("42"));
    }
  }
}

// Where the arguments are found: behind references and alternatives of the whole, and without a
// name of their own.
TEST(ChatTools, WhereArgumentsAreDeclared) {
  const char* rows[] = {
      R"({"$ref":"#/$defs/A","$defs":{"A":{"properties":{"a":{"type":"string"}}}}})",
      R"({"allOf":[{"properties":{"b":{}}},{"properties":{"a":{"type":"string"}}}]})",
      R"({"anyOf":[{"properties":{"a":{"type":"integer"}}},{"properties":{"a":{"type":"string"}}}]})",
      R"({"additionalProperties":{"type":"string"}})",
      R"({"patternProperties":{"^a":{"type":["string","null"]}}})",
  };
  for (const char* parameters : rows) {
    const auto tools = tools_with(parameters);
    ASSERT_TRUE(tools.ok()) << parameters;
    EXPECT_TRUE((**tools)[0].argument("a").is_string("42")) << parameters;
  }
  EXPECT_FALSE(
      (**tools_with(R"({"properties":{"b":{"type":"string"}}})"))[0].argument("a").is_string("42"));
}

// Schemas that are small but would take forever, or all memory, to walk through.
TEST(ChatTools, HostileSchemasAreReadUpToALimit) {
  Json parameters = {{"properties", Json::object()}, {"$defs", Json::object()}};
  Json all = Json::array();
  for (int i = 0; i < 3000; ++i) {
    const std::string name = "d" + std::to_string(i);
    all.push_back({{"$ref", "#/$defs/" + name}});
    parameters["properties"]["p" + std::to_string(i)] = {{"$ref", "#/$defs/all"}};
  }
  Json words = Json::array();
  for (int i = 0; i < 1000; ++i) words.push_back(std::string(500, 'w') + std::to_string(i));
  for (int i = 0; i < 3000; ++i) {
    parameters["$defs"]["d" + std::to_string(i)] = {{"enum", words[i % 1000]}, {"enum", words}};
    if (i == 20) words = Json::array({"small"});
  }
  parameters["$defs"]["all"] = {{"anyOf", all}};
  const auto tools =
      make_chat_tools(Json::array({{{"name", "f"}, {"parameters", parameters}}, {{"name", "g"}}}));
  ASSERT_TRUE(tools.ok());
  size_t n_bytes = 0;
  for (const auto& [name, type] : (**tools)[0].arguments) {
    for (const std::string& text : type.strings) n_bytes += text.size();
  }
  EXPECT_LE(n_bytes, size_t{8} << 20);
  EXPECT_NE(find_tool(*tools, "g"), nullptr);
  EXPECT_EQ(find_tool(*tools, "G"), nullptr);
  EXPECT_EQ(find_tool(nullptr, "g"), nullptr);
}

TEST(ChatTools, Spelling) {
  const auto tools = make_chat_tools(Json::parse(
      R"([{"type":"function","function":{"name":"add","parameters":{"properties":{"b":{"type":"integer"},"a":{}}}}}])"));
  ASSERT_TRUE(tools.ok());
  const ChatTool& tool = (**tools)[0];
  EXPECT_EQ(tool.name, "add");
  EXPECT_EQ(
      python_json(*tool.definition),
      R"({"type": "function", "function": {"name": "add", "parameters": {"properties": {"b": )"
      R"({"type": "integer"}, "a": {}}}}})");
  // A bare function gets its wrapping.
  EXPECT_EQ(python_json(*(**make_chat_tools(Json::parse(R"([{"name":"f"}])")))[0].definition),
            R"({"type": "function", "function": {"name": "f"}})");
  EXPECT_EQ(
      python_json(Json::parse(R"({"b":[1,2.5,"x,:y"],"a":{"é":"\u00e9\n\"\\"},"e":{},"n":null})")),
      R"({"b": [1, 2.5, "x,:y"], "a": {"é": "é\n\"\\"}, "e": {}, "n": null})");
  for (const char* bad : {R"([{}])", R"([{"name":"f"},1])", R"([{"function":{"name":7}}])",
                          R"([{"name":""}])", R"({})"}) {
    EXPECT_EQ(make_chat_tools(Json::parse(bad)).error().kind, ErrorKind::usage) << bad;
  }
}

}  // namespace
}  // namespace floe
