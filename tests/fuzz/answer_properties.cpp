#include "fuzz/answer_properties.h"

#include <algorithm>
#include <iterator>
#include <memory>

#include "base/json.h"
#include "chat/answer_text.h"
#include "chat/chat_template.h"
#include "chat/response_stream.h"
#include "server/openai_request.h"
#include "server/openai_response.h"
#include "text/small_vocabulary.h"
#include "text/unicode.h"

namespace floe {
namespace {

constexpr const char* kPieces[] = {
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "\n",
    " ",
    "text",
    "f",
    "get_weather",
    "rm",
    "zip",
    "n",
    "42",
    "null",
    "\"",
    "\\",
    "\\ud83d",
    "\\u0000",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "{\"name\": \"f\", \"arguments\": {",
    "{\"name\": \"f\", \"arguments\": {\"zip\": \"a b\", \"n\": 1}}",
    "{\"name\": \"rm\", \"arguments\": {\"zip\": \"",
    "{\"arguments\": {\"n\": [{}]}, \"name\": \"get_weather\"}",
    "{\"name\": \"f\", \"parameters\": \"{\\\"zip\\\": 1}\"}",
    "{\"name\": \"get_weather\"}",
    "\xC3\xA9\xF0\x9F\x98\x80",
};

// Those, and the texts between which the format's calls and reasoning stand.
std::vector<std::string> pieces_of(const AnswerFormat& format) {
  std::vector<std::string> pieces(std::begin(kPieces), std::end(kPieces));
  const CallSyntax& calls = format.calls;
  for (const std::string& text :
       {format.reasoning.open, format.reasoning.close, calls.begin, calls.before_name,
        calls.name_prefix, calls.after_name, calls.after_arguments, calls.between, calls.end,
        calls.before_key, calls.after_key, calls.before_value, calls.before_json_value,
        calls.after_value, calls.before_id}) {
    if (!text.empty()) pieces.push_back(text);
  }
  if (calls.layout == CallLayout::harmony) {
    for (const char* text : {"<|start|>assistant", "<|channel|>final<|message|>",
                             "<|channel|>commentary<|message|>", " to=functions.f"}) {
      pieces.emplace_back(text);
    }
  }
  return pieces;
}

struct Served {
  std::unique_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat;
  AnswerFormat answers;
  std::vector<int32_t> specials;
  std::vector<std::string> pieces;  // texts that answers of this family are made of
};

Served make_served(const char* format, const std::vector<std::string>& specials,
                   std::string_view parser = "auto") {
  std::vector<std::pair<std::string, TokenType>> tokens;
  for (const std::string& text : specials) tokens.emplace_back(text, TokenType::control);
  Served served;
  served.tokenizer = std::move(Tokenizer::build(testing::small_byte_vocabulary(tokens))).value();
  served.chat = ChatTemplate::create(*builtin_chat_template(format), *served.tokenizer).value();
  served.answers = parser == "auto" ? detect_answer_format({}, *served.tokenizer)
                                    : answer_format_by_name(parser, {}, *served.tokenizer).value();
  for (const std::string& text : specials) {
    served.specials.push_back(*served.tokenizer->find_special(text));
  }
  served.pieces = pieces_of(served.answers);
  return served;
}

// The tokens that a model of this family has for the markers of its answers.
std::vector<std::string> marker_tokens(std::string_view parser) {
  std::vector<std::string> tokens = {"<|im_start|>", "<|im_end|>"};
  const auto plain = std::move(Tokenizer::build(testing::small_byte_vocabulary({}))).value();
  const AnswerFormat format = answer_format_by_name(parser, {}, *plain).value();
  std::string all = parser == "openai" ? "<|start|> <|end|> <|constrain|> <|return|>" : "";
  for (const std::string& text : pieces_of(format)) all += text + " ";
  for (const char* token : testing::kMarkerTokens) {
    if (all.find(token) != std::string::npos) tokens.emplace_back(token);
  }
  return tokens;
}

// Every format of prompts, and ChatML once more without tokens for its markers; then every family
// of answers, with tokens and without.
const std::vector<Served>& all_served() {
  static const std::vector<Served> all = [] {
    std::vector<Served> made;
    made.push_back(make_served(
        "floe-nano",
        {"<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<think>",
         "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"}));
    made.push_back(make_served("qwen3", {"<|im_start|>", "<|im_end|>", "<think>", "</think>",
                                         "<tool_call>", "</tool_call>"}));
    made.push_back(make_served("chatml", {"<|im_start|>", "<|im_end|>"}));
    made.push_back(
        make_served("glm", {"[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>",
                            "<|observation|>", "<think>", "</think>", "<tool_call>", "</tool_call>",
                            "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "/nothink"}));
    made.push_back(make_served(
        "glm-compact", {"[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>",
                        "<|observation|>", "<think>", "</think>", "<tool_call>", "</tool_call>",
                        "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"}));
    for (const std::string_view parser : answer_format_names()) {
      made.push_back(make_served("chatml", marker_tokens(parser), parser));
      made.push_back(make_served("chatml", {"<|im_start|>", "<|im_end|>"}, parser));
    }
    return made;
  }();
  return all;
}

constexpr const char* kTools = R"([
  {"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{
    "zip":{"type":"string"},"n":{"type":"integer"},"m":{"type":["string","null"]}}}}},
  {"type":"function","function":{"name":"get_weather"}}])";

// The answer as the client sees it.
struct Seen {
  std::string reasoning;
  std::string content;
  struct Call {
    std::string id;
    std::string name;
    std::string arguments;
    bool operator==(const Call&) const = default;
  };
  std::vector<Call> calls;
  bool operator==(const Seen&) const = default;
};

std::optional<Seen> read_message(const Json& message) {
  Seen seen;
  if (message.contains("reasoning_content")) seen.reasoning = message["reasoning_content"];
  if (message["content"].is_string()) seen.content = message["content"];
  if (!message.contains("tool_calls")) return seen;
  for (const Json& call : message["tool_calls"]) {
    if (call["type"] != "function") return std::nullopt;
    seen.calls.push_back({call["id"], call["function"]["name"], call["function"]["arguments"]});
  }
  return seen;
}

std::optional<Seen> read_stream(std::string_view frames) {
  Seen seen;
  while (!frames.empty()) {
    const size_t end = frames.find("\n\n");
    if (end == std::string_view::npos || !frames.starts_with("data: ")) return std::nullopt;
    const Result<Json> chunk = parse_json(frames.substr(6, end - 6));
    frames.remove_prefix(end + 2);
    if (!chunk.ok()) return std::nullopt;
    const Json& delta = (*chunk)["choices"][0]["delta"];
    if (delta.contains("reasoning_content")) seen.reasoning += delta["reasoning_content"];
    if (delta.contains("content")) seen.content += delta["content"];
    if (!delta.contains("tool_calls")) continue;
    const Json& call = delta["tool_calls"][0];
    const size_t index = call["index"];
    if (call.contains("id")) {
      if (index != seen.calls.size() || call["type"] != "function") return std::nullopt;
      seen.calls.push_back({call["id"], call["function"]["name"], {}});
    }
    if (index >= seen.calls.size()) return std::nullopt;
    seen.calls[index].arguments += call["function"]["arguments"];
  }
  return seen;
}

std::string check_history(const Served& served, const Json& message, bool with_tools,
                          AnswerCounts& counts) {
  const Json question = {{"role", "user"}, {"content", "go on"}};
  std::vector<Json> histories = {Json::array({question, message, question}),
                                 Json::array({question, message}),
                                 Json::array({message, message, question})};
  if (message.contains("tool_calls")) {
    Json results = Json::array({question, message});
    for (const Json& call : message["tool_calls"]) {
      results.push_back({{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "done"}});
    }
    histories.push_back(results);
  }
  RequestContext context;
  context.n_vocab = served.tokenizer->n_vocab();
  for (const Json& messages : histories) {
    Json body = {{"messages", messages}};
    if (with_tools) body["tools"] = Json::parse(kTools);
    const Result<Json> sent = parse_json(dump_json(body));
    if (!sent.ok()) return "a history is no JSON: " + sent.error().message;
    const auto request = parse_chat_request(*sent, context);
    if (!request.ok()) return "a history is refused: " + request.error().message;
    const auto prompt = served.chat->prompt(request.value().messages, request.value().chat_options);
    if (!prompt.ok()) return "a history has no prompt: " + prompt.error().message;
    ++counts.n_histories;
  }
  return {};
}

// Whether nothing in an answer but tokens means anything.
bool needs_tokens(const AnswerFormat& format, bool cut) {
  const auto begins_with_token = [&](const std::string& text) {
    return std::any_of(format.markers.begin(), format.markers.end(),
                       [&](const auto& marker) { return text.starts_with(marker.text); });
  };
  // Cut inside what might have become a header, nobody can tell.
  if (format.calls.layout == CallLayout::harmony && cut) return false;
  return begins_with_token(format.reasoning.open) && !format.calls.may_be_bare &&
         (begins_with_token(format.calls.begin) || !format.calls.exists());
}

}  // namespace

std::string check_answer_properties(std::span<const uint8_t> bytes, AnswerCounts* counts) {
  AnswerCounts unasked;
  AnswerCounts& n = counts == nullptr ? unasked : *counts;
  if (bytes.size() < 2) return {};
  const Served& served = all_served()[bytes[0] % all_served().size()];
  const Tokenizer& tokenizer = *served.tokenizer;
  const uint8_t shape = bytes[1];
  const bool with_tools = (shape & 1) != 0;
  const bool cut = (shape & 2) != 0;
  ChatOptions chat;
  chat.enable_thinking = (shape & 4) != 0;
  if (with_tools) chat.tools = make_chat_tools(Json::parse(kTools)).value();
  std::vector<ChatMessage> question(1);
  question[0].role = "user";
  question[0].content = "q";
  if ((shape & 8) != 0) {
    question.resize(2);
    question[1].role = "assistant";
    question[1].content = "so far";
    chat.continue_final_message = true;
  }
  const auto prompt = served.chat->prompt(question, chat);
  if (!prompt.ok()) return "there is no prompt";
  const OutputParser::Options options =
      parser_options(served.answers, tokenizer, *prompt, chat.tools);
  std::vector<std::string> stops;
  if ((shape & 16) != 0) stops = {"}"};
  auto stream = ResponseStream::create(tokenizer, options, stops);
  if (!stream.ok()) return "there is no stream";

  bool ordinary = true;
  std::vector<int32_t> ids;
  for (const uint8_t byte : bytes.subspan(2)) {
    if (byte < 64) {
      ids.push_back(served.specials[byte % served.specials.size()]);
      ordinary = false;
    } else if (byte < 224) {
      // As text, or with the tokens that it spells.
      const bool tokens = byte >= 144;
      const std::string& piece = served.pieces[(byte - 64) % 80 % served.pieces.size()];
      const std::vector<int32_t> of_piece = tokenizer.encode(piece, false, tokens);
      ids.insert(ids.end(), of_piece.begin(), of_piece.end());
      ordinary = ordinary && !tokens;
    } else {
      ids.push_back((byte - 224) * 8 + byte % 8);  // tokens that are one byte
    }
  }

  AnswerIdentity identity;
  identity.chat = true;
  identity.id = "chatcmpl-x";
  identity.model = "m";
  OpenAiWriter writer(identity, false);
  std::vector<AnswerChoice> answer(1);
  std::string frames;
  const auto take = [&](const OutputDelta& delta) {
    answer[0].reasoning_content += delta.reasoning_content;
    answer[0].content += delta.content;
    if (!delta.reasoning_content.empty()) {
      writer.reasoning(0, delta.reasoning_content, {}, {}, frames);
    }
    if (!delta.content.empty()) writer.content(0, delta.content, {}, {}, frames);
    for (const ToolCallDelta& call : delta.tool_calls) {
      const std::string id = "call_" + std::to_string(call.index);
      if (!call.name.empty()) {
        answer[0].tool_calls.push_back({id, call.name, {}});
        writer.tool_call(0, call.index, id, call.name, {}, {}, frames);
      }
      if (call.index + 1 != answer[0].tool_calls.size()) return false;
      answer[0].tool_calls[call.index].arguments_json += call.arguments;
      writer.tool_arguments(0, call.index, call.arguments, {}, {}, frames);
    }
    return true;
  };
  for (const int32_t id : ids) {
    if (!take(stream->push(id))) return "a call goes on out of turn";
  }
  if (!take(stream->finish(cut))) return "a call goes on out of turn";

  const Result<Json> whole = parse_json(answer_json(identity, answer, false, {}, {}));
  if (!whole.ok() || !is_valid_utf8(frames)) return "the answer is no JSON";
  Json message = (*whole)["choices"][0]["message"];
  const std::optional<Seen> seen = read_message(message);
  if (!seen || seen != read_stream(frames)) return "the stream is not the answer";
  ++n.n_answers;
  n.n_calls += seen->calls.size();
  n.n_partial_calls += stream->parser().n_tool_calls() - stream->parser().n_complete_tool_calls();
  n.n_reasoning += seen->reasoning.empty() ? 0 : 1;
  n.n_without_content += seen->content.empty() ? 1 : 0;
  // Where models write no JSON, the server does.
  const CallLayout layout = served.answers.calls.layout;
  const bool made_json =
      layout == CallLayout::tagged || layout == CallLayout::braces || layout == CallLayout::python;
  const bool all_whole =
      stream->parser().n_complete_tool_calls() == stream->parser().n_tool_calls();
  for (const Seen::Call& call : seen->calls) {
    if (made_json && all_whole && !served.answers.calls.may_be_json) {
      if (!parse_json(call.arguments).ok()) return "arguments are no JSON: " + call.arguments;
    }
    if (find_tool(chat.tools, call.name) == nullptr) return "a call of an undeclared function";
  }
  if (stream->parser().n_tool_calls() != seen->calls.size()) return "calls are counted wrongly";
  if (ordinary && stops.empty() && !options.starts_in_reasoning &&
      needs_tokens(served.answers, cut)) {
    if (!seen->calls.empty() || !seen->reasoning.empty()) return "ordinary text became structure";
    if (seen->content != to_valid_utf8(tokenizer.decode(ids, true))) return "text was changed";
  }

  if (std::string fault = check_history(served, message, with_tools, n); !fault.empty()) {
    return fault;
  }
  // As clients keep a stream: no fields but those that came, and null or nothing for no content.
  message.erase("refusal");
  if (seen->content.empty()) {
    message["content"] = nullptr;
    if (std::string fault = check_history(served, message, with_tools, n); !fault.empty()) {
      return fault;
    }
    message.erase("content");
  }
  return check_history(served, message, with_tools, n);
}

std::vector<uint8_t> random_answer(std::mt19937& random) {
  const uint8_t format = static_cast<uint8_t>(random() % all_served().size());
  const Served& served = all_served()[format];
  // Three of four requests have tools.
  std::vector<uint8_t> bytes = {
      format, static_cast<uint8_t>((random() & 0xFE) | static_cast<unsigned>(random() % 4 != 0))};
  const auto piece = [&](std::string_view text) {
    for (size_t i = 0; i < served.pieces.size(); ++i) {
      if (served.pieces[i] != text) continue;
      bytes.push_back(static_cast<uint8_t>(64 + i));
      return;
    }
  };
  // The text of the format, with its tokens.
  const auto written = [&](const std::string& text) {
    for (size_t i = 0; i < served.pieces.size(); ++i) {
      if (text.empty() || served.pieces[i] != text) continue;
      bytes.push_back(static_cast<uint8_t>(144 + i));
      return;
    }
  };
  const auto marker = [&](std::string_view text) {
    for (size_t i = 0; i < served.specials.size(); ++i) {
      if (served.tokenizer->token_bytes(served.specials[i]) != text) continue;
      bytes.push_back(static_cast<uint8_t>(i));
      return;
    }
    piece(text);
  };
  const auto anything = [&] {
    if (random() % 12 == 0) bytes.push_back(static_cast<uint8_t>(random()));
  };
  if (random() % 2 == 0) {
    written(served.answers.reasoning.open);
    piece("text");
    anything();
    written(served.answers.reasoning.close);
    if (served.answers.name == "openai") written("<|start|>assistant");
  }
  if (random() % 2 == 0) piece("text");
  anything();
  for (size_t n_calls = random() % 3; n_calls > 0; --n_calls) {
    const CallSyntax& calls = served.answers.calls;
    const std::string& name = served.answers.name;
    if (name != "glm45" && name != "hermes") {
      written(calls.begin);
      written(calls.before_name);
      written(calls.name_prefix);
      piece(random() % 4 == 0 ? "rm" : "f");
      written(calls.after_name);
      switch (calls.layout) {
        case CallLayout::tagged:
          for (size_t n = random() % 3; n > 0; --n) {
            written(calls.before_key);
            piece(random() % 2 == 0 ? "zip" : "n");
            written(calls.after_key);
            written(calls.before_value);
            anything();
            piece(random() % 2 == 0 ? "42" : "text");
            written(calls.after_value);
          }
          break;
        case CallLayout::braces:
        case CallLayout::python:
          piece("n");
          written(calls.after_key);
          if (calls.layout == CallLayout::braces) piece(":");
          anything();
          piece("42");
          break;
        default:
          piece("{");
          anything();
          piece("}");
          break;
      }
      written(calls.after_arguments);
      written(calls.end);
      continue;
    }
    marker("<tool_call>");
    if (served.answers.name == "glm45") {
      piece(random() % 4 == 0 ? "rm" : "f");
      for (size_t n = random() % 3; n > 0; --n) {
        marker("<arg_key>");
        piece(random() % 2 == 0 ? "zip" : "n");
        marker("</arg_key>");
        marker("<arg_value>");
        anything();
        piece(random() % 2 == 0 ? "42" : "text");
        marker("</arg_value>");
      }
    } else {
      constexpr const char* kCalls[] = {
          "{\"name\": \"f\", \"arguments\": {\"zip\": \"a b\", \"n\": 1}}",
          "{\"arguments\": {\"n\": [{}]}, \"name\": \"get_weather\"}",
          "{\"name\": \"f\", \"parameters\": \"{\\\"zip\\\": 1}\"}",
          "{\"name\": \"get_weather\"}",
          "{\"name\": \"f\", \"arguments\": {",
          "{\"name\": \"rm\", \"arguments\": {\"zip\": \""};
      piece(kCalls[random() % std::size(kCalls)]);
    }
    anything();
    marker("</tool_call>");
  }
  if (random() % 2 == 0) bytes.resize(3 + random() % bytes.size());
  return bytes;
}

}  // namespace floe
