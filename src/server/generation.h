#pragma once
// One generation request on its way through the engine and back: submits its prompts, turns token
// events into text, and writes the answer.
//
// Threads: start() runs on a worker. Events arrive on the engine's thread and are only queued
// there; text is made on the stream workers, one at a time per generation. The client's departure
// is noticed on the I/O thread and cancels at once.
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/response_stream.h"
#include "engine/engine_thread.h"
#include "server/http.h"
#include "server/openai_request.h"
#include "server/openai_response.h"
#include "server/task_queue.h"
#include "text/tokenizer.h"

namespace floe {

// What every generation uses; outlives all of them.
struct GenerationServices {
  EngineThread* engine = nullptr;
  const Tokenizer* tokenizer = nullptr;
  TaskQueue* stream_tasks = nullptr;
  std::vector<int32_t> end_tokens;  // of the vocabulary: sampling one ends an answer
  double floor_gb_s = 0.0;
};

struct GenerationPrompt {
  std::vector<int32_t> ids;
  std::string echo;              // put before the answer
  uint32_t n_before_echo = 0;    // ids at the beginning that the echo does not show
  OutputParser::Options parser;  // how to read what follows it
  // The engine's news of how probable the ids were, where it was asked for.
  std::vector<PromptLogprob> logprobs;
};

class Generation final : public std::enable_shared_from_this<Generation> {
 public:
  Generation(const GenerationServices& services, GenerationRequest request, AnswerIdentity identity,
             std::vector<GenerationPrompt> prompts, bool thinking,
             std::shared_ptr<HttpExchange> exchange);

  // Submits everything, or answers with the reason why not.
  void start();

 private:
  class Sink;

  struct Choice {
    std::unique_ptr<ResponseStream> stream;
    bool begun = false;
    bool stop_sent = false;  // the engine was asked to end it; later tokens are not part of it
    bool done = false;
    uint32_t n_tokens = 0;
    uint64_t n_characters = 0;
    TokenCounts counts;
    TokenTimings timings;
    ChoiceTelemetry telemetry;
    std::vector<TokenLogprobEntry> logprobs;  // streaming: not sent yet
    AnswerChoice answer;                      // not streaming: what was said so far
  };

  void on_event(uint32_t prompt, TokenEvent&& event);  // engine's thread
  void on_writable();                                  // I/O thread
  void cancel();                                       // any thread
  void submit_prompts();
  // Memory ran out: says so if it can. Otherwise the connection ends when the engine lets go.
  void give_up() noexcept;
  void post_pump();
  void pump();
  void pump_events();
  void process(uint32_t prompt, TokenEvent& event);
  void begin_choice(uint32_t prompt, Choice& choice);
  void emit(uint32_t index, Choice& choice, OutputDelta& delta);
  std::string tool_call_id(uint32_t choice, uint32_t call) const;
  void finish_choice(uint32_t index, Choice& choice, const TokenEvent& event);
  void finish_answer();
  // Ends the request with an error object: as a status when nothing was sent yet, else as an event.
  void fail(const ApiError& error);
  TokenLogprobEntry logprob_entry(Choice& choice, const TokenEvent& event) const;
  TokenText token_text(int32_t token, float logprob) const;
  bool echoes_logprobs() const { return request_.echo && request_.sampling.logprobs; }
  // The prompt's tokens as entries before those of the answer, and as vLLM's prompt_logprobs.
  std::vector<TokenLogprobEntry> echo_entries(const GenerationPrompt& prompt) const;
  std::string prompt_logprobs_of(const GenerationPrompt& prompt) const;
  AnswerFigures figures(const Choice& choice) const;
  AnswerFigures total_figures() const;
  AnswerUsage usage() const;

  const GenerationServices& services_;
  const GenerationRequest request_;
  const AnswerIdentity identity_;
  const bool thinking_;
  const std::shared_ptr<HttpExchange> exchange_;
  const std::unique_ptr<ApiWriter> writer_;  // of the pump
  std::vector<GenerationPrompt> prompts_;

  // Only touched by the pump.
  std::vector<Choice> choices_;  // [n_prompts * n]
  size_t n_done_ = 0;
  std::string out_;
  std::vector<std::pair<uint32_t, TokenEvent>> batch_;
  size_t next_in_batch_ = 0;

  std::atomic<bool> ended_{false};  // answered, failed or cancelled: events are dropped

  std::mutex mutex_;
  std::vector<std::pair<uint32_t, TokenEvent>> events_;
  std::vector<RequestId> ids_;
  bool cancelled_ = false;
  bool pump_posted_ = false;
  // The client reads too slowly, and the engine was told to pause. Nobody else may hold the
  // generation then: the engine lets go of it with the last event.
  std::shared_ptr<Generation> paused_;
  bool writable_signal_ = false;  // the buffer drained since the last write
};

// The answer to a refused submission.
ApiError submit_error(const SubmitOutcome& outcome);

// Of an id that no response which is still known has.
ApiError unknown_response();

// HTTP fields of a JSON answer and of an event stream.
std::vector<HttpField> json_fields();
HttpResponse json_response(int status, std::string body);
HttpResponse error_response(const ApiError& error, ApiKind api = ApiKind::openai);

}  // namespace floe
