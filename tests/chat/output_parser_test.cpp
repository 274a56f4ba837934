#include "chat/output_parser.h"

#include <gtest/gtest.h>

#include <random>

#include "base/json.h"
#include "chat/response_stream.h"
#include "text/small_vocabulary.h"

namespace floe {
namespace {

using Options = OutputParser::Options;

// An answer put together from its deltas, as a client does it.
struct Parsed {
  std::string reasoning;
  std::string content;
  struct Call {
    std::string name;
    std::string arguments;
  };
  std::vector<Call> calls;

  void add(const OutputDelta& delta) {
    reasoning += delta.reasoning_content;
    content += delta.content;
    for (const ToolCallDelta& call : delta.tool_calls) {
      EXPECT_EQ(call.name.empty(), call.index < calls.size()) << call.index;
      if (!call.name.empty()) calls.push_back({call.name, {}});
      ASSERT_LT(call.index, calls.size());
      EXPECT_EQ(call.index + 1, calls.size()) << "a call goes on behind the next one";
      calls[call.index].arguments += call.arguments;
    }
  }
};

std::string show(const Parsed& parsed) {
  std::string out = "[" + parsed.reasoning + "][" + parsed.content + "]";
  for (const auto& call : parsed.calls) out += call.name + call.arguments + ";";
  return out;
}

// f, g and now; f's arguments have types of every sort.
ChatTools test_tools() {
  auto tools = make_chat_tools(Json::parse(R"([
    {"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{
      "zip":{"type":"string"},"n":{"type":"integer"},"m":{"type":["string","null"]}}}}},
    {"name":"g"},{"name":"now"}])"));
  EXPECT_TRUE(tools.ok());
  return *tools;
}

Parsed parse(const Options& options, const std::vector<std::string>& pieces, bool cut = false) {
  OutputParser parser(options);
  Parsed all;
  for (const std::string& piece : pieces) {
    OutputDelta delta;
    parser.push_text(piece, delta);
    all.add(delta);
  }
  OutputDelta last;
  parser.finish(cut, last);
  all.add(last);
  EXPECT_EQ(parser.n_tool_calls(), all.calls.size());
  EXPECT_LE(parser.n_complete_tool_calls(), all.calls.size());
  return all;
}

// The format of this name for a vocabulary without tokens for markers.
Options with(std::string_view name, bool starts_in_reasoning = false) {
  static const auto tokenizer =
      std::move(Tokenizer::build(testing::small_byte_vocabulary({}))).value();
  Options options;
  options.format = answer_format_by_name(name, {}, *tokenizer).value();
  options.tools = test_tools();
  options.starts_in_reasoning = starts_in_reasoning;
  return options;
}

TEST(OutputParser, SplitsReasoningFromContent) {
  EXPECT_EQ(show(parse(with("none"), {"<think>\nhm\n</think>\n\nYes."})), "[hm][Yes.]");
  EXPECT_EQ(show(parse(with("none"), {"\n<think></think>\nYes. "})), "[][Yes. ]");
  EXPECT_EQ(show(parse(with("none", true), {"hm", "</thi", "nk>", "\nYes"})), "[hm][Yes]");
  EXPECT_EQ(show(parse(with("none", true), {"cut off "})), "[cut off][]");
  EXPECT_EQ(show(parse(with("none"), {"No <think>x</think> here"})),
            "[][No <think>x</think> here]");
  EXPECT_EQ(show(parse(with("none"), {"  plain\n\n"})), "[][  plain\n\n]");
  EXPECT_EQ(show(parse(with("none"), {"almost <think"})), "[][almost <think]");
  EXPECT_EQ(show(parse(plain_text_options(), {"<think>hm</think>Yes"})),
            "[][<think>hm</think>Yes]");
}

TEST(OutputParser, TakesJsonToolCalls) {
  const Options options = with("hermes");
  EXPECT_EQ(show(parse(options,
                       {"Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":  1}}\n"
                        "</tool_call>\n<tool_call>{\"name\":\"g\"}</tool_call>"})),
            "[][Let me see.]f{\"a\":  1};g{};");
  EXPECT_EQ(
      show(parse(options,
                 {"<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>"})),
      "[][]f{\"a\":1};");
  EXPECT_EQ(
      show(parse(
          options,
          {"<tool_call>{\"x\":{\"arguments\":0},\"name\":\"f\",\"arguments\":{\"b\":\"}\\\"\"}}"
           "</tool_call>tail"})),
      "[][tail]f{\"b\":\"}\\\"\"};");
  // Ended behind a whole call: the call counts.
  EXPECT_EQ(show(parse(options, {"<tool_call>{\"name\":\"f\",\"arguments\":{}}"})), "[][]f{};");
  // One row an object that is a call all the same.
  const std::pair<const char*, const char*> calls[] = {
      {R"({"arguments":{"a":[1,{"b":"}"}]},"name":"f"})", R"(f{"a":[1,{"b":"}"}]};)"},
      {R"({"name":"f","parameters":{"a":1}})", R"(f{"a":1};)"},
      {R"({"id":7,"x":[{}],"y":"}","name":"f","z":null,"arguments":{}})", "f{};"},
      {R"({"name":"f","arguments":null})", "f{};"},
      {R"({"name":"f","arguments":""})", "f{};"},
      {R"({"name":"f","arguments":"{\"t\": \"\u00e9\\n\ud83d\ude00\"}"})",
       "f{\"t\": \"\xC3\xA9\\n\xF0\x9F\x98\x80\"};"},
      {R"({"\u006eame":"\u0066","arguments":{}})", "f{};"},
      {R"({"name":"f","arguments":{"a": oops}})", R"(f{"a": oops};)"},
      {R"({"name":"f","arguments":{"a":1}}})", R"(f{"a":1};)"},
      {R"({"name":"f","arguments":{"a":1} and more)", R"(f{"a":1};)"},
      // Where markers are spelled out, a string hides them.
      {R"({"name":"f","arguments":{"t":"</tool_call>"}})", R"(f{"t":"</tool_call>"};)"},
  };
  for (const auto& [text, expected] : calls) {
    EXPECT_EQ(show(parse(options, {"<tool_call>" + std::string(text) + "</tool_call>"})),
              "[][]" + std::string(expected));
  }
  // Not calls: nothing is lost.
  for (const std::string text :
       {"a <tool_call>{\"name\": 1}</tool_call> b",
        "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":\"no\"}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":nil}</tool_call>",
        "<tool_call>{\"arguments\":{}}</tool_call>", "<tool_call>[]</tool_call>",
        "x <tool_call>{\"name\":\"f\",\"argu", "<tool_call></tool_call>", "a </tool_call> b",
        "<tool_call>{\"name\":\"rm\",\"arguments\":{\"path\":\"/\"}}</tool_call> done",
        "<tool_call>{\"name\":\"F\",\"arguments\":{}}</tool_call>",
        "<tool_call>{\"name\":\"f \",\"arguments\":{}}</tool_call>"}) {
    EXPECT_EQ(show(parse(options, {text})), "[][" + text + "]");
  }
  // Depth is nothing to a parser that does not recurse.
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_EQ(
      parse(options, {"<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":" + deep + "}}</tool_call>"})
          .calls.at(0)
          .arguments,
      "{\"a\":" + deep + "}");
  EXPECT_EQ(show(parse(with("none"), {"<tool_call>{}</tool_call>"})),
            "[][<tool_call>{}</tool_call>]");
}

TEST(OutputParser, TakesGlmToolCalls) {
  const Options options = with("glm45");
  EXPECT_EQ(
      show(parse(options,
                 {"ok\n<tool_call>f\n<arg_key>zip</arg_key>\n<arg_value>01</arg_value>\n<arg_key>n"
                  "</arg_key>\n<arg_value>7</arg_value>\n<arg_key>o</arg_key>\n<arg_value>{\"a\": "
                  "[1]}</arg_value>\n<arg_key>t</arg_key>\n<arg_value>two\nlines</arg_value>\n</"
                  "tool_call>"})),
      "[][ok]f{\"zip\":\"01\",\"n\":7,\"o\":{\"a\":[1]},\"t\":\"two\\nlines\"};");
  EXPECT_EQ(show(parse(options,
                       {"<tool_call>now</tool_call><tool_call>f<arg_key>zip</arg_key><arg_value>5"
                        "</arg_value></tool_call>"})),
            "[][]now{};f{\"zip\":\"5\"};");
  EXPECT_EQ(show(parse(options, {"<tool_call>f<arg_key>m</arg_key><arg_value>42</arg_value>"
                                 "<arg_key>m</arg_key><arg_value>null</arg_value></tool_call>"})),
            "[][]f{\"m\":\"42\",\"m\":null};");
  // A key without a value is no argument; a value that stays open ends with the call.
  EXPECT_EQ(show(parse(options, {"<tool_call>f<arg_key>a</arg_key></tool_call>"})), "[][]f{};");
  EXPECT_EQ(
      show(parse(options, {"<tool_call>f\n<arg_key>zip</arg_key><arg_value>1</tool_call>"}, true)),
      "[][]f{\"zip\":\"1</tool_call>;");
  EXPECT_EQ(show(parse(options, {"<tool_call>f\n<arg_key>n</arg_key><arg_value>1</arg_value>"})),
            "[][]f{\"n\":1;");
  for (const std::string text : {"<tool_call>\n</tool_call>",
                                 "<tool_call>rm<arg_key>a</arg_key><arg_value>/</arg_value>"
                                 "</tool_call>",
                                 "<tool_call>f", "<tool_call>f g</tool_call>"}) {
    EXPECT_EQ(show(parse(options, {text})), "[][" + text + "]");
  }
}

// An answer that is cut: what is known of the call comes out, and nothing of the markup.
TEST(OutputParser, CutCalls) {
  const struct {
    const char* syntax;
    const char* text;
    const char* expected;
  } rows[] = {
      {"hermes", "ok\n<tool_", "[][ok\n]"},
      {"hermes", "ok\n<tool_call>", "[][ok]"},
      {"hermes", "ok\n<tool_call>\n{\"na", "[][ok]"},
      {"hermes", "<tool_call>{\"name\": \"f", "[][]"},
      {"hermes", "<tool_call>{\"name\": \"f\"", "[][]f;"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"argum", "[][]f;"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {", "[][]f{;"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"zip\": \"1",
       "[][]f{\"zip\": \"1;"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}", "[][]f{};"},
      {"hermes", "<tool_call>{\"name\": \"rm\", \"argum",
       "[][<tool_call>{\"name\": \"rm\", \"argum]"},
      {"glm45", "ok<tool_call>f", "[][ok]"},
      {"glm45", "ok<tool_call>f\n", "[][ok]f;"},
      {"glm45", "<tool_call>f<arg_key>zi", "[][]f{;"},
      {"glm45", "<tool_call>f<arg_key>zip</arg_key><arg_value>0", "[][]f{\"zip\":\"0;"},
      {"glm45", "<tool_call>f<arg_key>n</arg_key><arg_value>4", "[][]f{\"n\":;"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(show(parse(with(row.syntax), {row.text}, true)), row.expected) << row.text;
  }
}

// Whatever position it is cut at, content is the beginning of the content, the arguments are the
// beginning of the arguments, and they come out as they are written.
TEST(OutputParser, CutAtEveryByte) {
  const std::pair<const char*, std::string> answers[] = {
      {"hermes",
       "<think>so\n</think>\n\nLet me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": "
       "{\"zip\": "
       "\"a<b\\n</tool_\", \"n\": [1, {\"x\": 2}]}}\n</tool_call>\n<tool_call>{\"arguments\": "
       "{\"t\": 1}, \"name\": \"g\"}</tool_call>"},
      {"glm45",
       "<think>so</think>Let me see.\n<tool_call>f\n<arg_key>zip</arg_key>\n<arg_value>a<b\"\n"
       "</arg_</arg_value>\n<arg_key>n</arg_key>\n<arg_value>17</arg_value>\n</tool_call>"
       "<tool_call>now</tool_call>"}};
  for (const auto& [syntax, text] : answers) {
    const Parsed whole = parse(with(syntax), {text});
    ASSERT_EQ(whole.calls.size(), 2u) << show(whole);
    EXPECT_EQ(whole.content, "Let me see.");
    for (size_t end = 0; end <= text.size(); ++end) {
      const Parsed cut = parse(with(syntax), {text.substr(0, end)}, true);
      const size_t n_content = cut.content.find_last_not_of(" \n") + 1;
      EXPECT_TRUE(whole.content.starts_with(cut.content.substr(0, n_content))) << end << show(cut);
      EXPECT_TRUE(whole.reasoning.starts_with(cut.reasoning)) << end;
      ASSERT_LE(cut.calls.size(), whole.calls.size());
      for (size_t i = 0; i < cut.calls.size(); ++i) {
        EXPECT_EQ(cut.calls[i].name, whole.calls[i].name);
        EXPECT_TRUE(whole.calls[i].arguments.starts_with(cut.calls[i].arguments))
            << end << show(cut);
        if (i + 1 < cut.calls.size()) {
          EXPECT_EQ(cut.calls[i].arguments, whole.calls[i].arguments);
        }
      }
    }
  }
}

TEST(OutputParser, ArgumentsComeAsTheyAreWritten) {
  for (const auto& [syntax, text] :
       {std::pair("hermes",
                  "<tool_call>{\"name\": \"f\", \"arguments\": {\"zip\": \"0123456789\"}}"),
        std::pair("glm45",
                  "<tool_call>f<arg_key>zip</arg_key><arg_value>0123456789</arg_value>")}) {
    OutputParser parser(with(syntax));
    size_t n_pieces = 0;
    size_t longest = 0;
    for (const char c : std::string(text)) {
      OutputDelta delta;
      parser.push_text({&c, 1}, delta);
      for (const ToolCallDelta& call : delta.tool_calls) {
        ++n_pieces;
        longest = std::max(longest, call.arguments.size());
      }
    }
    EXPECT_GE(n_pieces, 11u);
    EXPECT_LE(longest, 8u);
  }
}

TEST(OutputParser, MarkersAsTokensLeaveSpelledOnesAlone) {
  Options options = with("hermes");
  for (const char* text : {"<think>", "</think>", "<tool_call>", "</tool_call>"}) {
    options.format.markers.push_back({text, static_cast<int32_t>(options.format.markers.size())});
  }
  constexpr size_t think_begin = 0, think_end = 1, tool_call_begin = 2, tool_call_end = 3;
  OutputParser parser(options);
  OutputDelta all;
  parser.push_marker(think_begin, all);
  EXPECT_TRUE(parser.in_reasoning());
  parser.push_text("not the end: </think> ", all);
  parser.push_marker(think_end, all);
  parser.push_text("\n<tool_call> is a tag ", all);
  parser.push_marker(tool_call_begin, all);
  parser.push_text("{\"name\":\"f\",\"arguments\":{\"t\":\"</tool_call>\"}}", all);
  parser.push_marker(tool_call_end, all);
  parser.push_marker(think_end, all);
  // The model forgot to close the first of these two.
  parser.push_marker(tool_call_begin, all);
  parser.push_text("{\"name\":\"f\",\"arguments\":{\"a", all);
  parser.push_marker(tool_call_begin, all);
  parser.push_text("{\"name\":\"g\"}", all);
  parser.push_marker(tool_call_end, all);
  parser.finish(false, all);
  EXPECT_EQ(parser.n_tool_calls(), 3u);
  EXPECT_EQ(parser.n_complete_tool_calls(), 2u);
  Parsed parsed;
  parsed.add(all);
  EXPECT_EQ(show(parsed),
            "[not the end: </think>][<tool_call> is a tag</think>]f{\"t\":\"</tool_call>\"};"
            "f{\"a;g{};");
}

// A text that goes on: nothing at its start is dropped, and no marker stands there.
TEST(OutputParser, GoesOnWithAText) {
  Options options = with("none");
  options.continues = true;
  EXPECT_EQ(show(parse(options, {"\n<think>x</think>"})), "[][\n<think>x</think>]");
  options.starts_in_reasoning = true;
  EXPECT_EQ(show(parse(options, {"\n more</think>\nYes"})), "[\n more][Yes]");
}

TEST(OutputParser, AnyCutGivesTheSame) {
  const std::vector<std::string> parts = {
      "<think>",
      "</think>",
      "<tool_call>",
      "</tool_call>",
      "<tool",
      "_call>",
      "</",
      "<",
      "think>",
      "\n",
      " ",
      "text",
      "{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
      "f<arg_key>k</arg_key><arg_value>v</arg_value>",
      "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
      "f",
      "</arg_value>",
      "你"};
  std::mt19937 random(17);
  for (int round = 0; round < 4000; ++round) {
    std::string text;
    for (size_t i = 0; i < random() % 12; ++i) text += parts[random() % parts.size()];
    Options options = with(random() % 3 == 0   ? "none"
                           : random() % 2 == 0 ? "hermes"
                                               : "glm45",
                           random() % 2 == 0);
    const bool cut = random() % 2 == 0;
    const std::string whole = show(parse(options, {text}, cut));
    std::vector<std::string> pieces;
    for (size_t i = 0; i < text.size();) {
      const size_t n = 1 + random() % 7;
      pieces.push_back(text.substr(i, n));
      i += n;
    }
    ASSERT_EQ(show(parse(options, pieces, cut)), whole) << text;
  }
}

// ---- From token ids.

const std::vector<std::pair<std::string, TokenType>> kTokens = {
    {"<|im_start|>", TokenType::control},     {"<|im_end|>", TokenType::control},
    {"<think>", TokenType::control},          {"</think>", TokenType::user_defined},
    {"<tool_call>", TokenType::user_defined}, {"</tool_call>", TokenType::user_defined},
    {"<arg_key>", TokenType::control},        {"</arg_key>", TokenType::control},
    {"<arg_value>", TokenType::control},      {"</arg_value>", TokenType::control}};

Options token_options(const Tokenizer& tokenizer, std::string_view name = "hermes") {
  Options options;
  options.format = answer_format_by_name(name, {}, tokenizer).value();
  options.tools = test_tools();
  return options;
}

// `tokens`: marker and control tokens in the text are tokens; else everything is ordinary text.
Parsed stream(const Tokenizer& tokenizer, const std::string& text, Options options,
              const std::vector<std::string>& stops = {}, bool* stopped = nullptr,
              bool tokens = true) {
  auto created = ResponseStream::create(tokenizer, std::move(options), stops);
  EXPECT_TRUE(created.ok());
  Parsed all;
  for (const int32_t id : tokenizer.encode(text, false, tokens)) all.add(created->push(id));
  all.add(created->finish(false));
  if (stopped != nullptr) *stopped = created->stopped();
  return all;
}

TEST(ResponseStream, TurnsTokensIntoDeltas) {
  auto tokenizer = std::move(Tokenizer::build(testing::small_byte_vocabulary(kTokens))).value();
  const Options options = token_options(*tokenizer);
  EXPECT_EQ(show(stream(*tokenizer,
                        "<think>\nhm \xF0\x9F\x98\x80</think>\n\nhello<|im_start|> "
                        "world<tool_call>{\"name\":\"f\"}"
                        "</tool_call><|im_end|>",
                        options)),
            "[hm \xF0\x9F\x98\x80][hello world]f{};");
  bool stopped = false;
  EXPECT_EQ(
      show(stream(*tokenizer, "<think>a STOX</think>one STOP two", options, {"STOP"}, &stopped)),
      "[a STOX][one ]");
  EXPECT_TRUE(stopped);
  // A stop string does not reach across a marker, and what was held back for it is not lost.
  EXPECT_EQ(show(stream(*tokenizer, "<think>ST</think>OP", options, {"STOP"}, &stopped)),
            "[ST][OP]");
  EXPECT_FALSE(stopped);
  // Not taken apart: shown as it is.
  EXPECT_EQ(show(stream(*tokenizer, "<think>a</think><tool_call>b</tool_call><|im_end|>",
                        plain_text_options())),
            "[][<think>a</think><tool_call>b</tool_call>]");
  EXPECT_EQ(show(stream(*tokenizer,
                        "<tool_call>f<arg_key>zip</arg_key><arg_value>v</arg_value></tool_call>",
                        token_options(*tokenizer, "glm45"))),
            "[][]f{\"zip\":\"v\"};");
}

// The same bytes, written by other tokens, are text.
TEST(ResponseStream, SpelledMarkersAreText) {
  auto tokenizer = std::move(Tokenizer::build(testing::small_byte_vocabulary(kTokens))).value();
  for (const std::string_view syntax : {"hermes", "glm45"}) {
    const Options options = token_options(*tokenizer, syntax);
    for (const std::string text :
         {"<think> hidden </think>", "a</think>b",
          "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
          "<tool_call>f<arg_key>zip</arg_key><arg_value>1</arg_value></tool_call>",
          "<|im_start|>x<|im_end|>"}) {
      EXPECT_EQ(show(stream(*tokenizer, text, options, {}, nullptr, false)), "[][" + text + "]");
    }
    // Inside a call as well: here a value that spells the end of a call and another argument.
    auto created = ResponseStream::create(*tokenizer, options, {});
    ASSERT_TRUE(created.ok());
    Parsed all;
    const auto say = [&](const std::string& text, bool tokens) {
      for (const int32_t id : tokenizer->encode(text, false, tokens)) all.add(created->push(id));
    };
    const bool json = syntax == "hermes";
    say("<tool_call>", true);
    say(json ? "{\"name\":\"f\",\"arguments\":{\"zip\":\"" : "f", false);
    if (!json) say("<arg_key>zip</arg_key><arg_value>", true);
    say("</arg_value><arg_key>n</arg_key></tool_call><tool_call>", false);
    say(json ? "\"}}" : "", false);
    if (!json) say("</arg_value>", true);
    say("</tool_call>", true);
    all.add(created->finish(false));
    EXPECT_EQ(show(all),
              "[][]f{\"zip\":\"</arg_value><arg_key>n</arg_key></tool_call><tool_call>\"};");
  }
}

TEST(ResponseStream, CountsReasoningTokensAndFollowsThePrompt) {
  auto tokenizer = std::move(Tokenizer::build(testing::small_byte_vocabulary(kTokens))).value();
  const auto format = answer_format_by_name("hermes", {}, *tokenizer);
  ASSERT_TRUE(format.ok());
  ChatPrompt prompt;
  prompt.inside_reasoning = true;
  const Options options = parser_options(*format, *tokenizer, prompt, test_tools());
  EXPECT_EQ(options.format.markers.size(), 4u);
  EXPECT_TRUE(options.format.calls.exists());
  const Options without_tools = parser_options(*format, *tokenizer, prompt, {});
  EXPECT_EQ(without_tools.format.markers.size(), 2u);
  EXPECT_FALSE(without_tools.format.calls.exists());
  auto created = ResponseStream::create(*tokenizer, options, {});
  ASSERT_TRUE(created.ok());
  Parsed all;
  for (const int32_t id : tokenizer->encode("hmm</think>yes", false, true))
    all.add(created->push(id));
  EXPECT_FALSE(created->parser().in_reasoning());
  all.add(created->finish(false));
  EXPECT_EQ(show(all), "[hmm][yes]");
  EXPECT_EQ(created->n_reasoning_tokens(), 4u);  // h m m </think>
  // Where nothing was thought, no token is reasoning.
  auto thoughtless = ResponseStream::create(*tokenizer, options, {});
  for (const int32_t id : tokenizer->encode("</think>\nyes", false, true)) thoughtless->push(id);
  EXPECT_EQ(thoughtless->n_reasoning_tokens(), 0u);
  EXPECT_FALSE(ResponseStream::create(*tokenizer, {}, {""}).ok());
}

}  // namespace
}  // namespace floe
