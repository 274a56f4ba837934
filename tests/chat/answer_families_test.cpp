// Every family of answers: what models say, written as the family writes it, must come out as it
// was meant, however it is cut.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "base/json.h"
#include "chat/answer_text.h"
#include "chat/response_stream.h"
#include "text/small_vocabulary.h"
#include "text/unicode.h"

namespace floe {
namespace {

using testing::Meant;
using testing::MeantCall;

// An answer put together from its deltas, as a client does it.
struct Read {
  std::string reasoning;
  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
  size_t n_complete = 0;

  void add(const OutputDelta& delta) {
    reasoning += delta.reasoning_content;
    content += delta.content;
    for (const ToolCallDelta& call : delta.tool_calls) {
      if (!call.name.empty()) calls.push_back({call.name, {}});
      ASSERT_EQ(call.index + 1, calls.size()) << "a call goes on behind the next one";
      calls.back().second += call.arguments;
    }
  }
  bool operator==(const Read&) const = default;
};

std::string show(const Read& read) {
  std::string out = "[" + read.reasoning + "][" + read.content + "]";
  for (const auto& [name, arguments] : read.calls) out += name + arguments + ";";
  return out;
}

ChatTools family_tools() {
  static const ChatTools tools = make_chat_tools(Json::parse(R"([
    {"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{
      "zip":{"type":"string"},"n":{"type":"integer"},"m":{"type":["string","null"]},
      "o":{"type":"object"},"b":{"type":"boolean"},"x":{"type":"number"},
      "a":{"type":"array"}}}}},
    {"name":"g"},{"name":"get-time.now"}])"))
                                     .value();
  return tools;
}

Read read_pieces(const OutputParser::Options& options,
                 std::initializer_list<std::string_view> pieces, bool cut = false) {
  OutputParser parser(options);
  Read all;
  for (const std::string_view piece : pieces) {
    OutputDelta delta;
    parser.push_text(piece, delta);
    all.add(delta);
  }
  OutputDelta last;
  parser.finish(cut, last);
  all.add(last);
  EXPECT_EQ(parser.n_tool_calls(), all.calls.size());
  all.n_complete = parser.n_complete_tool_calls();
  EXPECT_LE(all.n_complete, all.calls.size());
  return all;
}

Read read_tokens(const Tokenizer& tokenizer, const OutputParser::Options& options,
                 std::span<const int32_t> ids, bool cut) {
  auto stream = ResponseStream::create(tokenizer, options, {});
  EXPECT_TRUE(stream.ok());
  Read all;
  for (const int32_t id : ids) all.add(stream->push(id));
  all.add(stream->finish(cut));
  all.n_complete = stream->parser().n_complete_tool_calls();
  return all;
}

const Tokenizer& without_tokens() {
  static const auto tokenizer =
      std::move(Tokenizer::build(testing::small_byte_vocabulary({}))).value();
  return *tokenizer;
}

// With a token for each marker of the format for which models' vocabularies have one.
const Tokenizer& with_tokens(const std::string& name) {
  static std::map<std::string, std::unique_ptr<const Tokenizer>> all;
  std::unique_ptr<const Tokenizer>& tokenizer = all[name];
  if (tokenizer != nullptr) return *tokenizer;
  std::vector<std::pair<std::string, TokenType>> tokens;
  for (const char* marker : testing::kMarkerTokens) {
    const AnswerFormat format = answer_format_by_name(name, {}, without_tokens()).value();
    if (testing::answer_text(format, {.reasoning = "r", .calls = {{"f"}}}).find(marker) !=
        std::string::npos) {
      tokens.emplace_back(marker, TokenType::control);
    }
  }
  tokenizer = std::move(Tokenizer::build(testing::small_byte_vocabulary(tokens))).value();
  return *tokenizer;
}

OutputParser::Options options_for(std::string_view name, const Tokenizer& tokenizer) {
  OutputParser::Options options;
  options.format = answer_format_by_name(name, {}, tokenizer).value();
  options.tools = family_tools();
  return options;
}

std::string without_end_blanks(const std::string& text) {
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

// A cut answer says the beginning of what the whole one says, and no markup of its own.
void expect_beginning(const Read& cut, const Read& whole, const std::string& where) {
  const std::string content = without_end_blanks(cut.content);
  EXPECT_TRUE(whole.content.starts_with(content)) << where << show(cut) << "\n" << show(whole);
  EXPECT_TRUE(whole.reasoning.starts_with(cut.reasoning)) << where << show(cut);
  ASSERT_LE(cut.calls.size(), whole.calls.size()) << where;
  for (size_t i = 0; i < cut.calls.size(); ++i) {
    EXPECT_EQ(cut.calls[i].first, whole.calls[i].first) << where;
    EXPECT_TRUE(whole.calls[i].second.starts_with(cut.calls[i].second)) << where << show(cut);
    if (i + 1 == cut.calls.size()) continue;
    EXPECT_EQ(cut.calls[i].second, whole.calls[i].second) << where;
  }
}

struct Counts {
  size_t n_outputs = 0;
  size_t n_cuts = 0;
};

// Reads `text` whole, in two pieces and cut off at every byte, in random pieces, and as tokens.
// Returns how it reads.
Read read_every_way(std::string_view name, const std::string& text, std::mt19937& random,
                    Counts& counts) {
  const OutputParser::Options options = options_for(name, without_tokens());
  const Read whole = read_pieces(options, {text});
  const std::string_view all = text;
  for (size_t at = 0; at <= all.size(); ++at) {
    const Read pieces = read_pieces(options, {all.substr(0, at), all.substr(at)});
    EXPECT_EQ(pieces, whole) << name << " at byte " << at << " of " << text << "\n"
                             << show(pieces) << "\n"
                             << show(whole);
    expect_beginning(read_pieces(options, {all.substr(0, at)}, true), whole,
                     std::string(name) + " cut at " + std::to_string(at) + " of " + text + "\n");
    const size_t other = random() % (all.size() + 1);
    const auto [first, second] = std::minmax(at, other);
    EXPECT_EQ(read_pieces(options, {all.substr(0, first), all.substr(first, second - first),
                                    all.substr(second)}),
              whole)
        << name << " at bytes " << first << " and " << second << " of " << text;
    counts.n_cuts += 3;
  }
  // As tokens the same, cut behind every token.
  const Tokenizer& tokenizer = with_tokens(std::string(name));
  const OutputParser::Options of_tokens = options_for(name, tokenizer);
  const std::vector<int32_t> ids = tokenizer.encode(text, false, true);
  const Read tokens = read_tokens(tokenizer, of_tokens, ids, false);
  EXPECT_EQ(tokens, whole) << name << " as tokens: " << text << "\n"
                           << show(tokens) << "\n"
                           << show(whole);
  for (size_t n = 0; n <= ids.size(); ++n) {
    const std::span<const int32_t> first = std::span(ids).first(n);
    // A character that is cut is told as U+FFFD, which the whole answer does not have.
    if (!is_valid_utf8(tokenizer.decode(first, true))) continue;
    expect_beginning(read_tokens(tokenizer, of_tokens, first, true), tokens,
                     std::string(name) + " cut behind " + std::to_string(n) + " tokens of " + text);
    ++counts.n_cuts;
  }
  ++counts.n_outputs;
  return whole;
}

Json args(const char* text) {
  return Json::parse(text);
}

// What models say: the same for all families.
std::vector<Meant> meant_answers() {
  const MeantCall weather{"f", args(R"({"zip": "a b", "n": 17})")};
  const MeantCall now{"g", args("{}")};
  std::vector<Meant> all = {
      {.before = "Hello."},
      {.reasoning = "Let me think.\nTwice.", .before = "Yes."},
      {.before = "a < b && c[0] > {d} | </e> \"f\" `g`"},
      {.before = "ünï 你好 😀 <\xEF\xBD\x9C ▁"},
      {.calls = {now}},
      {.calls = {weather}},
      {.calls = {{"get-time.now", args("{}")}}},
      {.calls = {weather, now}},
      {.calls = {now, weather, now, weather}},
      {.before = "Let me see.", .calls = {weather}},
      {.reasoning = "hm", .calls = {weather}},
      {.reasoning = "hm", .before = "So:", .calls = {now, weather}},
      {.before = "One.", .calls = {weather}, .after = "Two."},
      {.calls = {now}, .after = "Done 你."},
      {.calls = {weather}, .second_calls = {now}},
      {.before = "One.", .calls = {weather}, .second_calls = {now, weather}},
  };
  for (const char* arguments : {
           R"({"zip": "01"})",
           R"({"zip": ""})",
           R"({"zip": "null"})",
           R"({"zip": "{\"a\": 1}"})",
           R"({"zip": "two\nlines\n\nand \"quotes\" and \\ and \t"})",
           R"({"zip": "  padded  "})",
           R"({"zip": "ünï 你好 😀"})",
           R"({"zip": "a < b </b> </param <tool [TOOL {}[](),:;=' "})",
           R"({"n": -3})",
           R"({"x": 1.5})",
           R"({"b": true})",
           R"({"b": false, "m": null})",
           R"({"m": "null?"})",
           R"({"a": []})",
           R"({"a": [1, [2, {"k": "v"}], null, true, "s,]}"]})",
           R"({"o": {}})",
           R"({"o": {"k": {"l": [{"m": "a\nb"}]}, "n": -1}})",
           R"({"zip": "x", "n": 1, "m": "y", "o": {"p": 1}, "b": true, "x": 0.25, "a": [1]})",
       }) {
    all.push_back({.calls = {{"f", args(arguments)}}});
  }
  return all;
}

class AnswerFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(AnswerFamily, SaysWhatWasMeantHoweverItIsCut) {
  std::mt19937 random(17);
  Counts counts;
  const AnswerFormat format = options_for(GetParam(), without_tokens()).format;
  for (const Meant& meant : meant_answers()) {
    const std::string text = testing::answer_text(format, meant);
    const Read read = read_every_way(GetParam(), text, random, counts);
    EXPECT_EQ(read.reasoning, meant.reasoning) << text;
    EXPECT_EQ(read.content, meant.before + meant.after) << text << "\n" << show(read);
    std::vector<MeantCall> calls = meant.calls;
    calls.insert(calls.end(), meant.second_calls.begin(), meant.second_calls.end());
    ASSERT_EQ(read.calls.size(), calls.size()) << text << "\n" << show(read);
    EXPECT_EQ(read.n_complete, calls.size()) << text;
    for (size_t i = 0; i < calls.size(); ++i) {
      EXPECT_EQ(read.calls[i].first, calls[i].name);
      const Result<Json> arguments = parse_json(read.calls[i].second);
      ASSERT_TRUE(arguments.ok()) << text << "\n" << show(read);
      EXPECT_EQ(dump_json(*arguments), dump_json(calls[i].arguments)) << text;
    }
  }
  // What only looks like a call is text, markup and all.
  for (const Meant& meant : {Meant{.before = "x ", .calls = {{"rm", args(R"({"zip": "/"})")}}},
                             Meant{.calls = {{"F", args("{}")}}, .after = " y"}}) {
    const std::string text = testing::answer_text(format, meant);
    const Read read = read_every_way(GetParam(), text, random, counts);
    EXPECT_EQ(read.calls.size(), 0u) << text;
    EXPECT_EQ(read.content, testing::answer_content(format, text)) << text;
    OutputParser::Options none = options_for(GetParam(), without_tokens());
    none.tools = nullptr;
    EXPECT_EQ(read_pieces(none, {text}).content, read.content) << text;
  }
  EXPECT_GE(counts.n_outputs, 20u);
  RecordProperty("outputs", static_cast<int>(counts.n_outputs));
  RecordProperty("cuts", static_cast<int>(counts.n_cuts));
  if (std::getenv("FLOE_SHOW_COUNTS") != nullptr) {
    std::printf("%s: %zu outputs, %zu cuts\n", GetParam().c_str(), counts.n_outputs, counts.n_cuts);
  }
}

std::vector<std::string> families() {
  std::vector<std::string> all;
  for (const std::string_view name : answer_format_names()) {
    if (name != "none") all.emplace_back(name);
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, AnswerFamily, ::testing::ValuesIn(families()),
                         [](const auto& instance) { return instance.param; });

// What models write besides: one row an answer.
TEST(AnswerFamilies, Variations) {
  const struct {
    const char* format;
    const char* text;
    const char* expected;
  } rows[] = {
      // Qwen3-Coder: values without lines of their own, JSON all the same, missing ends.
      {"qwen3_coder", "<tool_call><function=f><parameter=zip>01</parameter></function></tool_call>",
       "[][]f{\"zip\":\"01\"};"},
      {"qwen3_coder",
       "<tool_call>\n<function=f>\n<parameter=zip>\n\n\nx\n\n</parameter>\n</function>\n"
       "</tool_call>",
       "[][]f{\"zip\":\"\\n\\nx\\n\"};"},
      {"qwen3_coder", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"n\": 1}}\n</tool_call>",
       "[][]f{\"n\": 1};"},
      {"qwen3_coder",
       "<tool_call>\n<function=g>\n</function>\n<function=g>\n</function>\n"
       "</tool_call>",
       "[][]g{};g{};"},
      {"qwen3_coder",
       "<tool_call>\n<function=rm>\n</function>\n<function=g>\n</function>\n"
       "</tool_call>\nx",
       "[][<tool_call>\n<function=rm>\n</function>x]g{};"},
      {"qwen3_coder", "<tool_call>\n<function=g>\n</tool_call>", "[][]g{};"},
      {"qwen3_coder", "<tool_call>hello</tool_call>", "[][<tool_call>hello</tool_call>]"},
      {"qwen3_coder",
       "<tool_call>\n<function=f>\n<parameter=n>\nseven\n</parameter>\n</function>"
       "</tool_call>",
       "[][]f{\"n\":\"seven\"};"},
      // Values as Python writes them, where they are no strings.
      {"seed_oss",
       "<seed:tool_call>\n<function=f>\n<parameter=b>True</parameter>\n<parameter=o>{'a': [1, "
       "None]}</parameter>\n<parameter=zip>True</parameter>\n</function>\n</seed:tool_call>",
       "[][]f{\"b\":true,\"o\":{\"a\":[1,null]},\"zip\":\"True\"};"},
      // DeepSeek.
      {"deepseek_v32",
       "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"zip\" "
       "string=\"false\">7</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
       "[][]f{\"zip\":7};"},
      {"deepseek_v3",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"n\": "
       "1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>rm\n```json\n{}\n```"
       "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```"
       "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       "[][<｜tool▁call▁begin｜>function<｜tool▁sep｜>rm\n```json\n{}\n```<｜tool▁call▁end｜>]"
       "f{\"n\": 1};g{};"},
      {"deepseek_v31",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>g<｜tool▁sep｜><｜tool▁call▁end｜>"
       "<｜tool▁calls▁end｜>",
       "[][]g{};"},
      {"deepseek_v31", "<｜tool▁calls▁begin｜>oops<｜tool▁calls▁end｜>",
       "[][<｜tool▁calls▁begin｜>oops<｜tool▁calls▁end｜>]"},
      // Kimi: the number is not part of the name, nor is functions.
      {"kimi_k2",
       "<|tool_calls_section_begin|><|tool_call_begin|>f:12<|tool_call_argument_begin|>{\"n\":1}"
       "<|tool_call_end|><|tool_calls_section_end|>",
       "[][]f{\"n\":1};"},
      {"kimi_k2",
       "<|tool_calls_section_begin|>\n<|tool_call_begin|> functions.get-time.now:0 "
       "<|tool_call_argument_begin|> {} <|tool_call_end|>\n<|tool_calls_section_end|>",
       "[][]get-time.now{};"},
      // MiniMax M2.
      {"minimax_m2",
       "<minimax:tool_call><invoke name=\"g\"></invoke><invoke name=\"rm\"><parameter "
       "name=\"x\">1</parameter></invoke><invoke name=\"g\"></invoke></minimax:tool_call>",
       "[][<invoke name=\"rm\"><parameter name=\"x\">1</parameter></invoke>]g{};g{};"},
      // Mistral: both forms, with and without [ARGS].
      {"mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"n\": 1}}]", "[][]f{\"n\": 1};"},
      {"mistral", "[TOOL_CALLS]f{\"n\": 1}[TOOL_CALLS]g[CALL_ID]abcdefgh1[ARGS]{}",
       "[][]f{\"n\": 1};g{};"},
      {"mistral", "[TOOL_CALLS] is a marker", "[][[TOOL_CALLS] is a marker]"},
      {"mistral_json",
       "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"n\": 1}, \"id\": \"abcdefgh1\"}, "
       "{\"name\": \"g\", \"arguments\": {}}]",
       "[][]f{\"n\": 1};g{};"},
      {"mistral_json", "[TOOL_CALLS][]", "[][[TOOL_CALLS][]]"},
      // Llama 3.
      {"llama3_json", "{\"name\": \"f\", \"parameters\": {\"n\": 1}}", "[][]f{\"n\": 1};"},
      {"llama3_json", "\n {\"type\": \"function\", \"name\": \"g\", \"parameters\": {}}",
       "[][]g{};"},
      {"llama3_json",
       "<|python_tag|>{\"name\": \"g\", \"parameters\": {}}; {\"name\": \"f\", \"parameters\": "
       "{\"n\": 1}}",
       "[][]g{};f{\"n\": 1};"},
      {"llama3_json", "{\"name\": \"g\", \"parameters\": {}} Done.", "[][ Done.]g{};"},
      {"llama3_json", "So {\"name\": \"g\", \"parameters\": {}}",
       "[][So {\"name\": \"g\", \"parameters\": {}}]"},
      {"llama3_json", "{\"a\": 1}", "[][{\"a\": 1}]"},
      {"llama3_json", "{\"name\": \"rm\", \"parameters\": {}}",
       "[][{\"name\": \"rm\", \"parameters\": {}}]"},
      {"llama3_json", "<|python_tag|>print(1)", "[][<|python_tag|>print(1)]"},
      // Gemma.
      {"gemma4", "<|tool_call>call:f{zip:<|\"|>a}b,<|\"|>,n:3,o:{k:[1,None,True]}}<tool_call|>",
       "[][]f{\"zip\":\"a}b,\",\"n\":3,\"o\":{\"k\":[1,null,true]}};"},
      {"gemma4", "<|tool_call>call:f{zip:42}<tool_call|>", "[][]f{\"zip\":\"42\"};"},
      {"gemma4", "<|tool_call>call:f{\"n\":3}<tool_call|>", "[][]f{\"n\":3};"},
      {"gemma4", "<|tool_call>call:f{n:}<tool_call|>", "[][]f{\"n\":;"},
      {"gemma4", "<|channel>thought\nhm<channel|>Yes.", "[hm][Yes.]"},
      {"gemma3", "```tool_code\nf(zip='it''s', n=3)\n```", "[][]f{\"zip\":\"it\";"},
      {"gemma3", "```tool_code\nprint(f(n=3))\n```", "[][```tool_code\nprint(f(n=3))\n```]"},
      {"lfm2",
       "<|tool_call_start|>[f(zip='a\\'b\\n\\x41\\u00e9', a=(1, 2.5, {'k': None}))]"
       "<|tool_call_end|>ok",
       "[][ok]f{\"zip\":\"a'b\\nA\xC3\xA9\",\"a\":[1,2.5,{\"k\":null}]};"},
      {"lfm2", "<|tool_call_start|>[g(1)]<|tool_call_end|>", "[][]g{;"},
      // Others.
      {"apriel", "<tool_calls>[{\"name\": \"g\", \"arguments\": {}, \"id\": \"1\"}]</tool_calls>",
       "[][]g{};"},
      {"command_r",
       "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": "
       "{\"n\": 1}}\n]<|END_ACTION|>",
       "[][]f{\"n\": 1};"},
      {"functionary_v31", "Yes.<function=f>{\"n\": 1}</function><function=g>{}</function>",
       "[][Yes.]f{\"n\": 1};g{};"},
      {"hermes", "<tool_call>[{\"name\": \"g\", \"arguments\": {}}, {\"name\": \"f\"}]</tool_call>",
       "[][]g{};f{};"},
  };
  std::mt19937 random(3);
  Counts counts;
  for (const auto& row : rows) {
    EXPECT_EQ(show(read_every_way(row.format, row.text, random, counts)), row.expected)
        << row.format << ": " << row.text;
  }
}

// gpt-oss: the prompt ends behind the role of the first message.
TEST(AnswerFamilies, Harmony) {
  const std::pair<const char*, const char*> rows[] = {
      {"<|channel|>final<|message|>Yes.", "[][Yes.]"},
      {"<|channel|>final<|message|>Yes.<|return|>", "[][Yes.]"},
      {"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
       "[hm][Yes.]"},
      {"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.f <|constrain|>json<|message|>{\"n\": 1}<|call|>",
       "[hm][]f{\"n\": 1};"},
      {"<|channel|>analysis<|message|>hm<|end|><|start|>assistant to=functions.f<|channel|>"
       "commentary json<|message|>{\"n\": 1}<|call|>",
       "[hm][]f{\"n\": 1};"},
      {" to=functions.g<|channel|>commentary<|message|>{}", "[][]g{};"},
      {"<|channel|>commentary to=g<|message|><|call|>", "[][]g{};"},
      {"<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary "
       "to=functions.g<|message|>{}<|call|>",
       "[][I look.]g{};"},
      {"<|channel|>analysis to=functions.g<|message|>{}<|call|>", "[][]g{};"},
      {"<|channel|>commentary to=functions.rm<|message|>{}<|call|>",
       "[][<|channel|>commentary to=functions.rm<|message|>{}<|call|>]"},
      {"<|channel|>commentary to=functions.g<|message|>no<|call|>",
       "[][<|channel|>commentary to=functions.g<|message|>no<|call|>]"},
      {"<|channel|>commentary to=functions.f<|message|>{\"zip\": \"<|call|>\"}<|call|>",
       "[][]f{\"zip\": \"<|call|>\"};"},
      {"Hello.", "[][Hello.]"},
      {"total", "[][total]"},
      {" to you", "[][ to you]"},
      {"<|message|>Hi", "[][Hi]"},
      {"<|channel|>final<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B",
       "[][AB]"},
      {"<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b",
       "[ab][]"},
      {"<|channel|>analysis<|message|>a<|end|>b", "[a][b]"},
      {"<|channel|>final<|message|>x < y <|b", "[][x < y <|b]"},
      {"<|channel|>commentary to=functions.g<|message|>{}<|call|><|start|>assistant<|channel|>"
       "commentary to=functions.f<|message|>{\"n\":2}<|call|>",
       "[][]g{};f{\"n\":2};"},
  };
  std::mt19937 random(4);
  Counts counts;
  for (const auto& [text, expected] : rows) {
    // A marker that is spelled inside a string means nothing there, but a token does. And cut
    // behind its name, what is no call in the end is a call that was begun.
    const std::string_view row = text;
    if (row.find("\"<|call|>\"") != row.npos || row.find(">no<") != row.npos) {
      EXPECT_EQ(show(read_pieces(options_for("openai", without_tokens()), {text})), expected);
      continue;
    }
    EXPECT_EQ(show(read_every_way("openai", text, random, counts)), expected) << text;
  }
}

}  // namespace
}  // namespace floe
