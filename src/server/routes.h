#pragma once
// The URL table and what stands behind it: joins HTTP, text and engine.
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grammar/grammar_cache.h"
#include "server/access.h"
#include "server/generation.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/prepare_queue.h"
#include "server/response_store.h"
#include "server/serve.h"
#include "server/task_queue.h"

namespace floe {

class Service final : public HttpHandler {
 public:
  // options outlive the service.
  explicit Service(const ServeOptions& options);
  ~Service() override;  // stop()

  void attach(const HttpServer& server) { server_ = &server; }  // for /metrics; before run()
  void set_model(ServedModel model);                            // once, any thread
  bool ready() const { return model_.load() != nullptr; }
  EngineThread* engine() const;  // nullptr while loading

  // Requests whose head comes later need one of these. On the I/O thread.
  void set_keys(const std::vector<std::string>& keys) { keys_.replace(keys); }
  // From now on new work is refused with 503 and /health says so.
  void begin_drain() { draining_ = true; }
  // Ends the engine and the workers. No request is answered after this.
  void stop();

  std::optional<HttpResponse> admit(const HttpRequest& head) override;
  void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override;
  bool is_vital(const HttpRequest& head) override;
  HttpResponse failure(int status, std::string_view reason) override;

  // One row of the table. Tests walk it, so that a new route is tested for keys and methods as
  // well.
  struct Route {
    std::string_view name;  // in metrics
    std::string_view method;
    std::string_view path;
    bool is_prefix = false;         // path is followed by one more part
    bool is_public = false;         // no key needed
    bool is_vital = false;          // served when all ordinary connections are taken
    bool needs_model = true;        // 503 while loading
    bool starts_work = false;       // 503 while draining
    ApiKind api = ApiKind::openai;  // whose error objects its clients read
    void (Service::*handler)(const HttpRequest&, const std::shared_ptr<HttpExchange>&) = nullptr;
    // May take the body out of the request.
    void (Service::*worker)(HttpRequest&, const std::shared_ptr<HttpExchange>&) = nullptr;
  };
  static std::span<const Route> routes();

 private:
  static constexpr size_t kMaxStoredBytes = size_t{64} << 20;  // of responses to go on from
  static constexpr size_t kMaxPreparing = 256;  // requests whose bodies wait for a worker

  struct Loaded {
    ServedModel model;
    GenerationServices services;
    std::unique_ptr<GrammarCache> grammars;
    std::string fingerprint;
    int64_t created = 0;
  };
  using Exchange = std::shared_ptr<HttpExchange>;

  // Also of a path with a slash too many at its end, or without the /v1 that belongs before it.
  const Route* find_route(std::string_view path) const;
  std::optional<ApiError> refuse(const HttpRequest& head, const Route* route) const;
  HttpResponse options_response(const HttpRequest& head, const Route& route) const;
  void add_cors(const HttpRequest& head, std::vector<HttpField>& fields) const;
  const Loaded& loaded() const { return *model_.load(); }
  void run_worker(const Route& route, HttpRequest& request, const Exchange& exchange);
  void log_end(const HttpRequest& head, int status, double seconds) const;
  EncodeLimits encode_limits(const Exchange& exchange) const;

  // On the I/O thread.
  void get_health(const HttpRequest& request, const Exchange& exchange);
  void get_models(const HttpRequest& request, const Exchange& exchange);
  void get_model(const HttpRequest& request, const Exchange& exchange);
  void get_props(const HttpRequest& request, const Exchange& exchange);
  void get_slots(const HttpRequest& request, const Exchange& exchange);
  void get_metrics(const HttpRequest& request, const Exchange& exchange);
  void get_page(const HttpRequest& request, const Exchange& exchange);
  void get_response(const HttpRequest& request, const Exchange& exchange);
  // On a worker.
  void post_chat(HttpRequest& request, const Exchange& exchange);
  void post_completion(HttpRequest& request, const Exchange& exchange);
  void post_messages(HttpRequest& request, const Exchange& exchange);
  void post_count_tokens(HttpRequest& request, const Exchange& exchange);
  void post_responses(HttpRequest& request, const Exchange& exchange);
  void post_tokenize(HttpRequest& request, const Exchange& exchange);
  void post_detokenize(HttpRequest& request, const Exchange& exchange);
  void post_apply_template(HttpRequest& request, const Exchange& exchange);

  RequestContext request_context() const;
  std::string model_object() const;
  void run_chat(GenerationRequest request, const Exchange& exchange);
  void generate(GenerationRequest request, std::vector<GenerationPrompt> prompts, bool thinking,
                const Exchange& exchange);
  std::optional<ApiError> check_model_name(const std::string& name) const;
  ApiResult<ChatPrompt> format_chat(const GenerationRequest& request,
                                    const EncodeLimits& limits) const;
  std::optional<ApiError> bind_behind_reasoning(const std::string& field, bool starts_in_reasoning,
                                                bool may_reason, OutputGrammar& output) const;
  // Compiles what the request asks for and says which part of the answers it holds for. A chat's
  // answer is bound behind its reasoning.
  std::optional<ApiError> bind_answers(GenerationRequest& request, bool starts_in_reasoning,
                                       bool may_reason, const Exchange& exchange) const;
  std::optional<ApiError> too_long(Encoded::End end, size_t n_tokens_at_least) const;

  const ServeOptions& options_;
  ApiKeys keys_;  // on the I/O thread
  const HostList hosts_;
  const HttpServer* server_ = nullptr;
  RouteCounters counters_;

  std::unique_ptr<Loaded> owner_;
  std::atomic<const Loaded*> model_{nullptr};
  std::atomic<bool> draining_{false};
  std::atomic<bool> stopped_{false};

  ResponseStore responses_{kMaxStoredBytes};

  // Bodies are parsed and prompts encoded on one queue, tokens turned into text on another: a large
  // prompt must not hold up running streams.
  PrepareQueue prepare_queue_{kMaxPreparing};
  TaskQueue stream_tasks_{1};
};

}  // namespace floe
