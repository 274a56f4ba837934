#include "server/routes.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <malloc.h>
#include <xxhash.h>

#include <chrono>
#include <ctime>
#include <new>

#include "base/json.h"
#include "base/log.h"
#include "server/page.h"
#include "text/grammar_tokens.h"

namespace floe {
namespace {

// Above, preparing a request takes longer than a person notices.
constexpr size_t kLongBodyBytes = size_t{128} << 10;

bool is_json(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  for (char& c : type) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return type == "application/json";
}

std::string_view allowed_methods(const Service::Route& route) {
  return route.method == "POST" ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
}

std::vector<HttpField> page_fields(std::string_view content_type) {
  return {{"Content-Type", std::string(content_type)},
          {"Content-Security-Policy", std::string(page_security_policy)},
          {"X-Content-Type-Options", "nosniff"},
          {"X-Frame-Options", "DENY"},
          {"Referrer-Policy", "no-referrer"},
          {"Cross-Origin-Opener-Policy", "same-origin"},
          {"Cross-Origin-Resource-Policy", "same-origin"}};
}

}  // namespace

std::span<const Service::Route> Service::routes() {
  static constexpr Route kRoutes[] = {
      {.name = "health",
       .method = "GET",
       .path = "/health",
       .is_public = true,
       .is_vital = true,
       .needs_model = false,
       .handler = &Service::get_health},
      {.name = "health",
       .method = "GET",
       .path = "/v1/health",
       .is_public = true,
       .is_vital = true,
       .needs_model = false,
       .handler = &Service::get_health},
      {.name = "metrics",
       .method = "GET",
       .path = "/metrics",
       .is_vital = true,
       .needs_model = false,
       .handler = &Service::get_metrics},
      {.name = "models", .method = "GET", .path = "/v1/models", .handler = &Service::get_models},
      {.name = "model",
       .method = "GET",
       .path = "/v1/models/",
       .is_prefix = true,
       .handler = &Service::get_model},
      {.name = "props", .method = "GET", .path = "/props", .handler = &Service::get_props},
      {.name = "slots", .method = "GET", .path = "/slots", .handler = &Service::get_slots},
      {.name = "chat_completions",
       .method = "POST",
       .path = "/v1/chat/completions",
       .starts_work = true,
       .worker = &Service::post_chat},
      {.name = "completions",
       .method = "POST",
       .path = "/v1/completions",
       .starts_work = true,
       .worker = &Service::post_completion},
      {.name = "tokenize",
       .method = "POST",
       .path = "/tokenize",
       .starts_work = true,
       .worker = &Service::post_tokenize},
      {.name = "detokenize",
       .method = "POST",
       .path = "/detokenize",
       .starts_work = true,
       .worker = &Service::post_detokenize},
      {.name = "messages",
       .method = "POST",
       .path = "/v1/messages",
       .starts_work = true,
       .api = ApiKind::anthropic,
       .worker = &Service::post_messages},
      {.name = "count_tokens",
       .method = "POST",
       .path = "/v1/messages/count_tokens",
       .starts_work = true,
       .api = ApiKind::anthropic,
       .worker = &Service::post_count_tokens},
      {.name = "responses",
       .method = "POST",
       .path = "/v1/responses",
       .starts_work = true,
       .worker = &Service::post_responses},
      {.name = "responses",
       .method = "GET",
       .path = "/v1/responses/",
       .is_prefix = true,
       .handler = &Service::get_response},
      {.name = "apply_template",
       .method = "POST",
       .path = "/apply-template",
       .starts_work = true,
       .worker = &Service::post_apply_template},
      {.name = "page",
       .method = "GET",
       .path = "/",
       .is_public = true,
       .needs_model = false,
       .handler = &Service::get_page},
      {.name = "page",
       .method = "GET",
       .path = "/assets/",
       .is_prefix = true,
       .is_public = true,
       .needs_model = false,
       .handler = &Service::get_page},
  };
  static_assert(std::size(kRoutes) < RouteCounters::kRoutes);
  return kRoutes;
}

Service::Service(const ServeOptions& options)
    : options_(options),
      keys_(options.api_keys),
      hosts_(options.http.hosts, options.allowed_hosts) {}

Service::~Service() {
  stop();
}

void Service::set_model(ServedModel model) {
  owner_ = std::make_unique<Loaded>();
  owner_->model = std::move(model);
  const ServedModel& m = owner_->model;
  owner_->created = std::time(nullptr);
  const std::string what =
      fmt::format("{}\n{}\n{}", options_.build_info, m.name, m.info.file_bytes);
  owner_->fingerprint = fmt::format("fp_{:012x}", XXH3_64bits(what.data(), what.size()) >> 16);
  GenerationServices& services = owner_->services;
  services.engine = m.engine.get();
  services.tokenizer = m.tokenizer.get();
  services.stream_tasks = &stream_tasks_;
  services.floor_gb_s = m.read_gb_s;
  services.end_tokens = m.tokenizer->end_of_generation_ids();
  owner_->grammars = std::make_unique<GrammarCache>(
      [&tokenizer = *m.tokenizer] { return make_token_trie(tokenizer); });
  model_ = owner_.get();
}

EngineThread* Service::engine() const {
  const Loaded* loaded = model_.load();
  return loaded == nullptr ? nullptr : loaded->services.engine;
}

void Service::stop() {
  if (stopped_.exchange(true)) return;
  // Nothing new reaches the engine, then the engine's last events are written, then the writers
  // end.
  prepare_queue_.stop();
  if (EngineThread* running = engine()) running->stop();
  stream_tasks_.stop();
}

const Service::Route* Service::find_route(std::string_view path) const {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const auto find = [](std::string_view wanted) -> const Route* {
    for (const Route& route : routes()) {
      if (!route.is_prefix && wanted == route.path) return &route;
      if (route.is_prefix && wanted.starts_with(route.path) && wanted.size() > route.path.size()) {
        return &route;
      }
    }
    return nullptr;
  };
  const Route* route = find(path);
  // Clients differ in whether the base address that they are given ends in /v1.
  return route != nullptr ? route : find("/v1" + std::string(path));
}

bool Service::is_vital(const HttpRequest& head) {
  const Route* route = find_route(head.path);
  return route != nullptr && route->is_vital;
}

HttpResponse Service::failure(int status, std::string_view reason) {
  counters_.count(routes().size(), status);
  ApiError error = ApiError::of(status, std::string(reason));
  if (status == 503) error.retry_after_seconds = 1;
  return error_response(error);
}

// The order matters: who may not ask learns nothing about what there is.
std::optional<ApiError> Service::refuse(const HttpRequest& head, const Route* route) const {
  if (!hosts_.allows(head)) return ApiError::of(403, "This host name is not served here");
  const bool preflight = head.method == "OPTIONS" && route != nullptr;
  const bool is_public = preflight || (route != nullptr && route->is_public);
  if (!is_public && !keys_.admits(head)) return ApiError::of(401, "Invalid API Key");
  if (route == nullptr) return ApiError::of(404, "There is nothing at this path");
  if (preflight) return std::nullopt;
  const std::string_view method = head.method == "HEAD" ? "GET" : std::string_view(head.method);
  if (method != route->method) return ApiError::of(405, "This path does not take this method");
  if (method == "POST") {
    const auto coding = head.field("content-encoding");
    if (head.count_fields("content-encoding") > 1 || (coding && *coding != "identity")) {
      return ApiError::of(415, "Compressed bodies are not accepted");
    }
    if (judge_origin(head, options_.cors_origins) == OriginVerdict::foreign) {
      return ApiError::of(403, "Requests from this origin are not accepted");
    }
    if (head.count_fields("content-type") != 1 || !is_json(*head.field("content-type"))) {
      return ApiError::of(415, "The content type must be application/json");
    }
  }
  if (route->starts_work && draining_) {
    ApiError error = ApiError::of(503, "The server is shutting down");
    error.retry_after_seconds = 1;
    return error;
  }
  if (route->needs_model && !ready()) {
    ApiError error = ApiError::of(503, "Loading model");
    error.retry_after_seconds = 1;
    return error;
  }
  return std::nullopt;
}

std::optional<HttpResponse> Service::admit(const HttpRequest& head) {
  const Route* route = find_route(head.path);
  std::optional<HttpResponse> response;
  if (const std::optional<ApiError> error = refuse(head, route)) {
    response = error_response(*error, route == nullptr ? ApiKind::openai : route->api);
    if (error->status == 401) response->fields.push_back({"WWW-Authenticate", "Bearer"});
    if (error->status == 415) response->fields.push_back({"Accept-Encoding", "identity"});
    if (error->status == 405) {
      response->fields.push_back({"Allow", std::string(allowed_methods(*route))});
    }
  } else if (head.method == "OPTIONS") {
    response = options_response(head, *route);
  } else {
    return std::nullopt;
  }
  add_cors(head, response->fields);
  counters_.count(route == nullptr ? routes().size() : static_cast<size_t>(route - routes().data()),
                  response->status);
  log_end(head, response->status, 0.0);
  return response;
}

HttpResponse Service::options_response(const HttpRequest& head, const Route& route) const {
  HttpResponse response;
  response.status = 204;
  response.fields = {{"Allow", std::string(allowed_methods(route))}};
  if (judge_origin(head, options_.cors_origins) == OriginVerdict::listed) {
    response.fields.push_back(
        {"Access-Control-Allow-Methods", std::string(allowed_methods(route))});
    response.fields.push_back({"Access-Control-Allow-Headers", allowed_header_names(head)});
    response.fields.push_back({"Access-Control-Max-Age", "600"});
  }
  return response;
}

void Service::add_cors(const HttpRequest& head, std::vector<HttpField>& fields) const {
  if (judge_origin(head, options_.cors_origins) != OriginVerdict::listed) return;
  // The value was compared with the list, or everything is allowed; it holds no control bytes.
  fields.push_back({"Access-Control-Allow-Origin", std::string(*head.field("origin"))});
  fields.push_back({"Vary", "Origin"});
}

void Service::handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const Route* route = find_route(request.path);
  FLOE_CHECK(route != nullptr);
  std::vector<HttpField> extra;
  add_cors(request, extra);
  HttpRequest head;  // for the log, while the request itself goes away
  head.method = request.method;
  head.path = request.path;
  head.client = request.client;
  exchange->decorate(std::move(extra), [this, head = std::move(head),
                                        index = static_cast<size_t>(route - routes().data()),
                                        began = std::chrono::steady_clock::now()](int status) {
    if (status != 0) counters_.count(index, status);
    log_end(head, status,
            std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  });
  if (!keys_.empty()) request.owner = keys_.name_of(request);
  if (route->handler != nullptr) return (this->*route->handler)(request, exchange);
  const bool is_long = request.body.size() > kLongBodyBytes;
  // Whoever has a key is known by it, wherever the requests come from.
  const std::string client = keys_.empty() ? request.client : request.owner;
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  const bool posted = prepare_queue_.try_post(
      client, is_long, [this, route, shared, exchange] { run_worker(*route, *shared, exchange); });
  if (!posted) {
    ApiError error = ApiError::of(429, "Too many requests are waiting");
    error.retry_after_seconds = 1;
    exchange->respond(error_response(error, route->api));
  }
}

// Without the prompt, and without anything else that the client chose but the path of the route.
void Service::log_end(const HttpRequest& head, int status, double seconds) const {
  spdlog::trace("{} {} {} {} {:.1f} ms", head.client, head.method, head.path,
                status == 0 ? "left" : std::to_string(status), seconds * 1e3);
}

void Service::run_worker(const Route& route, HttpRequest& request, const Exchange& exchange) {
  const bool was_long = request.body.size() > kLongBodyBytes;
  try {
    if (!exchange->closed()) (this->*route.worker)(request, exchange);
  } catch (const std::bad_alloc&) {
    ApiError error = ApiError::of(503, "There is not enough memory for this request");
    error.retry_after_seconds = 1;
    exchange->respond(error_response(error, route.api));
  }
  if (!was_long) return;
  request.body = {};
  request.charge.reset();
  // The allocator would keep what a large body took, in the arena of this thread.
  malloc_trim(0);
}

void Service::get_health(const HttpRequest&, const Exchange& exchange) {
  const auto unavailable = [&](std::string message) {
    exchange->respond(error_response(ApiError::of(503, std::move(message))));
  };
  if (draining_) return unavailable("The server is shutting down");
  const EngineThread* running = engine();
  if (running == nullptr) return unavailable("Loading model");
  const EngineHealth health = running->health();
  if (health.stopped) return unavailable("The engine has stopped");
  if (health.stalled) return unavailable("The engine is stalled");
  if (!health.failure.empty()) return unavailable("The last forward failed: " + health.failure);
  exchange->respond(json_response(200, "{\"status\":\"ok\"}"));
}

std::string Service::model_object() const {
  const Loaded& l = loaded();
  const ModelInfo& info = l.model.info;
  const Json object = {{"id", l.model.name},
                       {"object", "model"},
                       {"created", l.created},
                       {"owned_by", "floe"},
                       {"meta",
                        {{"vocab_type", l.model.tokenizer->model_name() == "llama" ? 1 : 2},
                         {"n_vocab", l.model.tokenizer->n_vocab()},
                         {"n_ctx", l.services.engine->limits().n_context()},
                         {"n_ctx_train", info.context_length},
                         {"n_embd", info.hidden_dim},
                         {"n_params", info.n_params},
                         {"size", info.file_bytes}}}};
  return dump_json(object);
}

void Service::get_models(const HttpRequest&, const Exchange& exchange) {
  exchange->respond(json_response(200, "{\"object\":\"list\",\"data\":[" + model_object() + "]}"));
}

void Service::get_model(const HttpRequest& request, const Exchange& exchange) {
  // A name may hold a slash, escaped or not. Trailing ones are not part of it.
  constexpr std::string_view kBefore = "/models/";
  std::string name = request.path.substr(request.path.find(kBefore) + kBefore.size());
  for (size_t at = name.find('%'); at != std::string::npos; at = name.find('%', at + 1)) {
    name.replace(at, 3, name.compare(at, 3, "%2F") == 0 ? "/" : "%");
  }
  while (name.ends_with('/')) name.pop_back();
  if (const auto error = check_model_name(name))
    return (void)exchange->respond(error_response(*error));
  exchange->respond(json_response(200, model_object()));
}

namespace {

// What the template does; what the model learned to do with it is another matter.
Json chat_caps(const ChatTemplate* chat, const AnswerFormat& answers) {
  if (chat == nullptr) return {{"supports_tools", false}};
  const TemplateTraits& traits = chat->traits();
  return {{"supports_tools", chat->supports_tools() && answers.calls.exists()},
          {"supports_system_role", traits.supports_system},
          {"supports_enable_thinking", traits.can_switch_thinking},
          {"thinks_by_default", traits.thinks_by_default},
          {"requires_object_arguments", traits.shapes.arguments_as_objects},
          {"requires_typed_content", traits.shapes.content_as_parts}};
}

}  // namespace

void Service::get_response(const HttpRequest& request, const Exchange& exchange) {
  const std::string id = request.path.substr(request.path.rfind('/') + 1);
  std::optional<StoredResponse> stored = responses_.find(request.owner, id);
  if (!stored) return (void)exchange->respond(error_response(unknown_response()));
  exchange->respond(json_response(200, std::move(stored->object)));
}

void Service::get_props(const HttpRequest&, const Exchange& exchange) {
  const Loaded& l = loaded();
  const SamplingParams& s = options_.default_sampling;
  const ChatTemplate* chat = l.model.chat_template ? &*l.model.chat_template : nullptr;
  const Json object = {
      {"default_generation_settings",
       {{"n_ctx", l.services.engine->limits().n_context()},
        {"params",
         {{"temperature", s.temperature},
          {"top_k", s.top_k},
          {"top_p", s.top_p},
          {"min_p", s.min_p},
          {"repeat_penalty", s.repetition_penalty},
          {"repeat_last_n", s.repeat_last_n},
          {"presence_penalty", s.presence_penalty},
          {"frequency_penalty", s.frequency_penalty}}}}},
      {"total_slots", l.model.n_slots},
      {"speculation", l.model.speculation},
      {"model_alias", l.model.name},
      {"model_path", l.model.file_name},
      {"chat_template", chat ? chat->source().text : l.model.tokenizer->chat_template()},
      {"chat_template_tool_use", chat ? chat->source().tool_use : ""},
      {"chat_format", chat ? Json(chat->source().name) : Json(nullptr)},
      {"tool_parser", l.model.answer_format.name},
      {"chat_template_caps", chat_caps(chat, l.model.answer_format)},
      {"prefix_stable", chat && chat->traits().prefix_breaks.empty()},
      {"prefix_breaks", chat ? Json(chat->traits().prefix_breaks) : Json::array()},
      {"modalities", {{"vision", false}, {"audio", false}}},
      {"build_info", options_.build_info},
      {"is_sleeping", false}};
  exchange->respond(json_response(200, dump_json(object)));
}

// As llama.cpp's server has them, without texts: counts say nothing of what others wrote.
void Service::get_slots(const HttpRequest& request, const Exchange& exchange) {
  const Loaded& l = loaded();
  const std::vector<SequenceStats> running = l.services.engine->running();
  if (request.query.find("fail_on_no_slot=1") != std::string::npos &&
      running.size() >= l.model.n_slots) {
    ApiError error = ApiError::of(503, "no slot available");
    error.retry_after_seconds = 1;
    return (void)exchange->respond(error_response(error));
  }
  Json slots = Json::array();
  for (uint32_t id = 0; id < l.model.n_slots; ++id) {
    const auto sequence = std::find_if(running.begin(), running.end(),
                                       [&](const SequenceStats& s) { return s.slot == id; });
    Json slot = {{"id", id},
                 {"n_ctx", l.services.engine->limits().n_context()},
                 {"is_processing", sequence != running.end()}};
    if (sequence != running.end()) {
      const SequenceStats& s = *sequence;
      const uint32_t n_reused = std::min(s.n_reused, s.n_prompt);
      slot["speculative"] = s.is_drafting;
      slot["id_task"] = s.request;
      slot["choice"] = s.choice;
      slot["n_prompt_tokens"] = s.n_prompt;
      slot["n_prompt_tokens_cache"] = n_reused;
      slot["n_prompt_tokens_processed"] = std::min(s.n_cached, s.n_prompt) - n_reused;
      slot["next_token"] = {{{"has_next_token", s.n_output < s.max_tokens},
                             {"n_remain", s.max_tokens - s.n_output},
                             {"n_decoded", s.n_output}}};
    }
    slots.push_back(std::move(slot));
  }
  exchange->respond(json_response(200, dump_json(slots)));
}

void Service::get_metrics(const HttpRequest&, const Exchange& exchange) {
  MetricsInput input;
  const Loaded* l = model_.load();
  if (l != nullptr) {
    input.model_name = l->model.name;
    input.engine = l->services.engine->stats();
    input.floor_gb_s = l->model.read_gb_s;
  }
  input.ready = l != nullptr && !draining_;
  if (server_ != nullptr) input.http = server_->counters();
  input.n_preparing = prepare_queue_.n_waiting();
  input.routes = &counters_;
  std::vector<std::string_view> names;
  for (const Route& route : routes()) names.push_back(route.path);
  names.push_back("none");
  input.route_names = names;
  HttpResponse response;
  response.fields = {{"Content-Type", std::string(kMetricsContentType)},
                     {"Cache-Control", "no-store"},
                     {"X-Content-Type-Options", "nosniff"}};
  response.body = metrics_text(input);
  exchange->respond(std::move(response));
}

void Service::get_page(const HttpRequest& request, const Exchange& exchange) {
  HttpResponse response;
  const std::span<const PageAsset> assets =
      options_.page ? page_assets() : std::span<const PageAsset>();
  for (const PageAsset& asset : assets) {
    if (asset.path != request.path) continue;
    response.fields = page_fields(asset.content_type);
    response.fields.push_back({"ETag", std::string(asset.etag)});
    response.fields.push_back(
        {"Cache-Control", asset.immutable ? "public, max-age=31536000, immutable" : "no-cache"});
    if (request.field("if-none-match") == asset.etag) {
      response.status = 304;
    } else {
      response.body = std::string(asset.bytes);
    }
    return (void)exchange->respond(std::move(response));
  }
  if (request.path != "/") {
    return (void)exchange->respond(failure(404, "There is nothing at this path"));
  }
  response.fields = page_fields("text/plain; charset=utf-8");
  response.fields.push_back({"Cache-Control", "no-cache"});
  response.body = options_.page
                      ? "floe is running. The page was left out of this build; the API is at /v1.\n"
                      : "floe is running. The page is switched off; the API is at /v1.\n";
  exchange->respond(std::move(response));
}

}  // namespace floe
