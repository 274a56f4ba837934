#include "chat/template_probe.h"

#include <chrono>
#include <optional>

#include "base/json.h"
#include "chat/template_rendering.h"
#include "chat/template_variables.h"

namespace floe {
namespace {

// Words that no template holds.
constexpr const char* kQuestion = "probe_question";
constexpr const char* kAnswer = "probe_answer";
constexpr const char* kThought = "probe_thought";
constexpr const char* kFunction = "probe_function";
constexpr const char* kResult = "probe_result";
constexpr const char* kArguments = R"({"probe_name": "probe value", "number": 1})";

constexpr auto kLongest = std::chrono::seconds(1);
constexpr int64_t kProbeTime = 1767225600;            // 2026-01-01, so that probes repeat
constexpr int64_t kLaterTime = kProbeTime + 3888123;  // other in month, day, hour and second

bool contains(const std::optional<std::string>& text, std::string_view part) {
  return text && text->find(part) != std::string::npos;
}

ChatMessage message(const char* role, std::string content) {
  ChatMessage out;
  out.role = role;
  out.content = std::move(content);
  return out;
}

ChatTools probe_tools() {
  Json parameters = {{"type", "object"},
                     {"properties", {{"probe_name", {{"type", "string"}, {"description", "-"}}}}},
                     {"required", {"probe_name"}}};
  Json function = {{"name", kFunction}, {"description", "-"}, {"parameters", parameters}};
  return *make_chat_tools(Json::array({{{"type", "function"}, {"function", function}}}));
}

class Probe {
 public:
  Probe(const jinja::Template& program, std::string_view source, const Json& constants)
      : program_(program), source_(source) {
    rendering_.constants = &constants;
    rendering_.now_unix_seconds = kProbeTime;
    rendering_.cancelled = [end = std::chrono::steady_clock::now() + kLongest] {
      return std::chrono::steady_clock::now() > end;
    };
    rendering_.limits.max_steps = 1'000'000;
    rendering_.limits.max_output_bytes = size_t{4} << 20;
    rendering_.limits.max_memory_bytes = size_t{32} << 20;
  }

  TemplateTraits run(std::string_view reasoning_begin) {
    traits_.shapes.has_developer = source_.find("developer") != std::string_view::npos;
    question_ = {message("user", kQuestion)};
    content();
    auto plain = render(question_, {});
    if (!plain) {
      traits_.fault = last_fault_;
      // There are templates for requests with tools alone.
      tools_ = probe_tools();
      content();
      plain = render(question_, {});
      if (!plain) return traits_;
    }
    calls();
    reasoning_field();
    const auto with_system = render({message("system", kAnswer), question_[0]}, {});
    traits_.supports_system = contains(with_system, kAnswer) && contains(with_system, kQuestion);
    ChatOptions with_tools;
    with_tools.tools = probe_tools();
    traits_.supports_tools = contains(render(question_, with_tools), kFunction);
    reasoning(reasoning_begin);
    thinking(*plain);
    prefixes();
    return traits_;
  }

 private:
  std::optional<std::string> render(std::span<const ChatMessage> messages,
                                    const ChatOptions& options) {
    ChatOptions all = options;
    if (all.tools == nullptr) all.tools = tools_;
    const Json variables = template_variables(messages, all, traits_.shapes);
    auto text = render_template(program_, variables, rendering_);
    if (!text.ok()) {
      last_fault_ = text.error().message;
      return std::nullopt;
    }
    last_ = std::move(*text);
    return std::string(last_.bytes());
  }
  std::optional<std::string> render(std::initializer_list<ChatMessage> messages,
                                    const ChatOptions& options) {
    return render(std::span(messages.begin(), messages.size()), options);
  }

  void content() {
    if (contains(render(question_, {}), kQuestion)) return;
    traits_.shapes.content_as_parts = true;
    if (!contains(render(question_, {}), kQuestion)) traits_.shapes.content_as_parts = false;
  }

  // A question, a call with its result.
  std::vector<ChatMessage> called(bool thought) const {
    std::vector<ChatMessage> messages = question_;
    messages.push_back(message("assistant", ""));
    if (thought) messages.back().reasoning_content = kThought;
    messages.back().tool_calls = {{"probe_call_0", kFunction, kArguments}};
    messages.push_back(message("tool", kResult));
    messages.back().tool_call_id = "probe_call_0";
    return messages;
  }

  // How calls of earlier answers are taken: the first combination that shows the function.
  void calls() {
    TemplateShapes& shapes = traits_.shapes;
    const TemplateShapes before = shapes;
    const std::vector<ChatMessage> messages = called(false);
    for (const bool null : {true, false}) {
      for (const bool nine : {false, true}) {
        for (const bool objects : {true, false}) {
          shapes.null_content = null;
          shapes.ids_of_nine = nine;
          shapes.arguments_as_objects = objects;
          const auto text = render(messages, {});
          if (!contains(text, kFunction) || (null && contains(text, "None"))) continue;
          arguments(messages, objects ? text : std::nullopt);
          return;
        }
      }
    }
    shapes = before;
  }

  // Verbatim where the template writes text as it stands and objects alike: then an answer that is
  // sent back gives the tokens that the model wrote. Or where objects come out as Python's repr.
  void arguments(const std::vector<ChatMessage>& messages,
                 const std::optional<std::string>& with_objects) {
    TemplateShapes& shapes = traits_.shapes;
    shapes.arguments_as_objects = false;
    const auto as_text = render(messages, {});
    const bool shows_text = contains(as_text, kArguments);
    const bool repr = contains(with_objects, "'probe_name'");
    if (with_objects && !(shows_text && (repr || as_text == with_objects))) {
      shapes.arguments_as_objects = true;
    }
    shapes.stands_arguments_as_text = as_text.has_value();
  }

  // What the template calls the thoughts of a message.
  void reasoning_field() {
    TemplateShapes& shapes = traits_.shapes;
    std::vector<ChatMessage> messages = called(true);
    for (const char* name : {"reasoning_content", "reasoning", "thinking"}) {
      shapes.reasoning_field = name;
      if (!contains(render(messages, {}), kThought)) continue;
      messages[1].content = kAnswer;
      if (!render(messages, {})) shapes.one_text_with_calls = true;
      return;
    }
    shapes.reasoning_field = "reasoning_content";
  }

  void thinking(const std::string& plain) {
    ChatOptions options;
    options.enable_thinking = true;
    const auto on = render(question_, options);
    options.enable_thinking = false;
    const auto off = render(question_, options);
    traits_.can_switch_thinking = on && off && *on != *off;
    if (traits_.can_switch_thinking) {
      traits_.thinks_by_default = plain != *off;
    } else {
      traits_.thinks_by_default = traits_.has_reasoning;
    }
  }

  // Whether the prompt of `before` begins the prompt of `after`, which says what `said` has.
  bool extends(std::span<const ChatMessage> before, std::span<const ChatMessage> after,
               const ChatOptions& options, std::string_view said) {
    const auto first = render(before, options);
    const auto second = render(after, options);
    if (!first || !second) return true;  // told when it is asked for
    return second->starts_with(*first) && contains(second, said);
  }

  static std::vector<ChatMessage> with_answer(std::vector<ChatMessage> messages, bool thought) {
    messages.push_back(message("assistant", kAnswer));
    if (thought) messages.back().reasoning_content = kThought;
    return messages;
  }
  static std::vector<ChatMessage> with_question(std::vector<ChatMessage> messages) {
    messages.push_back(message("user", "probe_more"));
    return messages;
  }

  // Whether the template has a place for thoughts, and opens them for the model.
  void reasoning(std::string_view begin) {
    ChatOptions closed;
    closed.add_generation_prompt = false;
    const bool has_thoughts = contains(render(with_answer(question_, true), closed), kThought) ||
                              contains(render(called(true), closed), kThought);
    opens_ = render(question_, {}) && ends_with_marker(last_, begin);
    traits_.has_reasoning = has_thoughts || opens_;
  }

  void prefixes() {
    const auto tell = [&](const char* why) { traits_.prefix_breaks.emplace_back(why); };
    ChatOptions off;
    ChatOptions on;
    if (traits_.can_switch_thinking) {
      off.enable_thinking = false;
      on.enable_thinking = true;
    }
    const bool answers_alone = traits_.can_switch_thinking || !opens_;
    if (answers_alone &&
        !extends(question_, with_question(with_answer(question_, false)), off, kAnswer)) {
      tell("an answer without reasoning is written otherwise than its prompt began");
    }
    const bool keeps =
        !traits_.has_reasoning ||
        extends(question_, with_question(with_answer(question_, true)), on, kThought);
    if (!keeps) tell("reasoning of earlier turns is left out");
    ChatOptions tools;
    tools.tools = probe_tools();
    if (traits_.supports_tools) {
      const std::vector<ChatMessage> answered = called(opens_);
      const std::vector<ChatMessage> next = with_question(with_answer(answered, opens_));
      if (!extends(question_, answered, tools, kResult) ||
          (keeps && !extends(answered, next, tools, kFunction))) {
        tell("a turn with tool calls is written otherwise when more follows");
      }
    }
    const auto now = render(question_, tools);
    rendering_.now_unix_seconds = kLaterTime;
    if (now != render(question_, tools)) tell("the date is part of the prompt");
    rendering_.now_unix_seconds = kProbeTime;
  }

  const jinja::Template& program_;
  const std::string_view source_;
  TemplateRendering rendering_;
  TemplateTraits traits_;
  std::vector<ChatMessage> question_;
  ChatTools tools_;  // of every rendering, where the template takes no other; else null
  bool opens_ = false;
  jinja::MarkedText last_;
  std::string last_fault_;
};

}  // namespace

TemplateTraits probe_template(const jinja::Template& program, std::string_view source,
                              const Json& constants, std::string_view reasoning_begin) {
  return Probe(program, source, constants).run(reasoning_begin);
}

}  // namespace floe
