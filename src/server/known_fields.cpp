#include "server/known_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <unordered_map>

namespace floe {
namespace {

using enum FieldUse;

constexpr uint8_t kChat = kChatEndpoint;
constexpr uint8_t kText = kCompletionsEndpoint;
constexpr uint8_t kPrompt = kPromptEndpoint;
constexpr uint8_t kBoth = kChat | kText;
constexpr uint8_t kAll = kChat | kText | kPrompt;

constexpr uint8_t kFalse = kNeutralFalse;
constexpr uint8_t kTrue = kNeutralTrue;
constexpr uint8_t kZero = kNeutralZero;
constexpr uint8_t kOne = kNeutralOne;
constexpr uint8_t kNegative = kNeutralNegative;
constexpr uint8_t kEmpty = kNeutralEmpty;

constexpr std::string_view kNoGrammar =
    "use response_format, grammar, guided_regex or guided_choice";
constexpr std::string_view kNoSampler = "there is no such sampler here";
constexpr std::string_view kNoBudget =
    "reasoning can be switched on and off, but not be given a budget";
constexpr std::string_view kNoMedia = "only text goes in and comes out";
constexpr std::string_view kNoSearch = "the server looks nothing up";
constexpr std::string_view kOneModel = "one model is served as it was loaded";
constexpr std::string_view kOneTemplate = "prompts are made by the model's own chat template";
constexpr std::string_view kNoTruncation = "prompts are not shortened";
constexpr std::string_view kNoDetails = "answers do not carry that";
constexpr std::string_view kStopsLeftOut = "stop strings and stop tokens are always left out";
constexpr std::string_view kReasoningApart =
    "reasoning always comes apart from the content, in reasoning_content";
constexpr std::string_view kChatOnly = "it belongs to /v1/chat/completions";
constexpr std::string_view kTextOnly = "it belongs to /v1/completions";
constexpr std::string_view kOllama = "Ollama's options go beside messages, each as a field";
constexpr std::string_view kResponses = "it belongs to /v1/responses";
constexpr std::string_view kStateless =
    "chats are not kept: send all messages, or use /v1/responses";

constexpr KnownField kKnown[] = {
    // What is asked, and how it is answered.
    {"model", kAll, done, 0, "", "the served model's name or file name; left out: any"},
    {"messages", kChat | kPrompt, done, 0, "", "the conversation"},
    {"messages", kText, refused, kEmpty, "", kChatOnly},
    {"prompt", kText, done, 0, "", "a text, token ids, or up to 64 of those"},
    {"prompt", kChat, refused, kEmpty, "", kTextOnly},
    {"stream", kBoth, done, 0, "", "server-sent events"},
    {"stream_options", kBoth, done, 0, "", "include_usage"},
    {"n", kBoth, done, 0, "", "answers to each prompt, 1 to 8"},
    {"n_cmpl", kBoth, done, 0, "", "the same, llama.cpp's name"},
    {"best_of", kBoth, done, 0, "", "only as n says"},
    {"max_tokens", kBoth, done, 0, "",
     "tokens of an answer; 0: none, the prompt is only computed; -1: as if left out"},
    {"max_completion_tokens", kBoth, done, 0, "", "the same"},
    {"max_output_tokens", kBoth, done, 0, "", "the same"},
    {"max_new_tokens", kBoth, done, 0, "", "the same"},
    {"n_predict", kBoth, done, 0, "", "the same"},
    {"num_predict", kBoth, done, 0, "", "the same"},
    {"min_tokens", kBoth, done, 0, "",
     "until then neither the model's end token nor stop_token_ids nor stop end an answer"},
    {"stop", kBoth, done, 0, "", "a string or up to 16"},
    {"stop_token_ids", kBoth, done, 0, "", "up to 1,024 ids that end an answer, not part of it"},
    {"ignore_eos", kBoth, done, 0, "", "the model's end token does not end an answer"},
    {"echo", kText, done, 0, "", "the prompt before the answer; with logprobs: theirs too"},
    {"echo", kChat, refused, kFalse, "", kTextOnly},
    {"suffix", kText, refused, kEmpty, "", "nothing can be filled in before a given end"},
    {"logprobs", kBoth, done, 0, "", "chat: true; completions: how many, 0 to 20"},
    {"top_logprobs", kChat, done, 0, "", "how many, 0 to 20; needs logprobs"},
    {"top_logprobs", kText, refused, kZero, "", "completions have it in logprobs"},
    {"prompt_logprobs", kBoth, done, 0, "",
     "how probable the prompt was, with the 0 to 20 best tokens at each place; not in streams"},
    {"timings_per_token", kBoth, done, 0, "", "timings in every chunk"},
    {"prediction", kBoth, done, 0, "", "what the answer will probably be"},
    {"speculative.n_max", kBoth, done, 0, "", "at most so many guesses in a step"},
    {"cache_prompt", kBoth, done, 0, "",
     "false: the prompt is computed anew, and nothing of it is kept for others"},
    {"cache_salt", kBoth, done, 0, "",
     "a text: only requests with the same one start from each other's prompts"},
    {"extra_key", kBoth, done, 0, "", "the same, SGLang's name"},

    // How tokens are chosen.
    {"temperature", kBoth, done, 0, "", "0 to 100; 0: greedy"},
    {"top_p", kBoth, done, 0, "", "0 to 1"},
    {"top_k", kBoth, done, 0, "", "0 or -1: all"},
    {"min_p", kBoth, done, 0, "", "0 to 1"},
    {"frequency_penalty", kBoth, done, 0, "", "-2 to 2"},
    {"presence_penalty", kBoth, done, 0, "", "-2 to 2"},
    {"repeat_penalty", kBoth, done, 0, "", "0.01 to 100"},
    {"repetition_penalty", kBoth, done, 0, "", "the same"},
    {"repeat_last_n", kBoth, done, 0, "", "tokens that the penalties look at; -1: all"},
    {"seed", kBoth, done, 0, "", "a 64-bit integer; -1: random"},
    {"logit_bias", kBoth, done, 0, "", "up to 1,024 ids, -100 to 100"},
    {"bad_words", kBoth, done, 0, "", "up to 256 texts whose tokens do not come out in a row"},

    // How prompts are made.
    {"tools", kChat | kPrompt, done, 0, "",
     "up to 128 functions; strict binds arguments to the schema"},
    {"tools", kText, refused, kEmpty, "", kChatOnly},
    {"tool_choice", kChat | kPrompt, done, 0, "", "auto, none, required, or one function"},
    {"tool_choice", kText, refused, kEmpty, "auto none", kChatOnly},
    {"parallel_tool_calls", kChat, done, 0, "", "false: the answer ends behind the first call"},
    {"parallel_tool_calls", kText | kPrompt, harmless, 0, ""},
    {"reasoning_effort", kChat | kPrompt, done, 0, "",
     "none: no reasoning; any other: reasoning, and the template is told which"},
    {"reasoning", kChat | kPrompt, done, 0, "", "effort and enabled, as OpenRouter has them"},
    {"enable_thinking", kChat | kPrompt, done, 0, "", "reasoning on or off"},
    {"think", kChat | kPrompt, done, 0, "", "the same"},
    {"thinking", kChat | kPrompt, done, 0, "", "the same, or an object with a type"},
    {"chat_template_kwargs", kChat | kPrompt, done, 0, "",
     "variables of the chat template, such as enable_thinking"},
    {"reasoning_effort", kText, refused, kEmpty, "auto default none", kChatOnly},
    {"reasoning", kText, refused, kEmpty, "", kChatOnly},
    {"enable_thinking", kText, refused, kFalse, "", kChatOnly},
    {"think", kText, refused, kFalse, "", kChatOnly},
    {"thinking", kText, refused, kFalse | kEmpty, "", kChatOnly},
    {"chat_template_kwargs", kText, refused, kEmpty, "", kChatOnly},
    {"add_generation_prompt", kChat | kPrompt, done, 0, "", "false: no turn is opened"},
    {"add_generation_prompt", kText, refused, kTrue | kFalse, "", kChatOnly},
    {"continue_final_message", kChat | kPrompt, done, 0, "",
     "false: a final message of the assistant does not go on"},
    {"continue_final_message", kText, refused, kFalse, "", kChatOnly},
    {"add_special_tokens", kText, done, 0, "", "false: no token is put before the prompt"},
    {"add_special_tokens", kChat | kPrompt, refused, kFalse, "", kOneTemplate},
    {"response_format", kBoth, done, 0, "", "text, json_object, or json_schema with a schema"},
    {"json_schema", kBoth, done, 0, "", "a schema for the answer"},
    {"grammar", kBoth, done, 0, "", "a grammar for the answer, in GBNF"},
    {"guided_json", kBoth, done, 0, "", "a schema for the answer, also as text"},
    {"guided_json_object", kBoth, done, 0, "", "true: the answer is a JSON object"},
    {"guided_regex", kBoth, done, 0, "", "an expression that the answer matches as a whole"},
    {"regex", kBoth, done, 0, "", "the same"},
    {"guided_choice", kBoth, done, 0, "", "texts, one of which is the answer"},
    {"guided_grammar", kBoth, done, 0, "", "as grammar"},
    {"structured_outputs", kBoth, done, 0, "", "json, regex, choice, grammar or json_object"},

    // Known, and without effect on an answer: who asks, and how the server should work inside.
    {"user", kAll, harmless, 0, ""},
    {"metadata", kAll, harmless, 0, ""},
    {"store", kBoth, harmless, 0, ""},
    {"service_tier", kBoth, harmless, 0, ""},
    {"safety_identifier", kBoth, harmless, 0, ""},
    {"prompt_cache_key", kBoth, harmless, 0, ""},
    {"prompt_cache_retention", kBoth, harmless, 0, ""},
    {"prompt_cache_options", kBoth, harmless, 0, ""},
    {"cache_control", kBoth, harmless, 0, ""},
    {"n_cache_reuse", kBoth, harmless, 0, ""},
    {"n_keep", kBoth, harmless, 0, ""},
    {"n_discard", kBoth, harmless, 0, ""},
    {"id_slot", kBoth, harmless, 0, ""},
    {"slot_id", kBoth, harmless, 0, ""},
    {"priority", kBoth, harmless, 0, ""},
    {"request_id", kBoth, harmless, 0, ""},
    {"session_id", kBoth, harmless, 0, ""},
    {"rid", kBoth, harmless, 0, ""},
    {"conversation_id", kBoth, harmless, 0, ""},
    {"custom_labels", kBoth, harmless, 0, ""},
    {"keep_alive", kBoth, harmless, 0, ""},
    {"ttl", kBoth, harmless, 0, ""},
    {"provider", kBoth, harmless, 0, ""},
    {"route", kBoth, harmless, 0, ""},
    {"usage", kBoth, harmless, 0, ""},
    {"verbose", kBoth, harmless, 0, ""},
    {"return_progress", kBoth, harmless, 0, ""},
    {"sse_ping_interval", kBoth, harmless, 0, ""},
    {"stream_interval", kBoth, harmless, 0, ""},
    {"backend_sampling", kBoth, harmless, 0, ""},
    {"truncation_side", kBoth, harmless, 0, ""},
    {"return_mm_kwargs", kBoth, harmless, 0, ""},
    {"return_token_offsets", kBoth, harmless, 0, ""},
    {"data_parallel_rank", kBoth, harmless, 0, ""},
    {"bootstrap_host", kBoth, harmless, 0, ""},
    {"bootstrap_port", kBoth, harmless, 0, ""},
    {"bootstrap_room", kBoth, harmless, 0, ""},
    // Guessing ahead changes no answer.
    {"draft_model", kBoth, harmless, 0, ""},
    {"ngram_corpus_id", kBoth, harmless, 0, ""},
    {"speculative.n_min", kBoth, harmless, 0, ""},
    {"speculative.p_min", kBoth, harmless, 0, ""},
    {"speculative.type", kBoth, harmless, 0, ""},
    {"speculative.ngram_size_n", kBoth, harmless, 0, ""},
    {"speculative.ngram_size_m", kBoth, harmless, 0, ""},
    {"speculative.ngram_min_hits", kBoth, harmless, 0, ""},
    // Without effect beside the fields that are refused below.
    {"xtc_threshold", kBoth, harmless, 0, ""},
    {"dynatemp_exponent", kBoth, harmless, 0, ""},
    {"dry_base", kBoth, harmless, 0, ""},
    {"dry_allowed_length", kBoth, harmless, 0, ""},
    {"dry_penalty_last_n", kBoth, harmless, 0, ""},
    {"dry_sequence_breakers", kBoth, harmless, 0, ""},
    {"mirostat_tau", kBoth, harmless, 0, ""},
    {"mirostat_eta", kBoth, harmless, 0, ""},
    {"adaptive_decay", kBoth, harmless, 0, ""},
    {"smoothing_curve", kBoth, harmless, 0, ""},
    {"penalize_nl", kBoth, harmless, 0, ""},
    {"dynatemp_low", kBoth, harmless, 0, ""},
    {"dynatemp_high", kBoth, harmless, 0, ""},
    {"grammar_type", kBoth, harmless, 0, ""},
    {"preserved_tokens", kBoth, harmless, 0, ""},
    {"guided_decoding_backend", kBoth, harmless, 0, ""},
    {"reasoning_budget_message", kBoth, harmless, 0, ""},
    {"reasoning_budget_start_tag", kBoth, harmless, 0, ""},
    {"reasoning_budget_end_tag", kBoth, harmless, 0, ""},
    {"reasoning_budget_end_tags", kBoth, harmless, 0, ""},
    {"routed_experts_prompt_start", kBoth, harmless, 0, ""},
    {"routed_experts_start_len", kBoth, harmless, 0, ""},

    // Held to a form.
    {"grammar_string", kBoth, refused, kEmpty, "", kNoGrammar},
    {"grammar_lazy", kBoth, refused, kFalse, "", kNoGrammar},
    {"grammar_triggers", kBoth, refused, kEmpty, "", kNoGrammar},
    {"guided_whitespace_pattern", kBoth, refused, kEmpty, "", kNoGrammar},
    {"structural_tag", kBoth, refused, kEmpty, "", kNoGrammar},
    {"ebnf", kBoth, refused, kEmpty, "", kNoGrammar},
    {"format", kBoth, refused, kEmpty, "text", kNoGrammar},
    {"n_indent", kBoth, refused, kZero, "", kNoGrammar},
    {"stop_regex", kBoth, refused, kEmpty, "", "answers end at texts and tokens, not at patterns"},

    // Other ways to choose tokens.
    {"typical_p", kBoth, refused, kOne, "", kNoSampler},
    {"typical", kBoth, refused, kOne, "", kNoSampler},
    {"tfs_z", kBoth, refused, kOne, "", kNoSampler},
    {"tfs", kBoth, refused, kOne, "", kNoSampler},
    {"top_a", kBoth, refused, kZero, "", kNoSampler},
    {"top_n_sigma", kBoth, refused, kZero | kNegative, "", kNoSampler},
    {"nsigma", kBoth, refused, kZero | kNegative, "", kNoSampler},
    {"xtc_probability", kBoth, refused, kZero, "", kNoSampler},
    {"dynatemp_range", kBoth, refused, kZero, "", kNoSampler},
    {"dynamic_temperature", kBoth, refused, kFalse, "", kNoSampler},
    {"temperature_last", kBoth, refused, kTrue, "", kNoSampler},
    {"mirostat", kBoth, refused, kZero, "", kNoSampler},
    {"mirostat_mode", kBoth, refused, kZero, "", kNoSampler},
    {"dry_multiplier", kBoth, refused, kZero, "", kNoSampler},
    {"adaptive_target", kBoth, refused, kNegative, "", kNoSampler},
    {"smoothing_factor", kBoth, refused, kZero, "", kNoSampler},
    {"epsilon_cutoff", kBoth, refused, kZero, "", kNoSampler},
    {"eta_cutoff", kBoth, refused, kZero, "", kNoSampler},
    {"penalty_alpha", kBoth, refused, kZero, "", kNoSampler},
    {"encoder_repetition_penalty", kBoth, refused, kOne, "", kNoSampler},
    {"no_repeat_ngram_size", kBoth, refused, kZero, "", kNoSampler},
    {"guidance_scale", kBoth, refused, kOne, "", kNoSampler},
    {"cfg_scale", kBoth, refused, kOne, "", kNoSampler},
    {"negative_prompt", kBoth, refused, kEmpty, "", kNoSampler},
    {"min_keep", kBoth, refused, kZero | kOne, "", kNoSampler},
    {"samplers", kBoth, refused, kEmpty, "", "samplers run in one order"},
    {"sampler_priority", kBoth, refused, kEmpty, "", "samplers run in one order"},
    {"sampler_order", kBoth, refused, kEmpty, "", "samplers run in one order"},
    {"do_sample", kBoth, refused, kTrue, "", "temperature 0 takes the best token"},
    {"use_beam_search", kBoth, refused, kFalse, "", kNoSampler},
    {"num_beams", kBoth, refused, kOne, "", kNoSampler},
    {"length_penalty", kBoth, refused, kOne, "", kNoSampler},
    {"early_stopping", kBoth, refused, kFalse, "", kNoSampler},
    {"watermark", kBoth, refused, kFalse, "", kNoSampler},
    {"watermarking", kBoth, refused, kFalse, "", kNoSampler},
    {"repetition_detection", kBoth, refused, kFalse | kEmpty, "", kNoSampler},
    {"custom_logit_processor", kBoth, refused, kEmpty, "", kNoSampler},
    {"custom_params", kBoth, refused, kEmpty, "", kNoSampler},
    {"logits_processors", kBoth, refused, kEmpty, "", kNoSampler},
    {"vllm_xargs", kBoth, refused, kEmpty, "", kNoSampler},
    {"allowed_token_ids", kBoth, refused, kEmpty, "", "tokens can be favoured with logit_bias"},
    {"banned_tokens", kBoth, refused, kEmpty, "", "use logit_bias or bad_words"},
    {"custom_token_bans", kBoth, refused, kEmpty, "", "use logit_bias or bad_words"},
    {"banned_strings", kBoth, refused, kEmpty, "", "use bad_words"},
    {"ban_eos_token", kBoth, refused, kFalse, "", "use ignore_eos"},
    {"min_length", kBoth, refused, kZero, "", "use min_tokens"},
    {"min_new_tokens", kBoth, refused, kZero, "", "use min_tokens"},
    {"random_seed", kBoth, refused, 0, "", "use seed"},
    {"stop_sequences", kBoth, refused, kEmpty, "", "use stop"},
    {"stopping_strings", kBoth, refused, kEmpty, "", "use stop"},
    {"t_max_predict_ms", kBoth, refused, kZero | kNegative, "",
     "answers end by tokens, not by time"},

    // What an answer looks like.
    {"include_stop_str_in_output", kBoth, refused, kFalse, "", kStopsLeftOut},
    {"no_stop_trim", kBoth, refused, kFalse, "", kStopsLeftOut},
    {"skip_special_tokens", kBoth, refused, kTrue, "", "special tokens are always left out"},
    {"spaces_between_special_tokens", kBoth, refused, kTrue, "",
     "special tokens are always left out"},
    {"return_full_text", kBoth, refused, kFalse, "", "use echo of /v1/completions"},
    {"return_tokens", kBoth, refused, kFalse, "", kNoDetails},
    {"return_token_ids", kBoth, refused, kFalse, "", kNoDetails},
    {"return_prompt_token_ids", kBoth, refused, kFalse, "", kNoDetails},
    {"return_prompt_text", kBoth, refused, kFalse, "", kNoDetails},
    {"return_tokens_as_token_ids", kBoth, refused, kFalse, "", kNoDetails},
    {"return_hidden_states", kBoth, refused, kFalse, "", kNoDetails},
    {"return_routed_experts", kBoth, refused, kFalse, "", kNoDetails},
    {"return_cached_tokens_details", kBoth, refused, kFalse, "", kNoDetails},
    {"return_meta_info", kBoth, refused, kFalse, "", kNoDetails},
    {"logprob_token_ids", kBoth, refused, kEmpty, "", kNoDetails},
    {"n_probs", kBoth, refused, kZero, "", "use logprobs"},
    {"post_sampling_probs", kBoth, refused, kFalse, "", kNoDetails},
    {"response_fields", kBoth, refused, kEmpty, "", "answers come whole"},
    {"details", kBoth, refused, kFalse, "", kNoDetails},
    {"decoder_input_details", kBoth, refused, kFalse, "", "use prompt_logprobs"},
    {"top_n_tokens", kBoth, refused, kZero, "", "use top_logprobs"},
    {"verbosity", kChat, refused, kEmpty, "medium", "no model has that setting here"},
    {"include_reasoning", kChat, refused, kTrue, "", kReasoningApart},
    {"separate_reasoning", kChat, refused, kTrue, "", kReasoningApart},
    {"stream_reasoning", kChat, refused, kTrue, "", kReasoningApart},
    {"reasoning_format", kChat, refused, kEmpty, "auto deepseek", kReasoningApart},
    {"reasoning_split", kChat, refused, kTrue, "", kReasoningApart},
    {"parse_tool_calls", kChat, refused, kTrue, "", "tool calls are always taken out of the text"},
    {"reasoning_control", kChat, refused, kFalse, "", kNoBudget},
    {"reasoning_budget", kChat, refused, kNegative, "", kNoBudget},
    {"reasoning_budget_tokens", kChat, refused, kNegative, "", kNoBudget},
    {"thinking_budget", kChat, refused, kNegative, "", kNoBudget},
    {"thinking_budget_tokens", kChat, refused, kNegative, "", kNoBudget},
    {"thinking_token_budget", kBoth, refused, kNegative, "", kNoBudget},

    // Other prompts, other models, other media.
    {"functions", kChat | kPrompt, refused, kEmpty, "", "use tools"},
    {"function_call", kChat | kPrompt, refused, kEmpty, "auto none", "use tool_choice"},
    {"chat_template", kChat | kPrompt, refused, kEmpty, "", kOneTemplate},
    {"template", kBoth, refused, kEmpty, "", kOneTemplate},
    {"chat_format", kBoth, refused, 0, "", kOneTemplate},
    {"chat_parser", kBoth, refused, kEmpty, "", kOneTemplate},
    {"generation_prompt", kBoth, refused, kEmpty, "", kOneTemplate},
    {"instruction_template", kBoth, refused, kEmpty, "", kOneTemplate},
    {"tool_prompt", kBoth, refused, kEmpty, "", kOneTemplate},
    {"guideline", kBoth, refused, kEmpty, "", kOneTemplate},
    {"safe_prompt", kBoth, refused, kFalse, "", kOneTemplate},
    {"prompt_mode", kBoth, refused, kEmpty, "", kOneTemplate},
    {"task", kChat, refused, kEmpty, "", kOneTemplate},
    {"system", kBoth, refused, kEmpty, "", "use a message with the role system"},
    {"instructions", kBoth, refused, kEmpty, "", "use a message with the role system"},
    {"documents", kChat | kPrompt, refused, kEmpty, "", "put them into a message"},
    {"context", kBoth, refused, kEmpty, "", kStateless},
    {"previous_response_id", kBoth, refused, kEmpty, "", kStateless},
    {"conversation", kBoth, refused, kEmpty, "", kStateless},
    {"session_params", kBoth, refused, kEmpty, "", kStateless},
    {"background", kBoth, refused, kFalse, "", kStateless},
    {"deferred", kBoth, refused, kFalse, "", kStateless},
    {"input", kBoth, refused, kEmpty, "", kResponses},
    {"include", kBoth, refused, kEmpty, "", kResponses},
    {"text", kBoth, refused, kEmpty, "", kResponses},
    {"max_tool_calls", kBoth, refused, 0, "", kResponses},
    {"truncation", kBoth, refused, kEmpty, "disabled", kNoTruncation},
    {"truncate", kBoth, refused, kFalse | kZero, "", kNoTruncation},
    {"truncate_prompt_tokens", kBoth, refused, 0, "", kNoTruncation},
    {"prompt_truncate_len", kBoth, refused, kZero, "", kNoTruncation},
    {"transforms", kBoth, refused, kEmpty, "", kNoTruncation},
    {"num_ctx", kBoth, refused, 0, "", "the context is set when the server starts"},
    {"options", kBoth, refused, kEmpty, "", kOllama},
    {"raw", kBoth, refused, kFalse, "", kOneTemplate},
    {"inputs", kBoth, refused, kEmpty, "", "use messages or prompt"},
    {"parameters", kBoth, refused, kEmpty, "", "each is a field of its own here"},
    {"models", kBoth, refused, kEmpty, "", kOneModel},
    {"lora", kBoth, refused, kEmpty, "", kOneModel},
    {"lora_path", kBoth, refused, kEmpty, "", kOneModel},
    {"adapter_id", kBoth, refused, kEmpty, "", kOneModel},
    {"modalities", kChat, refused, kEmpty, "text", kNoMedia},
    {"audio", kChat, refused, kEmpty, "", kNoMedia},
    {"images", kBoth, refused, kEmpty, "", kNoMedia},
    {"image_data", kBoth, refused, kEmpty, "", kNoMedia},
    {"mm_processor_kwargs", kBoth, refused, kEmpty, "", kNoMedia},
    {"media_io_kwargs", kBoth, refused, kEmpty, "", kNoMedia},
    {"prompt_embeds", kText, refused, kEmpty, "", kNoMedia},
    {"input_embeds", kBoth, refused, kEmpty, "", kNoMedia},
    {"kv_transfer_params", kBoth, refused, kEmpty, "", kNoMedia},
    {"ec_transfer_params", kBoth, refused, kEmpty, "", kNoMedia},
    {"web_search_options", kChat, refused, 0, "", kNoSearch},
    {"search_parameters", kChat, refused, kEmpty, "", kNoSearch},
    {"plugins", kChat, refused, kEmpty, "", kNoSearch},
    {"mcp_servers", kChat, refused, kEmpty, "", kNoSearch},
};

bool has_word(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    if (words.substr(0, end) == word) return true;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return false;
}

}  // namespace

std::span<const KnownField> known_fields() {
  return kKnown;
}

const KnownField* find_known_field(std::string_view name, Endpoint endpoint) {
  static const auto kByName = [] {
    std::unordered_multimap<std::string_view, const KnownField*> rows;
    for (const KnownField& field : kKnown) rows.emplace(field.name, &field);
    return rows;
  }();
  const auto [begin, end] = kByName.equal_range(name);
  for (auto row = begin; row != end; ++row) {
    if ((row->second->endpoints & endpoint) != 0) return row->second;
  }
  return nullptr;
}

bool is_neutral(const KnownField& field, const Json& value) {
  const auto has = [&](NeutralValue bit) { return (field.neutral & bit) != 0; };
  if (value.is_null()) return true;
  if (value.is_boolean()) return has(value.get<bool>() ? kNeutralTrue : kNeutralFalse);
  if (value.is_number()) {
    const double number = value.get<double>();
    return (number == 0 && has(kNeutralZero)) || (number == 1 && has(kNeutralOne)) ||
           (number < 0 && has(kNeutralNegative));
  }
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    return text.empty() ? has(kNeutralEmpty) : has_word(field.words, text);
  }
  if (value.empty()) return has(kNeutralEmpty);
  return value.is_array() && std::all_of(value.begin(), value.end(), [&](const Json& item) {
           return item.is_string() && has_word(field.words, item.get_ref<const std::string&>());
         });
}

std::optional<ApiError> refuse_fields(const Json& body, Endpoint endpoint) {
  for (const auto& [name, value] : body.items()) {
    const KnownField* field = find_known_field(name, endpoint);
    if (field == nullptr || field->use != FieldUse::refused || is_neutral(*field, value)) continue;
    ApiError error = ApiError::invalid(
        std::string(field->name), fmt::format("{} is not supported: {}", field->name, field->says));
    error.code = "unsupported_parameter";
    return error;
  }
  return std::nullopt;
}

}  // namespace floe
