// The routes that take a body: parse, format, encode, submit. All of it runs on workers.
#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/json.h"
#include "server/anthropic_request.h"
#include "server/responses_request.h"
#include "server/responses_response.h"
#include "server/routes.h"
#include "text/unicode.h"

namespace floe {
namespace {

// Nothing depends on these being unguessable, only on their being different.
std::string random_name() {
  static constexpr char kDigits[] =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  unsigned char bytes[24];
  FLOE_CHECK(getrandom(bytes, sizeof bytes, 0) == sizeof bytes);
  std::string name;
  for (const unsigned char byte : bytes) name += kDigits[byte % 62];
  return name;
}

uint64_t random_seed() {
  uint64_t seed = 0;
  FLOE_CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

void answer(const std::shared_ptr<HttpExchange>& exchange, const ApiError& error,
            ApiKind api = ApiKind::openai) {
  exchange->respond(error_response(error, api));
}

// Takes the body out of the request: from here on its bytes are only in what was made of them.
ApiResult<Json> parse_body(HttpRequest& request, const std::shared_ptr<HttpExchange>& exchange) {
  JsonLimits limits;
  limits.cancelled = [&exchange] { return exchange->closed(); };
  Result<Json> body = consume_json(std::exchange(request.body, {}), limits);
  request.charge.reset();
  // The message names a byte offset or a limit, nothing of ours.
  if (!body.ok()) return ApiError::of(400, body.error().message);
  return std::move(*body);
}

// An entry takes about 100 bytes of the answer.
constexpr size_t kMaxPromptLogprobs = size_t{1} << 20;

std::optional<ApiError> check_prompt_logprobs(const GenerationRequest& request,
                                              const std::vector<GenerationPrompt>& prompts) {
  const bool echoes = request.echo && request.sampling.logprobs;
  const size_t n_each = (echoes ? 1 + request.sampling.top_logprobs : 0) +
                        (request.prompt_logprobs ? 1 + *request.prompt_logprobs : 0);
  size_t n_entries = 0;
  for (const GenerationPrompt& prompt : prompts)
    n_entries += prompt.ids.size() * n_each * request.n;
  if (n_entries <= kMaxPromptLogprobs) return std::nullopt;
  return ApiError::invalid(
      request.prompt_logprobs ? "prompt_logprobs" : "logprobs",
      fmt::format("the prompts' log probabilities would be {} entries, at most {} are told at once",
                  n_entries, kMaxPromptLogprobs));
}

ApiError no_chat(const ServedModel& model) {
  ApiError error =
      ApiError::of(400, "This model cannot chat: " + model.chat_off + "; /v1/completions works");
  error.code = "template_unsupported";
  return error;
}

// The message names the field, or is what the template itself says of the conversation.
ApiError refused_by_template(const Error& error) {
  const bool tools = error.message.starts_with("tools:");
  return ApiError::invalid(tools ? "tools" : "messages", error.message);
}

}  // namespace

RequestContext Service::request_context() const {
  return {.n_vocab = loaded().model.tokenizer->n_vocab(),
          .default_sampling = options_.default_sampling,
          .default_max_tokens = options_.default_max_tokens,
          .default_cache_prompt = options_.default_cache_prompt};
}

std::optional<ApiError> Service::check_model_name(const std::string& name) const {
  const ServedModel& model = loaded().model;
  if (name.empty() || name == model.name || name == model.file_name) return std::nullopt;
  ApiError error = ApiError::of(404, "The model does not exist; /v1/models lists what is served");
  error.param = "model";
  error.code = "model_not_found";
  return error;
}

// A prompt that cannot run is not encoded to its end, nor one whose client has left.
EncodeLimits Service::encode_limits(const Exchange& exchange) const {
  return {.max_tokens = loaded().services.engine->limits().n_context(),
          .cancelled = [exchange] { return exchange->closed(); }};
}

std::optional<ApiError> Service::too_long(Encoded::End end, size_t n_tokens_at_least) const {
  if (end != Encoded::End::too_long) return std::nullopt;
  SubmitOutcome outcome;
  outcome.status = SubmitStatus::context_exceeded;
  outcome.n_prompt_tokens = static_cast<uint32_t>(std::min<size_t>(n_tokens_at_least, UINT32_MAX));
  outcome.n_context = loaded().services.engine->limits().n_context();
  return submit_error(outcome);
}

ApiResult<ChatPrompt> Service::format_chat(const GenerationRequest& request,
                                           const EncodeLimits& limits) const {
  const ServedModel& model = loaded().model;
  if (!model.chat_template) return no_chat(model);
  Result<ChatPrompt> prompt =
      model.chat_template->prompt(request.messages, request.chat_options, limits);
  if (!prompt.ok()) return refused_by_template(prompt.error());
  return std::move(*prompt);
}

// What a chat's reasoning leaves bound: nothing before its end.
std::optional<ApiError> Service::bind_behind_reasoning(const std::string& field,
                                                       bool starts_in_reasoning, bool may_reason,
                                                       OutputGrammar& output) const {
  const ServedModel& model = loaded().model;
  const AnswerFormat& format = model.answer_format;
  if (format.calls.layout == CallLayout::harmony) {
    return ApiError::invalid(field, field +
                                        ": this model's answers come in channels, which cannot be "
                                        "held to a grammar yet");
  }
  const std::optional<int32_t> open = model.tokenizer->find_special(format.reasoning.open);
  const std::optional<int32_t> close = model.tokenizer->find_special(format.reasoning.close);
  if (starts_in_reasoning && !close) {
    return ApiError::invalid(field, field +
                                        ": no token closes this model's reasoning; switch "
                                        "thinking off");
  }
  if (close && (starts_in_reasoning || (open && may_reason))) {
    output.begins_behind = {*close};
    if (!starts_in_reasoning) output.may_open_with = *open;
  }
  return std::nullopt;
}

std::optional<ApiError> Service::bind_answers(GenerationRequest& request, bool starts_in_reasoning,
                                              bool may_reason, const Exchange& exchange) const {
  if (request.grammar_ask && request.chat_options.tools != nullptr) {
    const std::string& field = request.grammar_ask->field;
    return ApiError::invalid(
        field, field + " cannot stand beside tools that may be called: say tool_choice none");
  }
  CompileLimits limits;
  limits.cancelled = [exchange] { return exchange->closed(); };
  auto output = std::make_shared<OutputGrammar>();
  std::string field;
  Result<std::shared_ptr<const Grammar>> grammar = std::shared_ptr<const Grammar>();
  if (request.grammar_ask) {
    const GrammarAsk ask = std::move(*request.grammar_ask);
    field = ask.field;
    grammar = loaded().grammars->compile(ask.kind, ask.text, limits);
  } else if (request.call_ask) {
    const CallAsk ask = std::move(*request.call_ask);
    const AnswerFormat& format = loaded().model.answer_format;
    field = ask.is_forced ? "tool_choice" : "tools";
    const int32_t begin = ask.is_forced ? -1 : call_begin_token(format);
    const CallGrammarOptions options{ask.several, begin >= 0, !ask.is_forced && begin < 0};
    std::string key = fmt::format("calls {} {} {}", options.several, options.begins_behind_token,
                                  options.or_text);
    for (const CallableFunction& function : ask.functions) {
      key += fmt::format("\n{} {} {}", function.name, function.is_strict, function.parameters);
    }
    grammar = loaded().grammars->find_or_make(
        key, [&] { return make_call_grammar(format, ask.functions, options, limits); });
    if (options.begins_behind_token) {
      output->begins_behind = {begin};
      output->again = true;
    }
  } else {
    return std::nullopt;
  }
  if (!grammar.ok()) {
    return ApiError::invalid(field, field + ": " + grammar.error().message);
  }
  // Answers in channels have their reasoning within the grammar of a call.
  const bool has_reasoning =
      request.call_ask && loaded().model.answer_format.calls.layout == CallLayout::harmony;
  if (request.chat && !output->again && !has_reasoning) {
    if (auto error = bind_behind_reasoning(field, starts_in_reasoning, may_reason, *output)) {
      return error;
    }
  }
  output->grammar = std::move(*grammar);
  request.grammar = std::move(output);
  return std::nullopt;
}

void Service::generate(GenerationRequest request, std::vector<GenerationPrompt> prompts,
                       bool thinking, const Exchange& exchange) {
  if (!request.seed_given) request.sampling.seed = random_seed();
  AnswerIdentity identity;
  identity.chat = request.chat;
  const char* prefix = request.api == ApiKind::anthropic   ? "msg_"
                       : request.api == ApiKind::responses ? "resp_"
                       : request.chat                      ? "chatcmpl-"
                                                           : "cmpl-";
  identity.id = prefix + random_name();
  identity.created = std::time(nullptr);
  identity.model = loaded().model.name;
  identity.fingerprint = loaded().fingerprint;
  identity.reasoning_field = options_.reasoning_field;
  std::make_shared<Generation>(loaded().services, std::move(request), std::move(identity),
                               std::move(prompts), thinking, exchange)
      ->start();
}

void Service::post_chat(HttpRequest& http, const Exchange& exchange) {
  ApiResult<GenerationRequest> request = [&]() -> ApiResult<GenerationRequest> {
    const ApiResult<Json> body = parse_body(http, exchange);
    return body.ok() ? parse_chat_request(body.value(), request_context()) : body.error();
  }();
  if (!request.ok()) return answer(exchange, request.error());
  request->cache_key = keys_.cache_key(http.owner, request->cache_salt);
  run_chat(std::move(*request), exchange);
}

void Service::post_messages(HttpRequest& http, const Exchange& exchange) {
  ApiResult<GenerationRequest> request = [&]() -> ApiResult<GenerationRequest> {
    ApiResult<Json> body = parse_body(http, exchange);
    if (!body.ok()) return body.error();
    const ApiResult<Json> chat = chat_body_of_messages(std::move(*body), false);
    return chat.ok() ? parse_chat_request(chat.value(), request_context()) : chat.error();
  }();
  if (!request.ok()) return answer(exchange, request.error(), ApiKind::anthropic);
  request->api = ApiKind::anthropic;
  request->cache_key = keys_.cache_key(http.owner, request->cache_salt);
  run_chat(std::move(*request), exchange);
}

void Service::post_responses(HttpRequest& http, const Exchange& exchange) {
  ApiResult<GenerationRequest> request = [&]() -> ApiResult<GenerationRequest> {
    ApiResult<Json> body = parse_body(http, exchange);
    if (!body.ok()) return body.error();
    const ApiResult<std::string> previous = previous_response_id(body.value());
    if (!previous.ok()) return previous.error();
    Json earlier;
    if (!previous.value().empty()) {
      const std::optional<StoredResponse> stored = responses_.find(http.owner, previous.value());
      if (!stored) return unknown_response();
      Result<Json> messages = parse_json(stored->messages);
      FLOE_CHECK(messages.ok());
      earlier = std::move(*messages);
    }
    ApiResult<ResponsesBody> made = chat_body_of_response(std::move(*body), earlier);
    if (!made.ok()) return made.error();
    ApiResult<GenerationRequest> parsed = parse_chat_request(made->chat, request_context());
    if (!parsed.ok()) return parsed;
    auto context = std::make_shared<ResponseContext>();
    context->echo = std::move(made->echo);
    if (made->store) context->messages = std::move(made->messages);
    context->owner = http.owner;
    context->store = &responses_;
    parsed->response = std::move(context);
    return parsed;
  }();
  if (!request.ok()) return answer(exchange, request.error());
  request->api = ApiKind::responses;
  request->cache_key = keys_.cache_key(http.owner, request->cache_salt);
  run_chat(std::move(*request), exchange);
}

void Service::run_chat(GenerationRequest request, const Exchange& exchange) {
  const auto refuse = [&](const ApiError& error) { answer(exchange, error, request.api); };
  if (const auto error = check_model_name(request.model)) return refuse(*error);
  ApiResult<ChatPrompt> prompt = format_chat(request, encode_limits(exchange));
  if (!prompt.ok()) return refuse(prompt.error());
  if (prompt->end == Encoded::End::cancelled) return;
  if (const auto error = too_long(prompt->end, prompt->n_tokens_at_least)) return refuse(*error);
  const bool thinking = loaded().model.chat_template->thinks(request.chat_options);
  std::vector<GenerationPrompt> prompts(1);
  prompts[0].parser = parser_options(loaded().model.answer_format, *loaded().model.tokenizer,
                                     *prompt, request.chat_options.tools);
  prompts[0].ids = std::move(prompt->ids);
  request.messages.clear();
  if (auto error =
          bind_answers(request, prompts[0].parser.starts_in_reasoning, thinking, exchange)) {
    return refuse(*error);
  }
  if (auto error = check_prompt_logprobs(request, prompts)) return refuse(*error);
  generate(std::move(request), std::move(prompts), thinking, exchange);
}

void Service::post_completion(HttpRequest& http, const Exchange& exchange) {
  ApiResult<GenerationRequest> request = [&]() -> ApiResult<GenerationRequest> {
    const ApiResult<Json> body = parse_body(http, exchange);
    return body.ok() ? parse_completion_request(body.value(), request_context()) : body.error();
  }();
  if (!request.ok()) return answer(exchange, request.error());
  if (const auto error = check_model_name(request->model)) return answer(exchange, *error);
  request->cache_key = keys_.cache_key(http.owner, request->cache_salt);
  const Tokenizer& tokenizer = *loaded().model.tokenizer;
  std::vector<GenerationPrompt> prompts;
  for (PromptInput& input : request->prompts) {
    GenerationPrompt prompt;
    prompt.parser = plain_text_options();
    if (const auto* text = std::get_if<std::string>(&input)) {
      // The caller of this endpoint writes the whole prompt, markers included.
      Encoded encoded = tokenizer.encode_within(*text, request->add_special_tokens, true,
                                                encode_limits(exchange));
      if (encoded.end == Encoded::End::cancelled) return;
      if (const auto error = too_long(encoded.end, encoded.n_tokens_at_least)) {
        return answer(exchange, *error);
      }
      prompt.ids = std::move(encoded.ids);
      if (request->echo) {
        prompt.echo = *text;
        prompt.n_before_echo = request->add_special_tokens && tokenizer.adds_bos() ? 1 : 0;
      }
    } else {
      prompt.ids = std::move(std::get<std::vector<int32_t>>(input));
      if (request->echo) prompt.echo = to_valid_utf8(tokenizer.decode(prompt.ids, true));
    }
    prompts.push_back(std::move(prompt));
  }
  request->prompts.clear();
  if (auto error = bind_answers(*request, false, false, exchange)) return answer(exchange, *error);
  if (auto error = check_prompt_logprobs(*request, prompts)) return answer(exchange, *error);
  generate(std::move(*request), std::move(prompts), false, exchange);
}

void Service::post_count_tokens(HttpRequest& http, const Exchange& exchange) {
  const auto refuse = [&](const ApiError& error) { answer(exchange, error, ApiKind::anthropic); };
  ApiResult<Json> body = parse_body(http, exchange);
  if (!body.ok()) return refuse(body.error());
  const ApiResult<Json> chat = chat_body_of_messages(std::move(*body), true);
  if (!chat.ok()) return refuse(chat.error());
  const ApiResult<GenerationRequest> request = parse_template_request(chat.value());
  if (!request.ok()) return refuse(request.error());
  EncodeLimits limits = encode_limits(exchange);
  limits.max_tokens = SIZE_MAX;  // whoever counts wants to know by how much it is too long
  const ApiResult<ChatPrompt> prompt = format_chat(request.value(), limits);
  if (!prompt.ok()) return refuse(prompt.error());
  if (prompt.value().end == Encoded::End::cancelled) return;
  exchange->respond(
      json_response(200, fmt::format("{{\"input_tokens\":{}}}", prompt.value().ids.size())));
}

void Service::post_tokenize(HttpRequest& http, const Exchange& exchange) {
  const ApiResult<Json> body = parse_body(http, exchange);
  if (!body.ok()) return answer(exchange, body.error());
  ApiResult<TokenizeRequest> request = parse_tokenize_request(body.value());
  if (!request.ok()) return answer(exchange, request.error());
  const Tokenizer& tokenizer = *loaded().model.tokenizer;
  std::vector<int32_t> ids;
  EncodeLimits limits = encode_limits(exchange);
  limits.max_tokens = SIZE_MAX;  // whoever counts wants to know by how much it is too long
  Encoded::End end = Encoded::End::complete;
  if (request->chat) {
    ApiResult<ChatPrompt> prompt = format_chat(*request->chat, limits);
    if (!prompt.ok()) return answer(exchange, prompt.error());
    end = prompt->end;
    ids = std::move(prompt->ids);
  } else {
    Encoded encoded = tokenizer.encode_within(request->content, request->add_special,
                                              request->parse_special, limits);
    end = encoded.end;
    ids = std::move(encoded.ids);
  }
  if (end == Encoded::End::cancelled) return;
  std::string out = "{\"tokens\":[";
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i != 0) out += ',';
    if (!request->with_pieces) {
      out += std::to_string(ids[i]);
      continue;
    }
    const std::string_view piece = tokenizer.token_bytes(ids[i]);
    out += "{\"id\":" + std::to_string(ids[i]) + ",\"piece\":";
    if (is_valid_utf8(piece)) {
      out += '"';
      append_json_escaped(piece, out);
      out += '"';
    } else {
      // A part of a character: its bytes as numbers.
      out += '[';
      for (size_t k = 0; k < piece.size(); ++k) {
        if (k != 0) out += ',';
        out += std::to_string(static_cast<unsigned char>(piece[k]));
      }
      out += ']';
    }
    out += '}';
  }
  out += fmt::format("],\"count\":{},\"max_model_len\":{}}}", ids.size(),
                     loaded().services.engine->limits().n_context());
  exchange->respond(json_response(200, std::move(out)));
}

void Service::post_detokenize(HttpRequest& http, const Exchange& exchange) {
  const ApiResult<Json> body = parse_body(http, exchange);
  if (!body.ok()) return answer(exchange, body.error());
  ApiResult<std::vector<int32_t>> ids = parse_detokenize_request(body.value(), request_context());
  if (!ids.ok()) return answer(exchange, ids.error());
  std::string out = "{\"content\":\"";
  append_json_escaped(loaded().model.tokenizer->decode(*ids, true), out);
  out += "\"}";
  exchange->respond(json_response(200, std::move(out)));
}

void Service::post_apply_template(HttpRequest& http, const Exchange& exchange) {
  const ApiResult<Json> body = parse_body(http, exchange);
  if (!body.ok()) return answer(exchange, body.error());
  ApiResult<GenerationRequest> request = parse_template_request(body.value());
  if (!request.ok()) return answer(exchange, request.error());
  const ServedModel& model = loaded().model;
  if (!model.chat_template) return answer(exchange, no_chat(model));
  const Result<std::string> text = model.chat_template->render(
      request->messages, request->chat_options, [&exchange] { return exchange->closed(); });
  if (!text.ok()) return answer(exchange, refused_by_template(text.error()));
  std::string out = "{\"prompt\":\"";
  append_json_escaped(*text, out);
  out += "\"}";
  exchange->respond(json_response(200, std::move(out)));
}

}  // namespace floe
