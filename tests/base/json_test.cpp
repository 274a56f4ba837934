#include "base/json.h"

#include <gtest/gtest.h>

namespace floe {
namespace {

TEST(Json, KeepsKeyOrder) {
  const auto parsed = parse_json(R"({"b":1,"a":{"z":2,"y":3}})");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(dump_json(*parsed), R"({"b":1,"a":{"z":2,"y":3}})");
}

TEST(Json, DepthIsBoundedBeforeParsing) {
  const std::string deep(100000, '[');
  EXPECT_FALSE(parse_json(deep).ok());
  EXPECT_TRUE(parse_json(std::string(256, '[') + std::string(256, ']')).ok());
  EXPECT_FALSE(parse_json(std::string(257, '[') + std::string(257, ']')).ok());
  EXPECT_TRUE(parse_json("\"" + std::string(100, '[') + "\"").ok());
}

TEST(Json, RefusesWhatIsNotOneDocument) {
  for (const char* text :
       {"", "{", "{} {}", "[1,]", "{\"a\":NaN}", "\xef\xbb", "\"\xff\"", "1e999"}) {
    EXPECT_FALSE(parse_json(text).ok()) << text;
  }
}

TEST(Json, AZeroByteIsNotTheEnd) {
  EXPECT_FALSE(parse_json(std::string_view("{}\0", 3)).ok());
  EXPECT_FALSE(parse_json(std::string_view("{}\0{", 4)).ok());
  EXPECT_FALSE(parse_json(std::string_view("[1\0]", 4)).ok());
}

// A text of several stops, with strings and numbers that reach across them.
std::string long_document() {
  std::string text = "{\"list\":[";
  for (int i = 0; i < 40000; ++i)
    text += std::to_string(i * 7919) + ",\"ünï" + std::to_string(i) + "\",";
  return text + "null],\"long\":\"" + std::string(700'000, 'x') + "\"}";
}

TEST(Json, AConsumedTextGivesTheSameDocument) {
  const std::string text = long_document();
  const auto parsed = parse_json(text);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(dump_json(*parsed), text);
  const auto consumed = consume_json(text);
  ASSERT_TRUE(consumed.ok());
  EXPECT_EQ(*consumed, *parsed);
  for (const char* fault : {"", "{", "[1,]", "\"\xff\""})
    EXPECT_FALSE(consume_json(fault).ok()) << fault;
  const auto cut = consume_json(text.substr(0, text.size() - 1));
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().message, parse_json(text.substr(0, text.size() - 1)).error().message);
}

TEST(Json, AParseThatNobodyWaitsForEnds) {
  const std::string text = long_document();
  for (const int n : {1, 2, 4}) {
    int n_asked = 0;
    JsonLimits limits;
    limits.cancelled = [&] { return ++n_asked == n; };
    const auto parsed = parse_json(text, limits);
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.error().message, "nobody waits for this JSON any more");
    EXPECT_EQ(n_asked, n);
  }
}

TEST(Json, OfMembersOfOneNameTheLastCounts) {
  EXPECT_EQ(dump_json(*parse_json(R"({"a":1,"b":2,"a":3})")), R"({"a":3,"b":2})");
  std::string many = "{";
  for (int i = 0; i < 100; ++i)
    many += "\"k" + std::to_string(i % 40) + "\":" + std::to_string(i) + ",";
  many += "\"k7\":{\"x\":[1,{}]}}";
  const auto parsed = parse_json(many);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->size(), 40u);
  EXPECT_EQ((*parsed)["k39"], 79);
  EXPECT_EQ(dump_json((*parsed)["k7"]), R"({"x":[1,{}]})");
}

TEST(Json, TimeIsLinearInTheNumberOfMembers) {
  std::string many = "{";
  for (int i = 0; i < 300000; ++i) many += "\"" + std::to_string(i) + "\":0,";
  many += "\"end\":1}";
  const auto parsed = parse_json(many);  // looking at all pairs would take minutes
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->size(), 300001u);
}

TEST(Json, ValuesAreBounded) {
  JsonLimits limits;
  limits.max_values = 10;
  EXPECT_TRUE(parse_json("[1,2,3,4,5,6,7,8,9]", limits).ok());
  EXPECT_FALSE(parse_json("[1,2,3,4,5,6,7,8,9,10]", limits).ok());
  EXPECT_FALSE(parse_json(R"({"a":[[[[[[[[[[]]]]]]]]]]})", limits).ok());
}

TEST(Json, EscapingIsTotalAndParsesBack) {
  std::string text;
  for (int c = 0; c < 256; ++c) text += static_cast<char>(c);
  text += "\xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82 é 😀";
  std::string escaped = "\"";
  append_json_escaped(text, escaped);
  escaped += '"';
  const auto parsed = parse_json(escaped);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_NE(parsed->get<std::string>().find("é 😀"), std::string::npos);
}

}  // namespace
}  // namespace floe
