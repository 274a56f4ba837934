#include "server/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <new>

#include "server/anthropic_response.h"
#include "server/responses_response.h"
namespace floe {
namespace {

constexpr size_t kWriteBytes = size_t{16} << 10;  // frames collected before they are handed on

ApiError finish_error(const TokenEvent& event) {
  switch (event.error) {
    case EndError::numeric:
      return ApiError::of(500, "The model produced numbers that are not finite");
    case EndError::shutdown: {
      ApiError error = ApiError::of(503, "The server is shutting down");
      error.retry_after_seconds = 1;
      return error;
    }
    case EndError::memory: {
      ApiError error = ApiError::of(503, "There is not enough memory for this request");
      error.retry_after_seconds = 1;
      return error;
    }
    case EndError::device:
      return ApiError::of(500, "The device that the model runs on failed");
    case EndError::none:
      break;
  }
  return ApiError::of(500, "The request was cancelled");
}

uint64_t count_characters(std::string_view bytes) {
  return static_cast<uint64_t>(std::count_if(bytes.begin(), bytes.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::unique_ptr<ApiWriter> make_writer(const AnswerIdentity& identity,
                                       const GenerationRequest& request) {
  if (request.api == ApiKind::anthropic) return make_anthropic_writer(identity);
  if (request.api == ApiKind::responses) return make_responses_writer(identity, request.response);
  return std::make_unique<OpenAiWriter>(identity, request.include_usage);
}

// Text to the token sequences that spell it, at the beginning of a text and behind a blank: what
// vLLM makes of bad_words.
void append_bad_word(const Tokenizer& tokenizer, std::string_view text,
                     std::vector<std::vector<int32_t>>& out) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const std::string word(begin == std::string_view::npos ? std::string_view() : text.substr(begin));
  const std::vector<int32_t> bare = tokenizer.encode(word, false, false);
  if (bare.empty()) return;
  std::vector<int32_t> behind_blank = tokenizer.encode(" " + word, false, false);
  // Elsewhere the blank is a token of its own, or the word is spelled alike.
  const bool differs = behind_blank.size() == bare.size() && behind_blank.front() != bare.front();
  out.push_back(bare);
  if (differs) out.push_back(std::move(behind_blank));
}

}  // namespace

ApiError submit_error(const SubmitOutcome& outcome) {
  ApiError error;
  switch (outcome.status) {
    case SubmitStatus::accepted:
      break;
    case SubmitStatus::invalid:
      return ApiError::invalid(outcome.param, outcome.message);
    case SubmitStatus::context_exceeded:
      // Clients know llama.cpp's words and then shorten their history. A prompt that just fits
      // leaves no room for an answer: the request is one token longer than the prompt.
      error = ApiError::invalid(
          "",
          fmt::format("request ({} tokens) exceeds the available context size ({} tokens), try "
                      "increasing it",
                      std::max(outcome.n_prompt_tokens, outcome.n_context + 1), outcome.n_context));
      error.type = "exceed_context_size_error";
      error.code = "context_length_exceeded";
      error.n_prompt_tokens = outcome.n_prompt_tokens;
      error.n_context = outcome.n_context;
      return error;
    case SubmitStatus::queue_full:
      error = ApiError::of(429, "Too many requests are waiting");
      error.retry_after_seconds =
          static_cast<uint32_t>(std::clamp(std::ceil(outcome.wait_seconds), 1.0, 60.0));
      return error;
    case SubmitStatus::draining:
      error = ApiError::of(503, "The server is shutting down");
      error.retry_after_seconds = 1;
      return error;
  }
  return ApiError::of(500, "The request could not be completed");
}

ApiError unknown_response() {
  ApiError error = ApiError::of(404,
                                "There is no such response: it was not stored, or others have "
                                "taken its place since. Send all items instead",
                                "previous_response_id");
  error.code = "previous_response_not_found";
  return error;
}

std::vector<HttpField> json_fields() {
  return {{"Content-Type", "application/json; charset=utf-8"},
          {"Cache-Control", "no-store"},
          {"X-Content-Type-Options", "nosniff"}};
}

HttpResponse json_response(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.fields = json_fields();
  response.body = std::move(body);
  return response;
}

HttpResponse error_response(const ApiError& error, ApiKind api) {
  HttpResponse response = json_response(
      error.status, api == ApiKind::anthropic ? anthropic_error_body(error) : error_body(error));
  if (error.retry_after_seconds != 0) {
    response.fields.push_back({"Retry-After", std::to_string(error.retry_after_seconds)});
  }
  return response;
}

// The engine keeps the sink of a prompt alive, and with it the generation, until the last event.
class Generation::Sink final : public TokenSink {
 public:
  Sink(std::shared_ptr<Generation> generation, uint32_t prompt)
      : generation_(std::move(generation)), prompt_(prompt) {}
  void on_event(TokenEvent&& event) noexcept override {
    generation_->on_event(prompt_, std::move(event));
  }

 private:
  const std::shared_ptr<Generation> generation_;
  const uint32_t prompt_;
};

Generation::Generation(const GenerationServices& services, GenerationRequest request,
                       AnswerIdentity identity, std::vector<GenerationPrompt> prompts,
                       bool thinking, std::shared_ptr<HttpExchange> exchange)
    : services_(services),
      request_(std::move(request)),
      identity_(std::move(identity)),
      thinking_(thinking),
      exchange_(std::move(exchange)),
      writer_(make_writer(identity_, request_)),
      prompts_(std::move(prompts)),
      choices_(prompts_.size() * request_.n) {}

void Generation::start() {
  for (size_t i = 0; i < choices_.size(); ++i) {
    Result<ResponseStream> stream = ResponseStream::create(
        *services_.tokenizer, prompts_[i / request_.n].parser, request_.stop);
    if (!stream.ok()) return fail(ApiError::invalid("stop", "The stop strings are not valid"));
    choices_[i].stream = std::make_unique<ResponseStream>(std::move(*stream));
    choices_[i].answer.index = static_cast<uint32_t>(i);
  }

  exchange_->on_close([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->cancel();
  });
  if (request_.stream) {
    exchange_->on_writable([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->on_writable();
    });
    exchange_->arm_stream({{"Content-Type", "text/event-stream"},
                           {"Cache-Control", "no-cache"},
                           {"X-Accel-Buffering", "no"},
                           {"X-Content-Type-Options", "nosniff"}});
  }
  try {
    submit_prompts();
  } catch (const std::bad_alloc&) {
    give_up();
  }
}

void Generation::submit_prompts() {
  // It is plain text: what looks like a marker in it is none. One that is too long is refused for
  // its length by submit().
  const EncodeLimits limits{services_.engine->limits().n_context(),
                            [this] { return exchange_->closed(); }};
  const std::vector<int32_t> prediction =
      services_.tokenizer->encode_within(request_.prediction, false, false, limits).ids;
  SamplingParams sampling = request_.sampling;
  for (const std::string& word : request_.bad_words) {
    append_bad_word(*services_.tokenizer, word, sampling.bad_words);
  }
  const bool scores_prompt = echoes_logprobs() || request_.prompt_logprobs.has_value();
  for (uint32_t i = 0; i < prompts_.size() && !ended_; ++i) {
    Request request;
    // Told again beside their probabilities.
    request.prompt = scores_prompt ? prompts_[i].ids : std::move(prompts_[i].ids);
    request.prompt_logprobs = scores_prompt;
    request.top_prompt_logprobs = std::max(echoes_logprobs() ? request_.sampling.top_logprobs : 0,
                                           request_.prompt_logprobs.value_or(0));
    request.max_tokens = request_.max_tokens;
    request.n = request_.n;
    request.sampling = sampling;
    request.prediction = prediction;
    request.max_draft_tokens = request_.max_draft_tokens;
    request.grammar = request_.grammar;
    request.cache_prompt = request_.cache_prompt;
    request.cache_key = request_.cache_key;
    request.stop_tokens = request_.stop_token_ids;
    if (!request_.ignore_eos) {
      request.stop_tokens.insert(request.stop_tokens.end(), services_.end_tokens.begin(),
                                 services_.end_tokens.end());
    }
    request.sink = std::make_shared<Sink>(shared_from_this(), i);
    const SubmitOutcome outcome = services_.engine->submit(std::move(request));
    if (outcome.status != SubmitStatus::accepted) return fail(submit_error(outcome));
    const std::lock_guard lock(mutex_);
    ids_.push_back(outcome.id);
    // The client left, or another prompt failed, between the submissions.
    if (cancelled_) services_.engine->cancel(outcome.id);
    if (paused_ != nullptr) services_.engine->pause(outcome.id);
  }
}

void Generation::cancel() {
  ended_ = true;
  const std::shared_ptr<Generation> self = shared_from_this();
  const std::lock_guard lock(mutex_);
  paused_.reset();
  if (std::exchange(cancelled_, true)) return;
  for (const RequestId id : ids_) services_.engine->cancel(id);
  events_.clear();
}

void Generation::fail(const ApiError& error) {
  if (ended_.exchange(true)) return;
  if (!exchange_->respond(error_response(error, request_.api))) {
    std::string frame;
    // Not writer_: this may be another thread than the pump's.
    make_writer(identity_, request_)->error(error, frame);
    exchange_->write(frame);
    exchange_->finish(true);
  }
  cancel();
}

void Generation::give_up() noexcept {
  try {
    ApiError error = ApiError::of(503, "There is not enough memory for this request");
    error.retry_after_seconds = 1;
    fail(error);
  } catch (const std::bad_alloc&) {
  }
  try {
    cancel();
  } catch (const std::bad_alloc&) {
  }
}

void Generation::on_event(uint32_t prompt, TokenEvent&& event) {
  if (ended_) return;
  try {
    {
      const std::lock_guard lock(mutex_);
      events_.emplace_back(prompt, std::move(event));
      if (pump_posted_ || paused_ != nullptr) return;
      pump_posted_ = true;
    }
    post_pump();
  } catch (const std::bad_alloc&) {
    give_up();
  }
}

void Generation::on_writable() {
  const std::shared_ptr<Generation> self = shared_from_this();
  {
    const std::lock_guard lock(mutex_);
    writable_signal_ = true;
    if (std::exchange(paused_, nullptr) == nullptr) return;
    for (const RequestId id : ids_) services_.engine->resume(id);
    if (pump_posted_) return;
    pump_posted_ = true;
  }
  post_pump();
}

void Generation::post_pump() {
  services_.stream_tasks->post([self = shared_from_this()] { self->pump(); });
}

// Runs until there is nothing to do or the client must read first. Never runs twice at once:
// whoever sets pump_posted_ posts it.
void Generation::pump() {
  try {
    pump_events();
  } catch (const std::bad_alloc&) {
    give_up();
  }
}

void Generation::pump_events() {
  for (;;) {
    if (next_in_batch_ == batch_.size()) {
      batch_.clear();
      next_in_batch_ = 0;
      const std::lock_guard lock(mutex_);
      if (events_.empty() || ended_) {
        pump_posted_ = false;
        return;
      }
      batch_.swap(events_);
    }
    while (next_in_batch_ < batch_.size() && out_.size() < kWriteBytes && !ended_) {
      auto& [prompt, event] = batch_[next_in_batch_++];
      process(prompt, event);
    }
    if (ended_) {
      batch_.clear();
      next_in_batch_ = 0;
      continue;
    }
    if (out_.empty()) continue;
    {
      const std::lock_guard lock(mutex_);
      writable_signal_ = false;
    }
    const HttpExchange::WriteStatus status = exchange_->write(std::exchange(out_, {}));
    if (status == HttpExchange::WriteStatus::full) {
      const std::lock_guard lock(mutex_);
      if (writable_signal_) continue;  // it drained in the meantime
      paused_ = shared_from_this();
      for (const RequestId id : ids_) services_.engine->pause(id);
      pump_posted_ = false;
      return;
    }
  }
}

void Generation::process(uint32_t prompt, TokenEvent& event) {
  const uint32_t index = prompt * request_.n + event.choice;
  FLOE_CHECK(event.choice < request_.n && index < choices_.size());
  Choice& choice = choices_[index];
  if (choice.done) return;
  if (event.finish == FinishReason::error || event.finish == FinishReason::cancelled) {
    out_.clear();
    return fail(finish_error(event));
  }
  // They come with the first event of the first choice, which may be behind other choices' first:
  // what needs them waits for them.
  if (!event.prompt_logprobs.empty()) prompts_[prompt].logprobs = std::move(event.prompt_logprobs);
  if (!choice.begun) {
    choice.counts = event.counts;  // what is known of the prompt
    begin_choice(prompt, choice);
  }
  if (event.token >= 0 && !choice.stop_sent) {
    ++choice.n_tokens;
    choice.counts = event.counts;
    choice.timings = event.timings;
    choice.telemetry = event.telemetry;
    if (request_.sampling.logprobs) choice.logprobs.push_back(logprob_entry(choice, event));
    choice.stream->ignore_stops(choice.n_tokens <= request_.sampling.min_tokens);
    OutputDelta delta = choice.stream->push(event.token);
    emit(index, choice, delta);
    const bool enough_calls =
        !request_.parallel_tool_calls && choice.stream->parser().n_complete_tool_calls() > 0;
    if (choice.stream->stopped() || enough_calls) {
      choice.stop_sent = true;
      if (event.finish == FinishReason::none) {
        services_.engine->finish(event.request, event.choice, choice.n_tokens);
      }
    }
  }
  if (event.finish != FinishReason::none) finish_choice(index, choice, event);
}

void Generation::begin_choice(uint32_t prompt, Choice& choice) {
  choice.begun = true;
  const std::string& echo = prompts_[prompt].echo;
  choice.n_characters = count_characters(echo);
  if (!request_.stream) {
    choice.answer.content = echo;
    return;
  }
  writer_->begin(choice.answer.index, usage(), out_);
  if (echo.empty()) return;
  std::vector<TokenLogprobEntry> entries;
  if (echoes_logprobs()) entries = echo_entries(prompts_[prompt]);
  writer_->content(choice.answer.index, echo, entries, {}, out_);
}

TokenText Generation::token_text(int32_t token, float logprob) const {
  return {std::string(services_.tokenizer->token_bytes(token)), logprob};
}

std::vector<TokenLogprobEntry> Generation::echo_entries(const GenerationPrompt& prompt) const {
  std::vector<TokenLogprobEntry> entries(prompt.ids.size());
  uint64_t n_characters = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    TokenLogprobEntry& entry = entries[i];
    entry.is_first = i == 0;
    entry.token = token_text(prompt.ids[i], i == 0 ? 0.0f : prompt.logprobs[i - 1].logprob);
    entry.text_offset = n_characters;
    if (i >= prompt.n_before_echo) n_characters += count_characters(entry.token.bytes);
    if (i == 0) continue;
    const std::vector<TokenLogprob>& top = prompt.logprobs[i - 1].top;
    const size_t n_top = std::min<size_t>(top.size(), request_.sampling.top_logprobs);
    for (size_t k = 0; k < n_top; ++k) {
      entry.top.push_back(token_text(top[k].token, top[k].logprob));
    }
  }
  return entries;
}

std::string Generation::prompt_logprobs_of(const GenerationPrompt& prompt) const {
  std::vector<PromptTokenEntry> entries(prompt.ids.size());
  for (size_t i = 1; i < entries.size(); ++i) {
    const PromptLogprob& told = prompt.logprobs[i - 1];
    const int32_t own = prompt.ids[i];
    auto& alternatives = entries[i].alternatives;
    alternatives.push_back({own, told.rank, token_text(own, told.logprob)});
    const size_t n_top = std::min<size_t>(told.top.size(), *request_.prompt_logprobs);
    for (size_t k = 0; k < n_top; ++k) {
      const auto [token, logprob] = told.top[k];
      if (token == own) continue;
      alternatives.push_back({token, static_cast<uint32_t>(k + 1), token_text(token, logprob)});
    }
  }
  return prompt_logprobs_json(entries);
}

TokenLogprobEntry Generation::logprob_entry(Choice& choice, const TokenEvent& event) const {
  TokenLogprobEntry entry;
  entry.token = token_text(event.token, event.logprob);
  for (const TokenLogprob& top : event.top_logprobs) {
    entry.top.push_back(token_text(top.token, top.logprob));
  }
  entry.text_offset = choice.n_characters;
  choice.n_characters += count_characters(entry.token.bytes);
  return entry;
}

// Unique within the answer, which is all that a reply has to refer to.
std::string Generation::tool_call_id(uint32_t choice, uint32_t call) const {
  const CallIdShape shape = prompts_[choice / request_.n].parser.format.call_ids;
  const std::string_view id = identity_.id;
  return floe::tool_call_id(shape, id.substr(id.find('-') + 1), choice, call);
}

void Generation::emit(uint32_t index, Choice& choice, OutputDelta& delta) {
  if (delta.empty()) return;
  if (!request_.stream) {
    AnswerChoice& answer = choice.answer;
    answer.reasoning_content += delta.reasoning_content;
    answer.content += delta.content;
    for (ToolCallDelta& call : delta.tool_calls) {
      if (call.index == answer.tool_calls.size()) {
        answer.tool_calls.push_back(
            {tool_call_id(index, call.index), std::move(call.name), std::move(call.arguments)});
      } else {
        answer.tool_calls[call.index].arguments_json += call.arguments;
      }
    }
    return;
  }
  const std::string numbers =
      request_.timings_per_token ? figures_json(figures(choice)) : std::string();
  // Log probabilities go with the first chunk after their tokens.
  std::vector<TokenLogprobEntry> logprobs = std::exchange(choice.logprobs, {});
  if (!delta.reasoning_content.empty()) {
    writer_->reasoning(index, delta.reasoning_content, std::exchange(logprobs, {}), numbers, out_);
  }
  if (!delta.content.empty()) {
    writer_->content(index, delta.content, std::exchange(logprobs, {}), numbers, out_);
  }
  for (const ToolCallDelta& call : delta.tool_calls) {
    if (!call.name.empty()) {
      writer_->tool_call(index, call.index, tool_call_id(index, call.index), call.name,
                         std::exchange(logprobs, {}), numbers, out_);
    }
    if (!call.arguments.empty()) {
      writer_->tool_arguments(index, call.index, call.arguments, std::exchange(logprobs, {}),
                              numbers, out_);
    }
  }
}

void Generation::finish_choice(uint32_t index, Choice& choice, const TokenEvent& event) {
  const bool at_limit = event.finish == FinishReason::length && !choice.stop_sent;
  OutputDelta rest = choice.stream->finish(at_limit);
  emit(index, choice, rest);
  choice.done = true;
  choice.counts = event.counts;
  choice.timings = event.timings;
  choice.telemetry = event.telemetry;
  // The engine may have been ahead of the stop string.
  if (choice.stop_sent) choice.counts.completion_tokens = choice.n_tokens;
  // A call that a limit or a stop string cut, or that the model left unfinished, asks nobody to run
  // it: clients know cut answers by "length".
  const OutputParser& parser = choice.stream->parser();
  const bool is_cut = at_limit || parser.n_complete_tool_calls() < parser.n_tool_calls();
  const std::string_view reason = is_cut                      ? "length"
                                  : parser.n_tool_calls() > 0 ? "tool_calls"
                                                              : "stop";
  const auto& match = choice.stream->stop_match();
  const std::string stop_string = match ? request_.stop[match->stop_index] : std::string();
  ++n_done_;
  const bool last = n_done_ == choices_.size();
  if (request_.stream) {
    const bool with_figures = request_.timings_per_token || (last && !request_.include_usage);
    const AnswerFigures numbers = last ? total_figures() : figures(choice);
    writer_->finish(index, reason, stop_string, choice.logprobs,
                    with_figures ? figures_json(numbers) : std::string(), out_);
    choice.logprobs.clear();
  } else {
    choice.answer.logprobs = std::move(choice.logprobs);
    choice.answer.finish_reason = reason;
    choice.answer.stop_string = stop_string;
  }
  if (last) finish_answer();
}

void Generation::finish_answer() {
  if (ended_.exchange(true)) return;
  if (!request_.stream) {
    std::vector<AnswerChoice> answers;
    for (size_t i = 0; i < choices_.size(); ++i) {
      const GenerationPrompt& prompt = prompts_[i / request_.n];
      AnswerChoice& answer = answers.emplace_back(std::move(choices_[i].answer));
      if (echoes_logprobs()) {
        std::vector<TokenLogprobEntry> entries = echo_entries(prompt);
        answer.logprobs.insert(answer.logprobs.begin(), std::make_move_iterator(entries.begin()),
                               std::make_move_iterator(entries.end()));
      }
      if (request_.prompt_logprobs) answer.prompt_logprobs = prompt_logprobs_of(prompt);
    }
    exchange_->respond(json_response(200, writer_->whole(answers, request_.sampling.logprobs,
                                                         usage(), figures_json(total_figures()))));
    return;
  }
  writer_->finish_stream(usage(), figures_json(total_figures()), out_);
  exchange_->write(std::exchange(out_, {}));
  exchange_->finish(false);
}

AnswerUsage Generation::usage() const {
  AnswerUsage usage;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const Choice& choice = choices_[i];
    // The choices of one prompt share it.
    if (i % request_.n == 0) {
      usage.prompt_tokens += choice.counts.prompt_tokens;
      usage.cached_tokens += choice.counts.cached_tokens;
    }
    usage.completion_tokens += choice.counts.completion_tokens;
    usage.reasoning_tokens +=
        std::min<uint64_t>(choice.stream->n_reasoning_tokens(), choice.counts.completion_tokens);
    usage.accepted_prediction_tokens += choice.telemetry.n_predicted_accepted;
    usage.rejected_prediction_tokens += choice.telemetry.n_predicted_rejected;
  }
  return usage;
}

AnswerFigures Generation::figures(const Choice& choice) const {
  AnswerFigures numbers;
  numbers.prompt_tokens = choice.counts.prompt_tokens;
  numbers.cached_tokens = choice.counts.cached_tokens;
  numbers.completion_tokens = choice.counts.completion_tokens;
  numbers.timings = choice.timings;
  numbers.telemetry = choice.telemetry;
  numbers.floor_gb_s = services_.floor_gb_s;
  numbers.thinking = thinking_;
  return numbers;
}

// Tokens of all choices over the time of the slowest; telemetry of the choice that saw most steps,
// but for the guesses, which are each choice's own.
AnswerFigures Generation::total_figures() const {
  const auto by_steps = [](const Choice& a, const Choice& b) {
    return a.telemetry.n_steps < b.telemetry.n_steps;
  };
  AnswerFigures numbers = figures(*std::max_element(choices_.begin(), choices_.end(), by_steps));
  const AnswerUsage total = usage();
  numbers.prompt_tokens = total.prompt_tokens;
  numbers.cached_tokens = total.cached_tokens;
  numbers.completion_tokens = total.completion_tokens;
  numbers.telemetry.n_drafted = 0;
  numbers.telemetry.n_accepted = 0;
  for (const Choice& choice : choices_) {
    numbers.telemetry.n_drafted += choice.telemetry.n_drafted;
    numbers.telemetry.n_accepted += choice.telemetry.n_accepted;
    numbers.timings.prefill_ms = std::max(numbers.timings.prefill_ms, choice.timings.prefill_ms);
    numbers.timings.decode_ms = std::max(numbers.timings.decode_ms, choice.timings.decode_ms);
  }
  return numbers;
}

}  // namespace floe
