#include "server/openai_response.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "server/json_append.h"

namespace floe {
namespace {

// JSON has no infinities; this is what OpenAI reports for a token that cannot occur.
constexpr double kLowestLogprob = -9999.0;

double finite(double value) {
  return std::isfinite(value) ? value : 0.0;
}

double json_logprob(float value) {
  return std::isfinite(value) ? std::max(static_cast<double>(value), kLowestLogprob)
                              : kLowestLogprob;
}

void append_token_bytes(const TokenText& token, std::string& out) {
  out += "\"token\":";
  append_string(token.bytes, out);
  append_format(out, ",\"logprob\":{:.6g},\"bytes\":[", json_logprob(token.logprob));
  for (size_t i = 0; i < token.bytes.size(); ++i) {
    append_format(out, "{}{}", i == 0 ? "" : ",", static_cast<unsigned char>(token.bytes[i]));
  }
  out += ']';
}

void append_chat_logprobs(std::span<const TokenLogprobEntry> entries, std::string& out) {
  out += "{\"content\":[";
  for (size_t i = 0; i < entries.size(); ++i) {
    out += i == 0 ? "{" : ",{";
    append_token_bytes(entries[i].token, out);
    out += ",\"top_logprobs\":[";
    for (size_t k = 0; k < entries[i].top.size(); ++k) {
      out += k == 0 ? "{" : ",{";
      append_token_bytes(entries[i].top[k], out);
      out += '}';
    }
    out += "]}";
  }
  out += "],\"refusal\":null}";
}

// {"TEXT": logprob, ...}. Of several tokens with the same text the most probable one counts: a
// reader would keep one of them only, and it must be the best that is the best.
void append_top_by_text(const TokenLogprobEntry& entry, std::string& out) {
  if (entry.is_first) {
    out += "null";
    return;
  }
  out += '{';
  std::vector<std::string> written;
  for (const TokenText& top : entry.top) {
    std::string text;
    append_string(top.bytes, text);
    if (std::find(written.begin(), written.end(), text) != written.end()) continue;
    if (!written.empty()) out += ',';
    append_format(out, "{}:{:.6g}", text, json_logprob(top.logprob));
    written.push_back(std::move(text));
  }
  out += '}';
}

void append_completion_logprobs(std::span<const TokenLogprobEntry> entries, std::string& out) {
  out += "{\"tokens\":[";
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i != 0) out += ',';
    append_string(entries[i].token.bytes, out);
  }
  out += "],\"token_logprobs\":[";
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i != 0) out += ',';
    if (entries[i].is_first) {
      out += "null";
    } else {
      append_format(out, "{:.6g}", json_logprob(entries[i].token.logprob));
    }
  }
  out += "],\"top_logprobs\":[";
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i != 0) out += ',';
    append_top_by_text(entries[i], out);
  }
  out += "],\"text_offset\":[";
  for (size_t i = 0; i < entries.size(); ++i) {
    append_format(out, "{}{}", i == 0 ? "" : ",", entries[i].text_offset);
  }
  out += "]}";
}

void append_logprobs(bool chat, std::span<const TokenLogprobEntry> entries, std::string& out) {
  if (chat) return append_chat_logprobs(entries, out);
  append_completion_logprobs(entries, out);
}

void append_reasoning(ReasoningField field, std::string_view text, std::string& out) {
  if (field != ReasoningField::reasoning) {
    out += "\"reasoning_content\":";
    append_string(text, out);
  }
  if (field == ReasoningField::both) out += ',';
  if (field != ReasoningField::reasoning_content) {
    out += "\"reasoning\":";
    append_string(text, out);
  }
}

void append_tool_call(std::string_view id, std::string_view name, std::string_view arguments,
                      std::string& out) {
  out += "\"id\":";
  append_string(id, out);
  out += ",\"type\":\"function\",\"function\":{\"name\":";
  append_string(name, out);
  out += ",\"arguments\":";
  append_string(arguments, out);
  out += "}}";
}

std::string identity_head(const AnswerIdentity& identity, std::string_view object) {
  std::string out = "{\"id\":";
  append_string(identity.id, out);
  append_format(out, ",\"object\":\"{}\",\"created\":{},\"model\":", object, identity.created);
  append_string(identity.model, out);
  out += ",\"system_fingerprint\":";
  append_string(identity.fingerprint, out);
  out += ",\"choices\":[";
  return out;
}

}  // namespace

std::string usage_json(const AnswerUsage& usage) {
  return fmt::format(
      "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{},"
      "\"prompt_tokens_details\":{{\"cached_tokens\":{}}},"
      "\"completion_tokens_details\":{{\"reasoning_tokens\":{},\"accepted_prediction_tokens\":{},"
      "\"rejected_prediction_tokens\":{}}}}}",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens,
      usage.cached_tokens, usage.reasoning_tokens, usage.accepted_prediction_tokens,
      usage.rejected_prediction_tokens);
}

std::string figures_json(const AnswerFigures& f) {
  const uint64_t prompt_n = f.prompt_tokens - std::min(f.prompt_tokens, f.cached_tokens);
  const double prompt_ms = finite(f.timings.prefill_ms);
  const double predicted_ms = finite(f.timings.decode_ms);
  const auto per_token = [](double ms, double n) { return n > 0 ? ms / n : 0.0; };
  const auto per_second = [](double ms, double n) { return ms > 0 ? n * 1000.0 / ms : 0.0; };
  // predicted_ms begins at the first token, so it spans one interval less than there are tokens.
  const double n_intervals =
      f.completion_tokens > 0 ? static_cast<double>(f.completion_tokens - 1) : 0.0;
  const ChoiceTelemetry& t = f.telemetry;
  std::string out = fmt::format(
      "\"timings\":{{\"cache_n\":{},\"prompt_n\":{},\"prompt_ms\":{:.3f},\"prompt_per_token_ms\":{:"
      ".3f},"
      "\"prompt_per_second\":{:.3f},\"predicted_n\":{},\"predicted_ms\":{:.3f},"
      "\"predicted_per_token_ms\":{:.3f},\"predicted_per_second\":{:.3f}",
      f.cached_tokens, prompt_n, prompt_ms, per_token(prompt_ms, static_cast<double>(prompt_n)),
      per_second(prompt_ms, static_cast<double>(prompt_n)), f.completion_tokens, predicted_ms,
      per_token(predicted_ms, n_intervals), per_second(predicted_ms, n_intervals));
  if (t.n_drafted > 0) {
    append_format(out, ",\"draft_n\":{},\"draft_n_accepted\":{}", t.n_drafted, t.n_accepted);
  }
  append_format(out,
                "}},\"moe\":{{\"experts_union_mean\":{:.3f},\"routed_bytes\":{},\"dense_bytes\":{},"
                "\"gb_s\":{:.3f},\"pct_floor\":",
                finite(t.experts_union_mean), t.routed_bytes,
                t.total_bytes - std::min(t.total_bytes, t.routed_bytes), finite(t.gb_s));
  if (f.floor_gb_s > 0) {
    append_format(out, "{:.2f}", 100.0 * finite(t.gb_s) / f.floor_gb_s);
  } else {
    out += "null";
  }
  append_format(
      out, ",\"batch_mean\":{:.3f},\"step_ms\":{:.3f},\"predicted_step_ms\":", finite(t.batch_mean),
      per_token(1000.0 * finite(t.seconds), static_cast<double>(t.n_steps)));
  if (t.n_predicted_steps > 0) {
    append_format(out, "{:.3f}",
                  1000.0 * finite(t.predicted_seconds) / static_cast<double>(t.n_predicted_steps));
  } else {
    out += "null";
  }
  out += ",\"spec_state\":";
  append_string(t.spec_state, out);
  out += ",\"spec_reason\":";
  append_string(to_string(t.spec_reason), out);
  append_format(out, ",\"think_state\":\"{}\"}}", f.thinking ? "on" : "off");
  return out;
}

std::string prompt_logprobs_json(std::span<const PromptTokenEntry> tokens) {
  std::string out = "[";
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i != 0) out += ',';
    if (tokens[i].alternatives.empty()) {
      out += "null";
      continue;
    }
    out += '{';
    for (size_t k = 0; k < tokens[i].alternatives.size(); ++k) {
      const PromptTokenEntry::Alternative& token = tokens[i].alternatives[k];
      append_format(out, "{}\"{}\":{{\"logprob\":{:.6g},\"rank\":{},\"decoded_token\":",
                    k == 0 ? "" : ",", token.id, json_logprob(token.text.logprob), token.rank);
      append_string(token.text.bytes, out);
      out += '}';
    }
    out += '}';
  }
  out += ']';
  return out;
}

std::string answer_json(const AnswerIdentity& identity, std::span<const AnswerChoice> choices,
                        bool with_logprobs, const AnswerUsage& usage, std::string_view figures) {
  std::string out = identity_head(identity, identity.chat ? "chat.completion" : "text_completion");
  for (size_t i = 0; i < choices.size(); ++i) {
    const AnswerChoice& choice = choices[i];
    append_format(out, "{}{{\"index\":{},", i == 0 ? "" : ",", choice.index);
    if (identity.chat) {
      out += "\"message\":{\"role\":\"assistant\",\"content\":";
      // A message that only calls tools has no content.
      if (choice.content.empty() && !choice.tool_calls.empty()) {
        out += "null";
      } else {
        append_string(choice.content, out);
      }
      if (!choice.reasoning_content.empty()) {
        out += ',';
        append_reasoning(identity.reasoning_field, choice.reasoning_content, out);
      }
      if (!choice.tool_calls.empty()) {
        out += ",\"tool_calls\":[";
        for (size_t k = 0; k < choice.tool_calls.size(); ++k) {
          out += k == 0 ? "{" : ",{";
          const ToolCallText& call = choice.tool_calls[k];
          append_tool_call(call.id, call.name, call.arguments_json, out);
        }
        out += ']';
      }
      out += ",\"refusal\":null}";
    } else {
      out += "\"text\":";
      append_string(choice.content, out);
    }
    out += ",\"logprobs\":";
    if (with_logprobs) {
      append_logprobs(identity.chat, choice.logprobs, out);
    } else {
      out += "null";
    }
    append_format(out, ",\"finish_reason\":\"{}\"", choice.finish_reason);
    if (!identity.chat && !choice.prompt_logprobs.empty()) {
      out += ",\"prompt_logprobs\":" + choice.prompt_logprobs;
    }
    out += '}';
  }
  out += "],\"usage\":" + usage_json(usage);
  if (identity.chat && !choices.empty() && !choices.front().prompt_logprobs.empty()) {
    out += ",\"prompt_logprobs\":" + choices.front().prompt_logprobs;
  }
  if (!figures.empty()) {
    out += ',';
    out += figures;
  }
  out += '}';
  return out;
}

OpenAiWriter::OpenAiWriter(const AnswerIdentity& identity, bool with_usage)
    : identity_(identity),
      with_usage_(with_usage),
      head_("data: " +
            identity_head(identity, identity.chat ? "chat.completion.chunk" : "text_completion")),
      tail_(with_usage ? "],\"usage\":null" : "]") {}

void OpenAiWriter::open(uint32_t choice, std::string& out) const {
  out += head_;
  append_format(out, "{{\"index\":{},", choice);
}

void OpenAiWriter::close(std::span<const TokenLogprobEntry> logprobs,
                         std::string_view finish_reason, std::string_view figures,
                         std::string& out) const {
  out += ",\"logprobs\":";
  if (logprobs.empty()) {
    out += "null";
  } else {
    append_logprobs(identity_.chat, logprobs, out);
  }
  if (finish_reason.empty()) {
    out += ",\"finish_reason\":null}";
  } else {
    append_format(out, ",\"finish_reason\":\"{}\"}}", finish_reason);
  }
  out += tail_;
  if (!figures.empty()) {
    out += ',';
    out += figures;
  }
  out += "}\n\n";
}

void OpenAiWriter::begin(uint32_t choice, const AnswerUsage&, std::string& out) {
  if (!identity_.chat) return;
  open(choice, out);
  out += "\"delta\":{\"role\":\"assistant\",\"content\":null}";
  close({}, {}, {}, out);
}

void OpenAiWriter::reasoning(uint32_t choice, std::string_view text,
                             std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                             std::string& out) {
  open(choice, out);
  out += "\"delta\":{";
  append_reasoning(identity_.reasoning_field, text, out);
  out += '}';
  close(logprobs, {}, figures, out);
}

void OpenAiWriter::content(uint32_t choice, std::string_view text,
                           std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                           std::string& out) {
  open(choice, out);
  if (identity_.chat) {
    out += "\"delta\":{\"content\":";
    append_string(text, out);
    out += '}';
  } else {
    out += "\"text\":";
    append_string(text, out);
  }
  close(logprobs, {}, figures, out);
}

void OpenAiWriter::tool_call(uint32_t choice, uint32_t call_index, std::string_view id,
                             std::string_view name, std::span<const TokenLogprobEntry> logprobs,
                             std::string_view figures, std::string& out) {
  open(choice, out);
  append_format(out, "\"delta\":{{\"tool_calls\":[{{\"index\":{},", call_index);
  append_tool_call(id, name, {}, out);
  out += "]}";
  close(logprobs, {}, figures, out);
}

void OpenAiWriter::tool_arguments(uint32_t choice, uint32_t call_index, std::string_view text,
                                  std::span<const TokenLogprobEntry> logprobs,
                                  std::string_view figures, std::string& out) {
  open(choice, out);
  append_format(
      out, "\"delta\":{{\"tool_calls\":[{{\"index\":{},\"function\":{{\"arguments\":", call_index);
  append_string(text, out);
  out += "}}]}";
  close(logprobs, {}, figures, out);
}

void OpenAiWriter::finish(uint32_t choice, std::string_view reason, std::string_view,
                          std::span<const TokenLogprobEntry> logprobs, std::string_view figures,
                          std::string& out) {
  open(choice, out);
  out += identity_.chat ? "\"delta\":{}" : "\"text\":\"\"";
  close(logprobs, reason, figures, out);
}

void OpenAiWriter::finish_stream(const AnswerUsage& usage, std::string_view figures,
                                 std::string& out) {
  if (with_usage_) {
    out += head_;
    out += "],\"usage\":" + usage_json(usage);
    if (!figures.empty()) {
      out += ',';
      out += figures;
    }
    out += "}\n\n";
  }
  out += "data: [DONE]\n\n";
}

void OpenAiWriter::error(const ApiError& error, std::string& out) {
  out += "data: " + error_body(error) + "\n\n";
}

std::string OpenAiWriter::whole(std::span<const AnswerChoice> choices, bool with_logprobs,
                                const AnswerUsage& usage, std::string_view figures) const {
  return answer_json(identity_, choices, with_logprobs, usage, figures);
}

}  // namespace floe
