#include "server/anthropic_response.h"

#include <algorithm>

#include "server/json_append.h"

namespace floe {
namespace {

enum class Block : uint8_t { none, thinking, text, tool_use };

std::string_view stop_reason_of(std::string_view reason, std::string_view stop_string) {
  if (reason == "length") return "max_tokens";
  if (reason == "tool_calls") return "tool_use";
  return stop_string.empty() ? "end_turn" : "stop_sequence";
}

// Here the tokens that came out of the cache are not part of the input's.
void append_usage(const AnswerUsage& usage, std::string& out) {
  append_format(out,
                "\"usage\":{{\"input_tokens\":{},\"cache_creation_input_tokens\":0,"
                "\"cache_read_input_tokens\":{},\"output_tokens\":{}}}",
                usage.prompt_tokens - std::min(usage.prompt_tokens, usage.cached_tokens),
                usage.cached_tokens, usage.completion_tokens);
}

void append_stop(std::string_view reason, std::string_view stop_string, std::string& out) {
  append_format(out,
                "\"stop_reason\":\"{}\",\"stop_sequence\":", stop_reason_of(reason, stop_string));
  if (reason != "stop" || stop_string.empty()) {
    out += "null";
  } else {
    append_string(stop_string, out);
  }
}

// The arguments as the object that they are. Of a call that was cut, what there is of it, in the
// form in which this API's clients send back what is no JSON.
void append_input(std::string_view arguments, std::string& out) {
  const Result<Json> json = parse_json(arguments.empty() ? "{}" : arguments);
  if (json.ok() && json->is_object()) {
    out += dump_json(*json);
    return;
  }
  out += "{\"INVALID_JSON\":";
  append_string(arguments, out);
  out += '}';
}

class AnthropicWriter final : public ApiWriter {
 public:
  explicit AnthropicWriter(const AnswerIdentity& identity) : identity_(identity) {}

  void begin(uint32_t, const AnswerUsage& usage, std::string& out) override {
    out += "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{";
    append_head(out);
    out += "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,";
    append_usage(usage, out);
    out += "}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n";
  }

  void reasoning(uint32_t, std::string_view text, std::span<const TokenLogprobEntry>,
                 std::string_view, std::string& out) override {
    if (block_ != Block::thinking) {
      open(Block::thinking, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}", out);
    }
    append_delta("thinking_delta", "thinking", text, out);
  }

  void content(uint32_t, std::string_view text, std::span<const TokenLogprobEntry>,
               std::string_view, std::string& out) override {
    if (block_ != Block::text) open(Block::text, "{\"type\":\"text\",\"text\":\"\"}", out);
    append_delta("text_delta", "text", text, out);
  }

  void tool_call(uint32_t, uint32_t, std::string_view id, std::string_view name,
                 std::span<const TokenLogprobEntry>, std::string_view, std::string& out) override {
    std::string block = "{\"type\":\"tool_use\",\"id\":";
    append_string(id, block);
    block += ",\"name\":";
    append_string(name, block);
    block += ",\"input\":{}}";
    open(Block::tool_use, block, out);
  }

  void tool_arguments(uint32_t, uint32_t, std::string_view text, std::span<const TokenLogprobEntry>,
                      std::string_view, std::string& out) override {
    append_delta("input_json_delta", "partial_json", text, out);
  }

  void finish(uint32_t, std::string_view reason, std::string_view stop_string,
              std::span<const TokenLogprobEntry>, std::string_view, std::string& out) override {
    close(out);
    append_stop(reason, stop_string, stop_);
  }

  void finish_stream(const AnswerUsage& usage, std::string_view figures,
                     std::string& out) override {
    out += "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{";
    out += stop_;
    out += "},";
    append_usage(usage, out);
    if (!figures.empty()) {
      out += ',';
      out += figures;
    }
    out += "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
  }

  void error(const ApiError& error, std::string& out) override {
    out += "event: error\ndata: " + anthropic_error_body(error) + "\n\n";
  }

  std::string whole(std::span<const AnswerChoice> choices, bool, const AnswerUsage& usage,
                    std::string_view figures) const override {
    const AnswerChoice& choice = choices.front();
    std::string out = "{";
    append_head(out);
    out += "\"content\":[";
    const char* comma = "";
    if (!choice.reasoning_content.empty()) {
      out += "{\"type\":\"thinking\",\"thinking\":";
      append_string(choice.reasoning_content, out);
      out += ",\"signature\":\"\"}";
      comma = ",";
    }
    if (!choice.content.empty()) {
      append_format(out, "{}{{\"type\":\"text\",\"text\":", comma);
      append_string(choice.content, out);
      out += '}';
      comma = ",";
    }
    for (const ToolCallText& call : choice.tool_calls) {
      append_format(out, "{}{{\"type\":\"tool_use\",\"id\":", comma);
      append_string(call.id, out);
      out += ",\"name\":";
      append_string(call.name, out);
      out += ",\"input\":";
      append_input(call.arguments_json, out);
      out += '}';
      comma = ",";
    }
    out += "],";
    append_stop(choice.finish_reason, choice.stop_string, out);
    out += ',';
    append_usage(usage, out);
    if (!figures.empty()) {
      out += ',';
      out += figures;
    }
    out += '}';
    return out;
  }

 private:
  void append_head(std::string& out) const {
    out += "\"id\":";
    append_string(identity_.id, out);
    out += ",\"type\":\"message\",\"role\":\"assistant\",\"model\":";
    append_string(identity_.model, out);
    out += ',';
  }

  void open(Block block, std::string_view start, std::string& out) {
    close(out);
    block_ = block;
    append_format(out,
                  "event: content_block_start\ndata: {{\"type\":\"content_block_start\","
                  "\"index\":{},\"content_block\":{}}}\n\n",
                  n_blocks_, start);
    ++n_blocks_;
  }

  void close(std::string& out) {
    if (block_ == Block::none) return;
    block_ = Block::none;
    append_format(
        out,
        "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{}}}\n\n",
        n_blocks_ - 1);
  }

  // Of the open block.
  void append_delta(std::string_view type, std::string_view field, std::string_view text,
                    std::string& out) const {
    append_format(out,
                  "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\","
                  "\"index\":{},\"delta\":{{\"type\":\"{}\",\"{}\":",
                  n_blocks_ - 1, type, field);
    append_string(text, out);
    out += "}}\n\n";
  }

  const AnswerIdentity identity_;
  Block block_ = Block::none;
  uint32_t n_blocks_ = 0;
  std::string stop_;  // why the answer ended, as members of an object
};

}  // namespace

std::unique_ptr<ApiWriter> make_anthropic_writer(const AnswerIdentity& identity) {
  return std::make_unique<AnthropicWriter>(identity);
}

}  // namespace floe
