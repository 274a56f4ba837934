#include "server/responses_response.h"

#include <utility>
#include <vector>

#include "server/json_append.h"
#include "server/openai_json.h"

namespace floe {
namespace {

struct Item {
  enum class Kind : uint8_t { reasoning, message, function_call };
  Kind kind = Kind::message;
  std::string id;
  std::string text;     // or a call's arguments
  std::string call_id;  // calls only
  std::string name;     // calls only
};

// A part of a message or of reasoning.
std::string part_json(const Item& item, std::string_view text) {
  std::string out = item.kind == Item::Kind::reasoning ? "{\"type\":\"reasoning_text\",\"text\":"
                                                       : "{\"type\":\"output_text\",\"text\":";
  append_string(text, out);
  out += item.kind == Item::Kind::reasoning ? "}" : ",\"annotations\":[],\"logprobs\":[]}";
  return out;
}

// text: of the item so far; its part is left out where it has none yet.
std::string item_json(const Item& item, std::string_view status, bool has_part) {
  std::string out = "{\"id\":";
  append_string(item.id, out);
  const std::string parts = has_part ? "[" + part_json(item, item.text) + "]" : "[]";
  switch (item.kind) {
    case Item::Kind::reasoning:
      out += ",\"type\":\"reasoning\",\"summary\":[],\"content\":" + parts;
      break;
    case Item::Kind::message:
      out += ",\"type\":\"message\",\"role\":\"assistant\",\"content\":" + parts;
      break;
    case Item::Kind::function_call:
      out += ",\"type\":\"function_call\",\"call_id\":";
      append_string(item.call_id, out);
      out += ",\"name\":";
      append_string(item.name, out);
      out += ",\"arguments\":";
      append_string(item.text, out);
      break;
  }
  append_format(out, ",\"status\":\"{}\"}}", status);
  return out;
}

std::string usage_of(const AnswerUsage& usage) {
  return fmt::format(
      "{{\"input_tokens\":{},\"input_tokens_details\":{{\"cached_tokens\":{}}},"
      "\"output_tokens\":{},\"output_tokens_details\":{{\"reasoning_tokens\":{}}},"
      "\"total_tokens\":{}}}",
      usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens,
      usage.prompt_tokens + usage.completion_tokens);
}

class ResponsesWriter final : public ApiWriter {
 public:
  ResponsesWriter(const AnswerIdentity& identity, std::shared_ptr<const ResponseContext> context)
      : identity_(identity), context_(std::move(context)) {}

  void begin(uint32_t, const AnswerUsage&, std::string& out) override {
    for (const char* type : {"response.created", "response.in_progress"}) {
      event(type, ",\"response\":" + response_json("in_progress", {}, "null", {}), out);
    }
  }

  void reasoning(uint32_t, std::string_view text, std::span<const TokenLogprobEntry>,
                 std::string_view, std::string& out) override {
    if (!is_open(Item::Kind::reasoning)) open(Item::Kind::reasoning, {}, {}, out);
    add_text("response.reasoning_text.delta", text, out);
  }
  void content(uint32_t, std::string_view text, std::span<const TokenLogprobEntry>,
               std::string_view, std::string& out) override {
    if (!is_open(Item::Kind::message)) open(Item::Kind::message, {}, {}, out);
    add_text("response.output_text.delta", text, out);
  }
  void tool_call(uint32_t, uint32_t, std::string_view id, std::string_view name,
                 std::span<const TokenLogprobEntry>, std::string_view, std::string& out) override {
    open(Item::Kind::function_call, id, name, out);
  }
  void tool_arguments(uint32_t, uint32_t, std::string_view text, std::span<const TokenLogprobEntry>,
                      std::string_view, std::string& out) override {
    add_text("response.function_call_arguments.delta", text, out);
  }

  void finish(uint32_t, std::string_view reason, std::string_view,
              std::span<const TokenLogprobEntry>, std::string_view, std::string& out) override {
    is_cut_ = reason == "length";
    close(status(), out);
  }
  void finish_stream(const AnswerUsage& usage, std::string_view figures,
                     std::string& out) override {
    const std::string object = response_json(status(), items_, usage_of(usage), figures);
    event(is_cut_ ? "response.incomplete" : "response.completed", ",\"response\":" + object, out);
    store(object, items_);
  }

  void error(const ApiError& error, std::string& out) override {
    std::string members = ",\"code\":";
    append_string(error.code.empty() ? error.type : error.code, members);
    members += ",\"message\":";
    append_string(error.message, members);
    members += ",\"param\":null";
    event("error", members, out);
  }

  std::string whole(std::span<const AnswerChoice> choices, bool, const AnswerUsage& usage,
                    std::string_view figures) const override {
    const AnswerChoice& choice = choices.front();
    std::vector<Item> items;
    const auto add = [&](Item::Kind kind, const std::string& text) -> Item& {
      return items.emplace_back(Item{kind, item_id(kind, items.size()), text, {}, {}});
    };
    if (!choice.reasoning_content.empty()) add(Item::Kind::reasoning, choice.reasoning_content);
    if (!choice.content.empty()) add(Item::Kind::message, choice.content);
    for (const ToolCallText& call : choice.tool_calls) {
      Item& item = add(Item::Kind::function_call, call.arguments_json);
      item.call_id = call.id;
      item.name = call.name;
    }
    std::string object =
        response_json(choice.finish_reason == "length" ? "incomplete" : "completed", items,
                      usage_of(usage), figures);
    store(object, items);
    return object;
  }

 private:
  std::string_view status() const { return is_cut_ ? "incomplete" : "completed"; }
  bool is_open(Item::Kind kind) const { return open_ && items_.back().kind == kind; }

  std::string item_id(Item::Kind kind, size_t index) const {
    const char* prefix = kind == Item::Kind::reasoning ? "rs_"
                         : kind == Item::Kind::message ? "msg_"
                                                       : "fc_";
    return fmt::format("{}{}_{}", prefix, identity_.id.substr(identity_.id.find('_') + 1), index);
  }

  // members: begins with a comma, or is empty.
  void event(std::string_view type, std::string_view members, std::string& out) {
    append_format(out, "event: {0}\ndata: {{\"type\":\"{0}\",\"sequence_number\":{1}{2}}}\n\n",
                  type, n_events_++, members);
  }
  // Where the open item, and its part, stand.
  std::string place(bool in_part) const {
    std::string out = ",\"item_id\":";
    append_string(items_.back().id, out);
    append_format(out, ",\"output_index\":{}", items_.size() - 1);
    if (in_part) out += ",\"content_index\":0";
    return out;
  }

  void open(Item::Kind kind, std::string_view call_id, std::string_view name, std::string& out) {
    close("completed", out);
    open_ = true;
    const Item& item = items_.emplace_back(
        Item{kind, item_id(kind, items_.size()), {}, std::string(call_id), std::string(name)});
    event("response.output_item.added",
          fmt::format(",\"output_index\":{},\"item\":{}", items_.size() - 1,
                      item_json(item, "in_progress", false)),
          out);
    if (kind == Item::Kind::function_call) return;
    event("response.content_part.added", place(true) + ",\"part\":" + part_json(item, {}), out);
  }

  void add_text(std::string_view type, std::string_view text, std::string& out) {
    Item& item = items_.back();
    item.text += text;
    std::string members = place(item.kind != Item::Kind::function_call) + ",\"delta\":";
    append_string(text, members);
    if (item.kind == Item::Kind::message) members += ",\"logprobs\":[]";
    event(type, members, out);
  }

  void close(std::string_view status, std::string& out) {
    if (!std::exchange(open_, false)) return;
    const Item& item = items_.back();
    std::string text;
    append_string(item.text, text);
    switch (item.kind) {
      case Item::Kind::reasoning:
        event("response.reasoning_text.done", place(true) + ",\"text\":" + text, out);
        break;
      case Item::Kind::message:
        event("response.output_text.done", place(true) + ",\"text\":" + text + ",\"logprobs\":[]",
              out);
        break;
      case Item::Kind::function_call: {
        std::string name;
        append_string(item.name, name);
        event("response.function_call_arguments.done",
              place(false) + ",\"name\":" + name + ",\"arguments\":" + text, out);
        break;
      }
    }
    if (item.kind != Item::Kind::function_call) {
      event("response.content_part.done", place(true) + ",\"part\":" + part_json(item, item.text),
            out);
    }
    event("response.output_item.done",
          fmt::format(",\"output_index\":{},\"item\":{}", items_.size() - 1,
                      item_json(item, status, true)),
          out);
  }

  std::string response_json(std::string_view status, std::span<const Item> items,
                            std::string_view usage, std::string_view figures) const {
    std::string out = "{\"id\":";
    append_string(identity_.id, out);
    append_format(out,
                  ",\"object\":\"response\",\"created_at\":{},\"status\":\"{}\",\"background\":"
                  "false,\"error\":null,\"incomplete_details\":{},\"model\":",
                  identity_.created, status,
                  status == "incomplete" ? "{\"reason\":\"max_output_tokens\"}" : "null");
    append_string(identity_.model, out);
    out += ",\"output\":[";
    for (size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out += ',';
      // Only the last item can have been cut.
      out += item_json(items[i], i + 1 == items.size() ? status : "completed", true);
    }
    append_format(out, "],\"store\":{},\"usage\":{}", !context_->messages.is_null(), usage);
    // What a request did not say has the value that it then has.
    static const Json kUnsaid = {{"instructions", nullptr},
                                 {"max_output_tokens", nullptr},
                                 {"metadata", Json::object()},
                                 {"parallel_tool_calls", true},
                                 {"previous_response_id", nullptr},
                                 {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
                                 {"temperature", nullptr},
                                 {"text", {{"format", {{"type", "text"}}}}},
                                 {"tool_choice", "auto"},
                                 {"tools", Json::array()},
                                 {"top_p", nullptr},
                                 {"truncation", "disabled"},
                                 {"user", nullptr}};
    for (const auto& [name, value] : kUnsaid.items()) {
      const auto said = context_->echo.find(name);
      append_format(out, ",\"{}\":{}", name,
                    dump_json(said != context_->echo.end() ? *said : value));
    }
    if (!figures.empty()) {
      out += ',';
      out += figures;
    }
    out += '}';
    return out;
  }

  void store(const std::string& object, std::span<const Item> items) const {
    if (context_->messages.is_null()) return;
    Json message{{"role", "assistant"}, {"content", nullptr}};
    std::string content;
    for (const Item& item : items) {
      switch (item.kind) {
        case Item::Kind::reasoning:
          message["reasoning_content"] = item.text;
          break;
        case Item::Kind::message:
          content += item.text;
          break;
        case Item::Kind::function_call:
          array_member(message, "tool_calls")
              .push_back(Json{{"id", item.call_id},
                              {"type", "function"},
                              {"function", Json{{"name", item.name}, {"arguments", item.text}}}});
          break;
      }
    }
    message["content"] = std::move(content);
    Json messages = context_->messages;
    messages.push_back(std::move(message));
    context_->store->put(context_->owner, identity_.id, {object, dump_json(messages)});
  }

  const AnswerIdentity identity_;
  const std::shared_ptr<const ResponseContext> context_;
  std::vector<Item> items_;
  bool open_ = false;    // the last item goes on
  bool is_cut_ = false;  // the answer ended at a limit
  uint64_t n_events_ = 0;
};

}  // namespace

std::unique_ptr<ApiWriter> make_responses_writer(const AnswerIdentity& identity,
                                                 std::shared_ptr<const ResponseContext> context) {
  return std::make_unique<ResponsesWriter>(identity, std::move(context));
}

}  // namespace floe
