#include "chat/answer_format.h"

#include <algorithm>

namespace floe {
namespace {

struct Row {
  AnswerFormat format;
  // All of them in the template's text say that it is this format; likewise tokens of these bytes
  // in the vocabulary. Empty: never found that way.
  std::vector<std::string_view> template_marks;
  std::vector<std::string_view> tokens;
  // A template with this in it writes calls in another way, for which there is no row.
  std::string_view template_lacks = {};
};

CallSyntax json_calls(std::string begin, std::string between, std::string end) {
  CallSyntax calls;
  calls.layout = CallLayout::json_object;
  calls.begin = std::move(begin);
  calls.before_name = "{\"name\": \"";
  calls.after_name = "\", \"arguments\": ";
  calls.after_arguments = "}";
  calls.between = std::move(between);
  calls.end = std::move(end);
  return calls;
}

Row hermes() {
  Row row;
  row.format.name = "hermes";
  row.format.calls = json_calls("<tool_call>\n", "", "\n</tool_call>");
  row.template_marks = {"<tool_call>"};
  row.tokens = {"<tool_call>"};
  row.template_lacks = "]<]minimax[>[";  // MiniMax M3
  return row;
}

Row glm() {
  Row row;
  row.format.name = "glm45";
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::tagged;
  calls.begin = "<tool_call>";
  calls.after_name = "\n";
  calls.before_key = "<arg_key>";
  calls.after_key = "</arg_key>\n";
  calls.before_value = "<arg_value>";
  calls.after_value = "</arg_value>\n";
  calls.end = "</tool_call>";
  row.template_marks = {"<arg_key>"};
  row.tokens = {"<arg_key>"};
  return row;
}

// Tencent's Hunyuan 3: GLM's layout in other words.
Row hy3() {
  Row row;
  row.format.name = "hy3";
  row.format.reasoning = {"<think:opensource>", "</think:opensource>"};
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::tagged;
  calls.begin = "<tool_calls:opensource>\n";
  calls.before_name = "<tool_call:opensource>";
  calls.after_name = "<tool_sep:opensource>\n";
  calls.before_key = "<arg_key:opensource>";
  calls.after_key = "</arg_key:opensource>\n";
  calls.before_value = "<arg_value:opensource>";
  calls.after_value = "</arg_value:opensource>\n";
  calls.after_arguments = "</tool_call:opensource>\n";
  calls.end = "</tool_calls:opensource>";
  row.template_marks = {"hy_Assistant"};
  row.tokens = {"<tool_calls:opensource>"};
  return row;
}

Row qwen3_coder() {
  Row row;
  row.format.name = "qwen3_coder";
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::tagged;
  calls.begin = "<tool_call>\n";
  calls.before_name = "<function=";
  calls.after_name = ">\n";
  calls.before_key = "<parameter=";
  calls.after_key = ">\n";
  calls.after_value = "\n</parameter>\n";
  calls.after_arguments = "</function>\n";
  calls.end = "</tool_call>";
  calls.may_be_json = true;
  row.template_marks = {"<tool_call>", "<function=", "<parameter="};
  return row;
}

Row seed_oss() {
  Row row;
  row.format.name = "seed_oss";
  row.format.reasoning = {"<seed:think>", "</seed:think>"};
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::tagged;
  calls.begin = "<seed:tool_call>\n";
  calls.before_name = "<function=";
  calls.after_name = ">\n";
  calls.before_key = "<parameter=";
  calls.after_key = ">";
  calls.after_value = "</parameter>\n";
  calls.after_arguments = "</function>\n";
  calls.end = "</seed:tool_call>";
  row.template_marks = {"<seed:tool_call>"};
  row.tokens = {"<seed:tool_call>"};
  return row;
}

Row minimax_m2() {
  Row row;
  row.format.name = "minimax_m2";
  row.format.reasoning = {"<think>", "</think>", true};
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::tagged;
  calls.begin = "<minimax:tool_call>\n";
  calls.before_name = "<invoke name=\"";
  calls.after_name = "\">\n";
  calls.before_key = "<parameter name=\"";
  calls.after_key = "\">";
  calls.after_value = "</parameter>\n";
  calls.after_arguments = "</invoke>\n";
  calls.end = "</minimax:tool_call>";
  row.template_marks = {"<minimax:tool_call>"};
  row.tokens = {"<minimax:tool_call>"};
  return row;
}

Row deepseek_dsml(const char* name, const std::string& block) {
  Row row;
  row.format.name = name;
  row.format.reasoning = {"<think>", "</think>"};
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::tagged;
  calls.begin = "<｜DSML｜" + block + ">\n";
  calls.before_name = "<｜DSML｜invoke name=\"";
  calls.after_name = "\">\n";
  calls.before_key = "<｜DSML｜parameter name=\"";
  calls.after_key = "\" string=\"";
  calls.before_value = "true\">";
  calls.before_json_value = "false\">";
  calls.after_value = "</｜DSML｜parameter>\n";
  calls.after_arguments = "</｜DSML｜invoke>\n";
  calls.end = "</｜DSML｜" + block + ">";
  row.template_marks = {"DSML", block == "tool_calls" ? "tool_calls>" : "function_calls>"};
  row.tokens = {"｜DSML｜"};
  return row;
}

Row deepseek_v31() {
  Row row;
  row.format.name = "deepseek_v31";
  row.format.reasoning = {"<think>", "</think>", true};
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::json_arguments;
  calls.begin = "<｜tool▁calls▁begin｜>";
  calls.before_name = "<｜tool▁call▁begin｜>";
  calls.after_name = "<｜tool▁sep｜>";
  calls.after_arguments = "<｜tool▁call▁end｜>";
  calls.end = "<｜tool▁calls▁end｜>";
  row.template_marks = {"<｜tool▁call▁begin｜>"};
  row.tokens = {"<｜tool▁call▁begin｜>"};
  return row;
}

// V3 and R1.
Row deepseek_v3() {
  Row row = deepseek_v31();
  row.format.name = "deepseek_v3";
  CallSyntax& calls = row.format.calls;
  calls.before_name = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>";
  calls.after_name = "\n```json\n";
  calls.after_arguments = "\n```<｜tool▁call▁end｜>";
  calls.between = "\n";
  row.template_marks = {"<｜tool▁call▁begin｜>", "```json"};
  row.tokens = {};
  return row;
}

Row kimi_k2() {
  Row row;
  row.format.name = "kimi_k2";
  row.format.reasoning = {"<think>", "</think>", true};
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::json_arguments;
  calls.begin = "<|tool_calls_section_begin|>";
  calls.before_name = "<|tool_call_begin|>";
  calls.name_prefix = "functions.";
  calls.numbered = true;
  calls.after_name = "<|tool_call_argument_begin|>";
  calls.after_arguments = "<|tool_call_end|>";
  calls.end = "<|tool_calls_section_end|>";
  row.template_marks = {"<|tool_call_begin|>"};
  row.tokens = {"<|tool_call_begin|>"};
  return row;
}

// From tokenizer version 11 on: one [TOOL_CALLS] a call.
Row mistral() {
  Row row;
  row.format.name = "mistral";
  row.format.call_ids = CallIdShape::nine_letters;
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::json_arguments;
  calls.begin = "[TOOL_CALLS]";
  calls.after_name = "[ARGS]";
  calls.before_id = "[CALL_ID]";
  calls.may_be_json = true;
  row.template_marks = {"[TOOL_CALLS]", "[ARGS]"};
  row.tokens = {"[TOOL_CALLS]", "[ARGS]"};
  return row;
}

Row mistral_json() {
  Row row;
  row.format.name = "mistral_json";
  row.format.call_ids = CallIdShape::nine_letters;
  row.format.calls = json_calls("[TOOL_CALLS][", ", ", "]");
  row.template_marks = {"[TOOL_CALLS]"};
  row.tokens = {"[TOOL_CALLS]"};
  return row;
}

Row llama3() {
  Row row;
  row.format.name = "llama3_json";
  row.format.calls = json_calls("", "; ", "");
  CallSyntax& calls = row.format.calls;
  calls.after_name = "\", \"parameters\": ";
  calls.arguments_key = "parameters";
  calls.begin = "<|python_tag|>";
  calls.may_be_bare = true;
  row.template_marks = {"\"parameters\": dictionary of argument name"};
  row.tokens = {"<|python_tag|>"};
  return row;
}

Row gpt_oss() {
  Row row;
  row.format.name = "openai";
  row.format.reasoning = {"<|channel|>analysis<|message|>", "<|end|>"};
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::harmony;
  calls.begin = "<|channel|>commentary to=";
  calls.name_prefix = "functions.";
  calls.after_name = " <|constrain|>json<|message|>";
  calls.after_arguments = "<|call|>";
  row.template_marks = {"<|channel|>", "<|message|>", "analysis"};
  row.tokens = {"<|channel|>", "<|message|>", "<|call|>"};
  return row;
}

Row gemma4() {
  Row row;
  row.format.name = "gemma4";
  row.format.reasoning = {"<|channel>thought\n", "<channel|>"};
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::braces;
  calls.begin = "<|tool_call>";
  calls.before_name = "call:";
  calls.after_name = "{";
  calls.before_value = "<|\"|>";  // around strings
  calls.after_value = "<|\"|>";
  calls.after_arguments = "}";
  calls.end = "<tool_call|>";
  row.template_marks = {"<|tool_call>", "call:"};
  row.tokens = {"<|tool_call>", "<tool_call|>"};
  return row;
}

Row python_calls(const char* name, std::string begin, std::string end) {
  Row row;
  row.format.name = name;
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::python;
  calls.begin = std::move(begin);
  calls.after_name = "(";
  calls.after_key = "=";
  calls.after_value = ", ";
  calls.after_arguments = ")";
  calls.between = ", ";
  calls.end = std::move(end);
  return row;
}

// Gemma 3 has no template of its own for tools: its documentation has the model write this.
Row gemma3() {
  Row row = python_calls("gemma3", "```tool_code\n", "\n```");
  row.format.calls.between = "\n";
  row.template_marks = {"```tool_code"};
  return row;
}

Row lfm2() {
  Row row = python_calls("lfm2", "<|tool_call_start|>[", "]<|tool_call_end|>");
  row.template_marks = {"<|tool_call_start|>"};
  row.tokens = {"<|tool_call_start|>"};
  return row;
}

Row nemotron() {
  Row row;
  row.format.name = "nemotron";
  row.format.calls = json_calls("<TOOLCALL>[", ", ", "]</TOOLCALL>");
  row.template_marks = {"<TOOLCALL>"};
  row.tokens = {"<TOOLCALL>"};
  return row;
}

Row apriel() {
  Row row;
  row.format.name = "apriel";
  row.format.calls = json_calls("<tool_calls>[", ", ", "]</tool_calls>");
  row.template_marks = {"<tool_calls>["};
  return row;
}

Row minimax_m1() {
  Row row;
  row.format.name = "minimax_m1";
  row.format.calls = json_calls("<tool_calls>\n", "\n", "\n</tool_calls>");
  row.template_marks = {"<tool_calls>\\n"};
  row.tokens = {"<tool_calls>"};
  return row;
}

Row command_r() {
  Row row;
  row.format.name = "command_r";
  row.format.reasoning = {"<|START_THINKING|>", "<|END_THINKING|>"};
  CallSyntax& calls = row.format.calls;
  calls = json_calls("<|START_ACTION|>[\n    ", ",\n    ", "\n]<|END_ACTION|>");
  calls.before_name = "{\"tool_call_id\": \"0\", \"tool_name\": \"";
  calls.after_name = "\", \"parameters\": ";
  calls.name_key = "tool_name";
  calls.arguments_key = "parameters";
  row.template_marks = {"<|START_ACTION|>"};
  row.tokens = {"<|START_ACTION|>"};
  return row;
}

Row gigachat() {
  Row row;
  row.format.name = "gigachat";
  row.format.calls = json_calls("<|function_call|>", "", "");
  row.template_marks = {"<|function_call|>"};
  row.tokens = {"<|function_call|>"};
  return row;
}

Row functionary() {
  Row row;
  row.format.name = "functionary_v31";
  CallSyntax& calls = row.format.calls;
  calls.layout = CallLayout::json_arguments;
  calls.begin = "<function=";
  calls.after_name = ">";
  calls.after_arguments = "</function>";
  row.template_marks = {"{start_tag}={function_name}>{parameters}{end_tag}"};
  return row;
}

Row none() {
  Row row;
  row.format.name = "none";
  return row;
}

// The order is the order of detection: the more telling marks come first.
const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      gpt_oss(),
      deepseek_dsml("deepseek_v32", "function_calls"),
      deepseek_dsml("deepseek_v4", "tool_calls"),
      deepseek_v3(),
      deepseek_v31(),
      kimi_k2(),
      minimax_m2(),
      seed_oss(),
      hy3(),
      gemma4(),
      mistral(),
      mistral_json(),
      nemotron(),
      command_r(),
      lfm2(),
      gemma3(),
      gigachat(),
      functionary(),
      qwen3_coder(),
      glm(),
      apriel(),
      minimax_m1(),
      hermes(),
      llama3(),
      none(),
  };
  return table;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Reasoning that goes with several ways to call.
const std::vector<ReasoningSyntax>& reasonings() {
  static const std::vector<ReasoningSyntax> table = {
      {"[THINK]", "[/THINK]"},
      {"<seed:think>", "</seed:think>"},
      {"<mm:think>", "</mm:think>"},
      {"<think:opensource>", "</think:opensource>"},
      {"<|channel>thought\n", "<channel|>"},
      {"<|START_THINKING|>", "<|END_THINKING|>"},
      {"Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"},
      {"<think>", "</think>"},
  };
  return table;
}

ReasoningSyntax detect_reasoning(std::string_view template_source, const Tokenizer& tokenizer) {
  for (const ReasoningSyntax& one : reasonings()) {
    // A template spells the line break at its end as \n.
    const std::string_view open = std::string_view(one.open).substr(0, one.open.find('\n'));
    if (contains(template_source, open) && contains(template_source, one.close)) return one;
  }
  for (const ReasoningSyntax& one : reasonings()) {
    if (tokenizer.find_special(one.open) && tokenizer.find_special(one.close)) return one;
  }
  return reasonings().back();
}

std::vector<const std::string*> texts_of(const AnswerFormat& format) {
  const CallSyntax& c = format.calls;
  return {&format.reasoning.open,
          &format.reasoning.close,
          &c.begin,
          &c.before_name,
          &c.after_name,
          &c.after_arguments,
          &c.end,
          &c.before_key,
          &c.after_key,
          &c.before_value,
          &c.before_json_value,
          &c.after_value,
          &c.before_id};
}

// Words of gpt-oss that its texts above do not have.
constexpr std::string_view kHarmonyMarkers[] = {"<|start|>", "<|return|>", "<|constrain|>"};

// A vocabulary may have tokens for blanks and words too; those are no markup.
bool is_markup(std::string_view text) {
  if (text.size() < 3) return false;
  return text.find_first_of("<>[]|") != std::string_view::npos || contains(text, "｜");
}

void add_markers(std::string_view text, const Tokenizer& tokenizer, AnswerFormat& format) {
  for (size_t at = 0; at < text.size();) {
    size_t found = 0;
    for (size_t n = text.size() - at; n >= 3; --n) {
      const std::string_view part = text.substr(at, n);
      if (!is_markup(part)) continue;
      const std::optional<int32_t> id = tokenizer.find_special(part);
      if (!id) continue;
      const bool known = std::any_of(format.markers.begin(), format.markers.end(),
                                     [&](const auto& marker) { return marker.id == *id; });
      if (!known) format.markers.push_back({std::string(part), *id});
      found = n;
      break;
    }
    at += std::max<size_t>(found, 1);
  }
}

AnswerFormat made_for(AnswerFormat format, std::string_view template_source,
                      const Tokenizer& tokenizer) {
  if (format.reasoning.open.empty()) {
    format.reasoning = detect_reasoning(template_source, tokenizer);
  }
  for (const std::string* text : texts_of(format)) add_markers(*text, tokenizer, format);
  if (format.calls.layout == CallLayout::harmony) {
    for (const std::string_view text : kHarmonyMarkers) add_markers(text, tokenizer, format);
  }
  return format;
}

}  // namespace

std::span<const std::string_view> answer_format_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const Row& row : rows()) all.push_back(row.format.name);
    return all;
  }();
  return names;
}

AnswerFormat detect_answer_format(std::string_view template_source, const Tokenizer& tokenizer) {
  for (const Row& row : rows()) {
    const auto& marks = row.template_marks;
    if (!row.template_lacks.empty() && contains(template_source, row.template_lacks)) continue;
    if (!marks.empty() && std::all_of(marks.begin(), marks.end(), [&](std::string_view mark) {
          return contains(template_source, mark);
        })) {
      return made_for(row.format, template_source, tokenizer);
    }
  }
  for (const Row& row : rows()) {
    const auto& tokens = row.tokens;
    if (!row.template_lacks.empty() && contains(template_source, row.template_lacks)) continue;
    if (!tokens.empty() && std::all_of(tokens.begin(), tokens.end(), [&](std::string_view token) {
          return tokenizer.find_special(token).has_value();
        })) {
      return made_for(row.format, template_source, tokenizer);
    }
  }
  // The built-in ChatML prompt has the model write calls as Hermes does.
  const bool chatml = template_source.empty() && tokenizer.find_special("<|im_start|>");
  const std::string_view name = chatml ? "hermes" : "none";
  return answer_format_by_name(name, template_source, tokenizer).value();
}

Result<AnswerFormat> answer_format_by_name(std::string_view name, std::string_view template_source,
                                           const Tokenizer& tokenizer) {
  std::string names;
  for (const Row& row : rows()) {
    if (row.format.name == name) return made_for(row.format, template_source, tokenizer);
    names += names.empty() ? "" : ", ";
    names += row.format.name;
  }
  return usage_error("tool parser: expected one of {}, found another name", names);
}

bool prompt_opens_reasoning(const AnswerFormat& format, const Tokenizer& tokenizer,
                            std::span<const int32_t> prompt) {
  const std::string_view open = format.reasoning.open;
  const std::string_view close = format.reasoning.close;
  if (open.empty()) return false;
  const auto marker_of = [&](int32_t id) -> const AnswerFormat::Marker* {
    for (const AnswerFormat::Marker& marker : format.markers) {
      if (marker.id == id) return &marker;
    }
    return nullptr;
  };
  const auto begins_with_token = [&](std::string_view text) {
    return std::any_of(format.markers.begin(), format.markers.end(),
                       [&](const auto& marker) { return text.starts_with(marker.text); });
  };
  constexpr size_t kTailTokens = 64;
  std::string behind;  // the text from this token on
  const bool has_tokens = begins_with_token(open);
  for (size_t i = prompt.size(); i-- > 0;) {
    const AnswerFormat::Marker* marker = marker_of(prompt[i]);
    if (!has_tokens && prompt.size() - i > kTailTokens) return false;
    behind.insert(0, tokenizer.token_bytes(prompt[i]));
    if (!has_tokens) {
      // The last thing the prompt says but for blanks.
      const size_t last = behind.find_last_not_of(" \t\r\n");
      std::string_view said = std::string_view(behind).substr(0, last + 1);
      const size_t open_last = open.find_last_not_of(" \t\r\n");
      const std::string_view word = open.substr(0, open_last + 1);
      if (said.size() >= word.size()) return said.ends_with(word);
      continue;
    }
    if (marker != nullptr && behind.starts_with(close)) return false;
    if (marker != nullptr && behind.starts_with(open)) return true;
    if (marker == nullptr && tokenizer.is_control(prompt[i])) return false;
    // Only the beginning is looked at.
    behind.resize(std::min(behind.size(), std::max(open.size(), close.size())));
  }
  return false;
}

std::string tool_call_id(CallIdShape shape, std::string_view answer, uint32_t choice,
                         uint32_t call) {
  std::string id;
  if (shape == CallIdShape::any) {
    id = "call_";
    id += answer;
    return id + "_" + std::to_string(choice) + "_" + std::to_string(call);
  }
  // Five of the answer, one of the choice (there are at most 8), three of the call.
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  id = answer.substr(0, 5);
  id.resize(5, '0');
  id += kDigits[choice % kDigits.size()];
  std::string number(3, '0');
  for (size_t i = 3, rest = call; i > 0; rest /= kDigits.size()) {
    number[--i] = kDigits[rest % kDigits.size()];
  }
  return id + number;
}

bool is_answer_markup(std::string_view text) {
  if (!is_markup(text)) return false;
  for (const std::string_view marker : kHarmonyMarkers) {
    if (marker == text) return true;
  }
  for (const ReasoningSyntax& one : reasonings()) {
    if (contains(one.open, text) || contains(one.close, text)) return true;
  }
  for (const Row& row : rows()) {
    for (const std::string* part : texts_of(row.format)) {
      if (contains(*part, text)) return true;
    }
  }
  return false;
}

}  // namespace floe
