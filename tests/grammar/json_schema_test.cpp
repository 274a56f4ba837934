// JSON schemas: which values are read, and which schemas are refused.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "grammar/grammar.h"
#include "grammar/reading.h"

namespace floe {
namespace {

struct ValueReading {
  std::string schema;
  std::vector<std::string> whole;
  std::vector<std::string> not_whole;
};

std::vector<ValueReading> value_readings() {
  return {
      {"true", {"null", "[1, \"a\",{}]", R"({"a":{"b":[true,false]}})"}, {"", "nul", "[1,]"}},
      {"{}", {"1", "\"x\""}, {"x"}},
      {R"({"description": "any", "x-order": 1})", {"1"}, {}},
      {R"({"type":"string"})",
       {R"("")", R"("aé😀\n\"\u00e9\ud83d\ude00")"},
       {"1", "\"", R"("\ud800")", R"("\x")", "\"\n\"", "\"\xff\""}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("é😀\n")", R"("\ud83d\ude00b")"},
       {R"("a")", R"("abcd")"}},
      {R"({"type":"string","minLength":1})", {R"("a")", R"("abcdef")"}, {R"("")"}},
      {R"({"type":"string","pattern":"^[a-z]+$"})", {R"("abc")"}, {R"("")", R"("aB")"}},
      {R"({"type":"string","pattern":"b"})", {R"("abc")", R"("b")"}, {R"("ac")"}},
      {R"({"type":"string","pattern":"^[\"\\\\\\n]$"})",
       {R"("\"")", R"("\\")", R"("\n")"},
       {R"(""")"}},
      {R"({"type":"string","pattern":"^a*$","minLength":2,"maxLength":3})",
       {R"("aa")", R"("aaa")"},
       {R"("a")", R"("aaaa")"}},
      {R"({"type":"string","format":"date"})", {R"("2024-02-28")"}, {R"("2024-13-01")", R"("x")"}},
      {R"({"type":"string","format":"time"})", {R"("23:59:00Z")"}, {R"("24:00:00Z")"}},
      {R"({"type":"string","format":"date-time"})",
       {R"("2024-02-28T01:02:03.5+01:00")"},
       {R"("2024-02-28")"}},
      {R"({"type":"string","format":"uuid"})",
       {R"("123e4567-e89b-12d3-a456-426614174000")"},
       {R"("123")"}},
      {R"({"type":"string","format":"ipv4"})", {R"("192.168.0.255")"}, {R"("256.1.1.1")"}},
      {R"({"type":"string","format":"email"})", {R"("a.b@example.org")"}, {R"("a@b")"}},
      {R"({"type":"string","format":"hostname"})", {R"("any text")"}, {"1"}},
      {R"({"type":"integer"})",
       {"0", "12", "-999999999999999999"},
       {"01", "1.0", "1e3", "+1", "1000000000000000000"}},
      {R"({"type":"integer","minimum":-3,"maximum":12})",
       {"-3", "-1", "0", "9", "10", "12"},
       {"-4", "13", "20", "-10"}},
      {R"({"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":3})", {"1", "2"}, {"0", "3"}},
      {R"({"type":"integer","minimum":0.5,"maximum":2.5})", {"1", "2"}, {"0", "3"}},
      {R"({"type":"integer","minimum":1,"exclusiveMinimum":3})", {"4", "100"}, {"3", "1"}},
      {R"({"type":"integer","minimum":987,"maximum":1203})",
       {"987", "989", "990", "999", "1000", "1199", "1203"},
       {"986", "1204", "98", "12"}},
      {R"({"type":"integer","minimum":-1203,"maximum":-987})",
       {"-987", "-1000", "-1203"},
       {"-986", "-1204", "0", "987"}},
      {R"({"type":"integer","minimum":1000000000000000000})", {"1000000000000000001"}, {"5"}},
      {R"({"type":"number"})",
       {"0", "-1.5", "1e10", "0.1E-7", "123456789012345678"},
       {"1.", ".5", "01", "1e100", "NaN"}},
      {R"({"type":"number","minimum":0,"maximum":1})",
       {"0", "0.5", "1", "1.00", "0.0"},
       {"1.01", "-0.5", "2"}},
      {R"({"type":"number","exclusiveMinimum":0})", {"0.1", "1", "0.001"}, {"0", "0.0", "-1"}},
      {R"({"type":"number","exclusiveMaximum":0})", {"-0.1", "-1", "-1.5"}, {"0", "0.1", "-0"}},
      {R"({"type":"number","minimum":-2,"exclusiveMaximum":3})",
       {"-2", "-1.9", "0", "2.9"},
       {"-2.1", "3", "3.0"}},
      {R"({"type":"boolean"})", {"true", "false"}, {"null", "True"}},
      {R"({"type":"null"})", {"null"}, {"0"}},
      {R"({"type":["string","null"]})", {"\"a\"", "null"}, {"1"}},
      {R"({"const":{"a":[1,"b"]}})", {R"({"a":[1,"b"]})"}, {R"({"a":[1]})"}},
      {R"({"enum":["a",1,null,true,1.5]})", {"\"a\"", "1", "null", "true", "1.5"}, {"2", "\"b\""}},
      {R"({"type":"integer","enum":["a",1,2.5]})", {"1"}, {"\"a\"", "2.5"}},
      {R"({"type":"object"})", {"{}", R"({"a": 1})", "{\n  \"a\": 1\n}"}, {"[]", R"({"a"})"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"]})",
       {R"({"a":1})", R"({"a": 1, "b": "x"})", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"},
       {"{}", R"({"b":"x"})", R"({"b":"x","a":1})", R"({"a":1,"c":2})", R"({"a":1,})",
        R"({"a" :1})", R"({"a":  1})"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"},"c":{"type":"integer"}}})",
       {"{}", R"({"a":1})", R"({"b":1})", R"({"c":1})", R"({"a":1,"c":1})", R"({"b":1,"c":1})"},
       {R"({"c":1,"a":1})"}},
      {R"({"type":"object","properties":{"aé":{"type":"integer"},"a":{"type":"integer"}},"additionalProperties":{"type":"boolean"}})",
       {R"({"aé":1,"a":2,"b":true})", R"({"aè":true})", R"({"aéa":true,"":false})", R"({"a":2})"},
       {R"({"a":true})", R"({"aé":true})", R"({"b":true,"aé":true})", R"({"\u0061":true})"}},
      {R"({"type":"object","additionalProperties":{"type":"integer"}})",
       {"{}", R"({"x":1,"y":2})"},
       {R"({"x":"y"})"}},
      {R"({"type":"object","required":["z"],"properties":{"a":{"type":"null"}},"additionalProperties":true})",
       {R"({"z":1})", R"({"a":null,"z":1})", R"({"z":1,"y":2})"},
       {R"({"a":null})"}},
      {R"({"properties":{"a":true},"additionalProperties":false})",
       {"{}", R"({"a":[]})"},
       {R"({"b":1})", "1"}},
      {R"({"type":"array","items":{"type":"integer"}})",
       {"[]", "[1]", "[1, 2,3]"},
       {"[\"a\"]", "[1,]"}},
      {R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3})",
       {"[1,2]", "[1,2,3]"},
       {"[]", "[1]", "[1,2,3,4]"}},
      {R"({"type":"array","minItems":1})", {"[1]", "[{},\"a\"]"}, {"[]"}},
      {R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
      {R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
       {"[]", "[1]", "[1,\"a\"]"},
       {"[\"a\"]", "[1,\"a\",1]"}},
      {R"({"prefixItems":[{"type":"integer"}],"items":{"type":"null"},"minItems":1})",
       {"[1]", "[1,null,null]"},
       {"[]", "[1,2]"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})",
       {"1", "\"a\""},
       {"\"ab\""}},
      {R"({"type":"object","properties":{"a":{"type":"integer"}},"anyOf":[{"required":["a"]},{"properties":{"b":{"type":"null"}},"required":["b"]}]})",
       {R"({"a":1})", R"({"b":null})", R"({"a":1,"b":null})"},
       {"{}"}},
      {R"({"oneOf":[{"type":"integer"},{"type":"string"}]})", {"1", "\"a\""}, {"null"}},
      {R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"v":{"type":"integer"}},"required":["k"]},{"type":"object","properties":{"k":{"const":"b"}},"required":["k"]}]})",
       {R"({"k":"a","v":1})", R"({"k":"b"})"},
       {R"({"k":"b","v":1})"}},
      {R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":5},"b":{"type":"null"}}}]})",
       {R"({"a":5})", R"({"a":7,"b":null})"},
       {R"({"a":4})", "{}"}},
      {R"({"allOf":[{"type":["string","integer"]},{"type":"number"}],"maximum":3})",
       {"3", "-1"},
       {"4", "\"a\"", "1.5"}},
      {R"({"$defs":{"n":{"type":"integer"}},"$ref":"#/$defs/n"})", {"1"}, {"\"a\""}},
      {R"({"$defs":{"n":{"type":"integer"}},"type":"array","items":{"$ref":"#/$defs/n","description":"n"}})",
       {"[1]"},
       {"[\"a\"]"}},
      {R"({"definitions":{"a/b":{"$ref":"#/definitions/c~0"},"c~":{"type":"null"}},"$ref":"#/definitions/a~1b"})",
       {"null"},
       {"1"}},
      {R"({"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["v","next"]})",
       {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
       {R"({"v":1})"}},
      {R"({"$defs":{"n":{"type":"object","properties":{"c":{"$ref":"#/$defs/n","minimum":1}},"required":["c"]},"m":{"type":"null"}},"anyOf":[{"$ref":"#/$defs/n"},{"$ref":"#/$defs/m"}]})",
       {"null"},
       {R"({"c":)"}},
      {R"({"type":"object","properties":{"a":false,"b":{"type":"null"}}})",
       {"{}", R"({"b":null})"},
       {R"({"a":1})"}},
      {R"({"type":"integer","multipleOf":1,"uniqueItems":false,"minProperties":0})", {"1"}, {}},
      {R"({"type":"object","properties":{"a\"b\n":{"type":"null"}}})",
       {"{\"a\\\"b\\n\":null}"},
       {}},
  };
}

TEST(JsonSchema, Readings) {
  for (const ValueReading& row : value_readings()) {
    SCOPED_TRACE(row.schema);
    const auto automaton = compile_grammar(GrammarKind::json_schema, row.schema);
    ASSERT_TRUE(automaton.ok()) << automaton.error().message;
    for (const std::string& text : row.whole)
      EXPECT_EQ(reading_of(*automaton, text), "whole") << text;
    for (const std::string& text : row.not_whole)
      EXPECT_NE(reading_of(*automaton, text), "whole") << text;
  }
}

TEST(JsonSchema, AnyObject) {
  const auto automaton = compile_grammar(GrammarKind::json_object, "");
  ASSERT_TRUE(automaton.ok());
  EXPECT_EQ(reading_of(*automaton, R"({"a": [1, {"b": null}]})"), "whole");
  EXPECT_EQ(reading_of(*automaton, "[1]"), "no");
  EXPECT_EQ(reading_of(*automaton, "{" + std::string("\n") + std::string(20, ' ')), "begun");
  EXPECT_EQ(reading_of(*automaton, "{" + std::string("\n") + std::string(21, ' ')), "no");
}

TEST(JsonSchema, Refusals) {
  struct Row {
    std::string schema;
    std::string message;
  };
  std::string bomb = R"({"$defs":{)";
  for (int i = 0; i < 30; ++i) {
    const std::string next = "{\"$ref\":\"#/$defs/d" + std::to_string(i + 1) + "\"}";
    bomb += "\"d" + std::to_string(i) + R"(":{"type":"array","prefixItems":[)" + next + "," + next +
            R"(],"minItems":2,"items":false},)";
  }
  bomb += R"("d30":false},"$ref":"#/$defs/d0"})";
  std::string many = R"({"enum":[)";
  for (int i = 0; i < 30'000; ++i) many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\"";
  many += "]}";
  const Row rows[] = {
      {"1", "#: expected a schema (an object or a boolean)"},
      {"[", "JSON is invalid at byte 2"},
      {"false", "#: no text satisfies it"},
      {R"({"type":"strin"})", R"(#/type: unknown type "strin")"},
      {R"({"type":[]})", "#/type: expected the name of a type or an array of some"},
      {R"({"type":"object","properties":{"a":{"not":{}}}})",
       "#/properties/a/not: the keyword is not supported"},
      {R"({"patternProperties":{"a":{}}})", "#/patternProperties: the keyword is not supported"},
      {R"({"type":"array","uniqueItems":true})", "#/uniqueItems: the keyword is not supported"},
      {R"({"type":"array","contains":{}})", "#/contains: the keyword is not supported"},
      {R"({"type":"number","multipleOf":0.5})", "#/multipleOf: the keyword is not supported"},
      {R"({"if":{},"then":{}})", "#/if: the keyword is not supported"},
      {R"({"type":"object","minProperties":1})", "#/minProperties: the keyword is not supported"},
      {R"({"type":"object","properties":[]})", "#/properties: expected an object"},
      {R"({"type":"object","properties":{"a":1}})",
       "#/properties/a: expected a schema (an object or a boolean)"},
      {R"({"type":"object","required":"a"})", "#/required: expected an array of names"},
      {R"({"type":"object","required":["a"],"additionalProperties":false})",
       "#/required: \"a\" is required, and additionalProperties forbids it"},
      {R"({"type":"object","properties":{"a":false},"required":["a"]})", "#: no text satisfies it"},
      {R"({"type":"string","minLength":3,"maxLength":2})", "#/minLength: is above maxLength"},
      {R"({"type":"string","minLength":-1})", "#/minLength: expected a whole number of at least 0"},
      {R"({"type":"string","maxLength":2147483648})", "#/maxLength: needs more than 150000 states"},
      {R"({"type":"string","pattern":"^("})", "#/pattern: offset 2: expected ')'"},
      {R"({"type":"string","pattern":"^+"})", "#/pattern: offset 1: nothing to repeat"},
      {R"x({"type":"string","pattern":"(?<=x)"})x",
       "#/pattern: offset 0: the group (?<=... is not supported"},
      {R"({"type":"string","pattern":"(a{999}){999}"})",
       "#/pattern: offset 8: needs more than 150000 states"},
      {R"({"type":"string","pattern":"^a$","minLength":2})", "#: no text satisfies it"},
      {R"({"type":"array","minItems":2147483648})", "#/minItems: needs more than 150000 states"},
      {R"({"type":"array","minItems":2,"maxItems":1})", "#/minItems: is above maxItems"},
      {R"({"type":"array","items":[{}]})",
       "#/items: an array of schemas is called prefixItems in this draft"},
      {R"({"type":"integer","minimum":3,"maximum":2})", "#: no text satisfies it"},
      {R"({"type":"number","minimum":0.5})",
       "#/minimum: for numbers only whole bounds are supported"},
      {R"({"type":"integer","minimum":"a"})", "#/minimum: expected a number"},
      {R"({"enum":[]})", "#/enum: expected an array of values"},
      {R"({"type":"string","enum":[1]})", "#: no text satisfies it"},
      {R"({"enum":["a"],"minLength":2})", "#/minLength: is not supported beside enum"},
      {many, "#/enum: needs more than 150000 states"},
      {R"({"anyOf":[]})", "#/anyOf: expected an array of schemas"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})",
       "#/oneOf/1: may hold for the same value as number 0: say anyOf, or tell them apart by type, "
       "const, or a required property"},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})",
       "#/allOf/1/pattern: cannot be joined with another pattern of the same value"},
      {R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})",
       "#/allOf/1: additionalProperties cannot be joined with properties that another part of the "
       "same value has"},
      {R"({"allOf":[{"type":"string"},{"type":"integer"}]})", "#: no text satisfies it"},
      {R"({"allOf":[{"$ref":"#"}]})", "#: refers to itself or to too many schemas"},
      {R"({"$ref":"#"})", "#: no text satisfies it"},
      {R"({"$ref":"#/$defs/x"})", "#/$ref: refers to nothing"},
      {R"({"$ref":"other.json"})",
       "#/$ref: only references within the schema (#/...) are supported"},
      {R"({"$ref":1})", "#/$ref: expected a string"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})",
       "#: no text satisfies it"},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", "#: #/anyOf/0 begins with itself"},
      {bomb, "#: no text satisfies it"},
      {R"({"description":")" + std::string(1'000'000, 'x') + R"("})",
       "1000018 bytes are over the limit of 262144"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.schema.substr(0, 100));
    const auto automaton = compile_grammar(GrammarKind::json_schema, row.schema);
    ASSERT_FALSE(automaton.ok());
    EXPECT_EQ(automaton.error().message, row.message);
  }
  std::string deep;
  for (int i = 0; i < 300; ++i) deep += R"({"items":)";
  const auto automaton =
      compile_grammar(GrammarKind::json_schema, deep + "{}" + std::string(300, '}'));
  ASSERT_FALSE(automaton.ok());
  EXPECT_EQ(automaton.error().message, "JSON is nested deeper than 256 levels");
}

}  // namespace
}  // namespace floe
