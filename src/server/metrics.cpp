#include "server/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

namespace floe {
namespace {

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  return fmt::format("{:.9g}", value);
}

void append_escaped(std::string_view value, std::string& out) {
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

constexpr std::string_view kBatchNames[] = {"1",     "2",     "3-4",    "5-8", "9-16",
                                            "17-32", "33-64", "65-128", "129+"};
static_assert(std::size(kBatchNames) == kBatchBuckets);

double per_second(double n, double seconds) {
  return seconds > 0 ? n / seconds : 0.0;
}

// Names as llama.cpp's server has them.
void add_llamacpp(const EngineStats& s, MetricsText& out) {
  const double n_prompt = static_cast<double>(s.n_prompt_tokens - s.n_cached_tokens);
  const double n_generated = static_cast<double>(s.n_generated_tokens);
  out.counter("llamacpp:prompt_tokens_total", "Prompt tokens processed.", n_prompt);
  out.counter("llamacpp:prompt_tokens_cached_total", "Prompt tokens taken from a cache.",
              static_cast<double>(s.n_cached_tokens));
  out.counter("llamacpp:prompt_seconds_total", "Time in steps that held prompt tokens.",
              s.prefill_seconds);
  out.counter("llamacpp:tokens_predicted_total", "Tokens generated.", n_generated);
  out.counter("llamacpp:tokens_predicted_seconds_total", "Time in steps of generation only.",
              s.decode_seconds);
  out.counter("llamacpp:n_decode_total", "Forwards.", static_cast<double>(s.n_steps));
  // A counter in llama.cpp, though a rate of it says nothing.
  out.gauge("llamacpp:n_tokens_max", "Most tokens that one sequence had in the KV cache.",
            s.n_tokens_max);
  const auto sum = [](std::span<const uint64_t> counts) {
    return static_cast<double>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
  };
  out.counter("llamacpp:spec_decode_num_drafts_total", "Drafts verified.",
              static_cast<double>(s.n_drafts));
  out.counter("llamacpp:spec_decode_num_draft_tokens_total", "Drafted tokens verified.",
              sum(s.n_drafted));
  out.counter("llamacpp:spec_decode_num_accepted_tokens_total", "Drafted tokens accepted.",
              sum(s.n_draft_accepted));
  out.family("llamacpp:spec_decode_num_accepted_tokens_per_pos_total", "counter",
             "Drafted tokens accepted, by their position in the draft.");
  for (size_t i = 0; i < s.accepted_by_position.size(); ++i) {
    out.sample(static_cast<double>(s.accepted_by_position[i]), {{"position", std::to_string(i)}});
  }
  out.gauge("llamacpp:prompt_tokens_seconds", "Prompt tokens per second since the start.",
            per_second(n_prompt, s.prefill_seconds));
  out.gauge("llamacpp:predicted_tokens_seconds", "Generated tokens per second since the start.",
            per_second(n_generated, s.decode_seconds));
  out.gauge("llamacpp:requests_processing", "Requests that run.", s.n_running);
  out.gauge("llamacpp:requests_deferred", "Requests that wait.", s.n_waiting);
  out.gauge("llamacpp:n_busy_slots_per_decode",
            "Rows with logits per forward, mean since the start.",
            per_second(static_cast<double>(s.n_decode_rows), static_cast<double>(s.n_steps)));
}

// Names as vLLM has them.
void add_vllm(const EngineStats& s, std::string_view model, MetricsText& out) {
  const MetricsText::Labels labels = {{"model_name", model}};
  out.gauge("vllm:num_requests_running", "Requests that run.", s.n_running, labels);
  out.gauge("vllm:num_requests_waiting", "Requests that wait.", s.n_waiting, labels);
  out.gauge("vllm:kv_cache_usage_perc", "KV cache in use, 0 to 1.",
            per_second(s.n_kv_blocks_used, s.n_kv_blocks), labels);
  out.counter("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache.",
              static_cast<double>(s.n_prompt_tokens), labels);
  out.counter("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache.",
              static_cast<double>(s.n_cached_tokens), labels);
  out.counter("vllm:prompt_tokens_total", "Prompt tokens, cached ones included.",
              static_cast<double>(s.n_prompt_tokens), labels);
  out.counter("vllm:generation_tokens_total", "Tokens generated.",
              static_cast<double>(s.n_generated_tokens), labels);
  out.family("vllm:request_success_total", "counter", "Choices ended, by reason.");
  out.sample(static_cast<double>(s.n_finished_stop),
             {{"model_name", model}, {"finished_reason", "stop"}});
  out.sample(static_cast<double>(s.n_finished_length),
             {{"model_name", model}, {"finished_reason", "length"}});
  out.sample(static_cast<double>(s.n_finished_cancelled),
             {{"model_name", model}, {"finished_reason", "abort"}});
  out.sample(static_cast<double>(s.n_finished_error),
             {{"model_name", model}, {"finished_reason", "error"}});
  const auto histogram = [&](std::string_view name, std::string_view help, const Histogram& h) {
    out.family(name, "histogram", help);
    out.histogram(h, labels);
  };
  histogram("vllm:time_to_first_token_seconds", "Arrival to first token.", s.time_to_first_token);
  histogram("vllm:inter_token_latency_seconds", "Time between tokens of one choice.",
            s.inter_token);
  histogram("vllm:e2e_request_latency_seconds", "Arrival to end.", s.end_to_end);
  histogram("vllm:request_queue_time_seconds", "Time waited.", s.queue);
  histogram("vllm:request_prefill_time_seconds", "Start to first token.", s.prefill);
  histogram("vllm:request_decode_time_seconds", "First token to end.", s.decode);
}

// Of the forwards and of the drafters together: a head that both read is one head.
void add_bytes(const EngineStats& s, MetricsText& out) {
  uint64_t head_bytes = s.head_bytes, kv_bytes = s.kv_bytes;
  for (const DraftReads& reads : s.draft_reads) {
    head_bytes += reads.head_bytes;
    kv_bytes += reads.kv_bytes;
  }
  out.family("floe_weight_bytes_read_total", "counter",
             "Bytes of weights read, by what they belong to.");
  const std::pair<std::string_view, uint64_t> kinds[] = {{"attn", s.attention_bytes},
                                                         {"dense", s.dense_bytes},
                                                         {"shared", s.shared_bytes},
                                                         {"routed", s.routed_bytes},
                                                         {"head", head_bytes}};
  for (const auto& [kind, bytes] : kinds) out.sample(static_cast<double>(bytes), {{"kind", kind}});
  for (const DraftSource source :
       {DraftSource::mtp, DraftSource::draft_model, DraftSource::eagle3}) {
    out.sample(static_cast<double>(s.draft_reads[static_cast<size_t>(source)].weight_bytes),
               {{"kind", to_string(source)}});
  }
  out.counter("floe_kv_bytes_read_total", "Bytes of the KV caches read, drafters' included.",
              static_cast<double>(kv_bytes));
}

void add_own(const MetricsInput& input, MetricsText& out) {
  const EngineStats& s = input.engine;
  out.gauge("floe_ready", "1 when requests are accepted.", input.ready ? 1 : 0);
  add_bytes(s, out);
  out.gauge("floe_decode_bandwidth_bytes_per_second", "Bytes read by the last step over its time.",
            s.last_gb_s * 1e9);
  if (input.floor_gb_s > 0) {
    out.gauge("floe_bandwidth_floor_ratio", "The last step's bandwidth over the machine's, 0 to 1.",
              s.last_gb_s / input.floor_gb_s);
  }
  out.family("floe_experts_union", "histogram",
             "Distinct routed experts per MoE layer of a forward, mean, by its number of rows.");
  for (size_t i = 0; i < kBatchBuckets; ++i) {
    if (s.experts_union[i].n_observations == 0) continue;
    out.histogram(s.experts_union[i], {{"batch", kBatchNames[i]}});
  }
  out.gauge("floe_step_rows", "Rows of the last step.", s.last_rows);
  out.family("floe_step_seconds", "histogram", "Time of one step.");
  out.histogram(s.step);
  out.family("floe_step_phase_seconds_total", "counter", "Time in steps, by what they held.");
  out.sample(s.prefill_seconds, {{"phase", "prefill"}});
  out.sample(s.decode_seconds, {{"phase", "decode"}});
  out.counter("floe_rows_total", "Rows of all forwards.", static_cast<double>(s.n_rows));
  out.counter("floe_preemptions_total", "Choices that gave their cache away and started again.",
              static_cast<double>(s.n_preemptions));
  out.counter("floe_recomputed_tokens_total", "Rows computed again after a preemption.",
              static_cast<double>(s.n_recomputed_tokens));
  out.family("floe_spec_drafted_tokens_total", "counter",
             "Drafted tokens verified, by what guessed them.");
  const auto by_source = [&](std::span<const uint64_t> counts) {
    for (size_t i = 0; i < counts.size(); ++i) {
      out.sample(static_cast<double>(counts[i]),
                 {{"source", to_string(static_cast<DraftSource>(i))}});
    }
  };
  by_source(s.n_drafted);
  out.family("floe_spec_accepted_tokens_total", "counter",
             "Drafted tokens accepted, by what guessed them.");
  by_source(s.n_draft_accepted);
  out.counter("floe_spec_draft_seconds_total", "Time spent on guessing.", s.draft_seconds);
  out.family("floe_spec_enabled", "gauge", "1 while guesses of a drafter may be verified.");
  for (size_t i = 0; i < kDraftSources; ++i) {
    if (s.drafters[i] == DrafterState::absent) continue;
    out.sample(s.drafters[i] == DrafterState::on ? 1 : 0,
               {{"type", to_string(static_cast<DraftSource>(i))}});
  }
  out.family("floe_spec_switches_total", "counter",
             "Times that a choice began or ceased to speculate, by why.");
  for (auto i = static_cast<size_t>(SpecReason::pays); i < kSpecReasons; ++i) {
    out.sample(static_cast<double>(s.n_spec_switches[i]),
               {{"reason", to_string(static_cast<SpecReason>(i))}});
  }
  out.family("floe_spec_sequences", "gauge", "Choices in the running batch, by what they do.");
  out.sample(s.n_drafting, {{"state", "draft"}});
  out.sample(s.n_parked, {{"state", "parked"}});
  out.sample(s.n_sequences - std::min(s.n_sequences, s.n_drafting + s.n_parked),
             {{"state", "plain"}});
  out.gauge("floe_sequences", "Choices in the running batch.", s.n_sequences);
  out.family("floe_kv_blocks", "gauge", "Blocks of the KV cache.");
  out.sample(s.n_kv_blocks_used, {{"state", "used"}});
  out.sample(s.n_kv_blocks_cached, {{"state", "cached"}});
  out.sample(s.n_kv_blocks - s.n_kv_blocks_used - s.n_kv_blocks_cached, {{"state", "free"}});
  out.family("floe_prefix_cache_lookups_total", "counter",
             "Choices by whether a part of their prompt was in the prefix cache.");
  out.sample(static_cast<double>(s.n_prefix_hits), {{"result", "hit"}});
  out.sample(static_cast<double>(s.n_prefix_misses), {{"result", "miss"}});
  out.gauge("floe_prefix_cache_bytes", "KV cache that is kept for prompts that begin alike.",
            static_cast<double>(s.n_kv_blocks_cached * s.kv_block_bytes));
  out.counter("floe_prefix_cache_evicted_blocks_total", "Cached blocks that gave way to others.",
              static_cast<double>(s.n_kv_evictions));
  out.counter("floe_requests_accepted_total", "Requests accepted by the engine.",
              static_cast<double>(s.n_accepted));
  out.counter("floe_requests_done_total", "Requests ended, whatever the reason.",
              static_cast<double>(s.n_requests_done));
  out.family("floe_requests_refused_total", "counter", "Requests refused by the engine.");
  out.sample(static_cast<double>(s.n_refused_queue_full), {{"reason", "queue_full"}});
  out.sample(static_cast<double>(s.n_refused_invalid), {{"reason", "invalid"}});
}

void add_http(const MetricsInput& input, MetricsText& out) {
  const HttpCounters& h = input.http;
  out.gauge("floe_http_connections", "Open connections.", static_cast<double>(h.n_open));
  out.gauge("floe_http_requests_active", "Requests that wait for their answer or stream it.",
            static_cast<double>(h.n_active));
  out.gauge("floe_http_requests_preparing", "Requests whose body waits for a worker.",
            static_cast<double>(input.n_preparing));
  out.gauge("floe_http_body_bytes", "Request bodies held now.", static_cast<double>(h.body_bytes));
  out.counter("floe_http_connections_accepted_total", "Connections accepted.",
              static_cast<double>(h.n_accepted));
  out.counter("floe_http_connections_refused_total", "Connections beyond every limit.",
              static_cast<double>(h.n_refused));
  out.counter("floe_http_timeouts_total", "Connections ended by a deadline.",
              static_cast<double>(h.n_timeouts));
  out.counter("floe_http_disconnects_total", "Clients that left before their answer was complete.",
              static_cast<double>(h.n_disconnects));
  out.counter("floe_http_malformed_requests_total", "Requests that are not valid HTTP.",
              static_cast<double>(h.n_bad_requests));
  out.family("floe_http_responses_total", "counter", "Answers, by route and status.");
  for (size_t route = 0; route < input.route_names.size(); ++route) {
    for (size_t i = 0; i < RouteCounters::kStatuses.size(); ++i) {
      const uint64_t n = input.routes->get(route, i);
      if (n == 0) continue;
      out.sample(static_cast<double>(n), {{"route", input.route_names[route]},
                                          {"code", std::to_string(RouteCounters::kStatuses[i])}});
    }
  }
}

}  // namespace

void MetricsText::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void MetricsText::line(std::string_view suffix, Labels labels, std::string_view bound,
                       double value) {
  text_ += name_;
  text_ += suffix;
  bool any = false;
  for (const auto& [label, text] : labels) {
    text_ += any ? "," : "{";
    any = true;
    text_ += label;
    text_ += "=\"";
    append_escaped(text, text_);
    text_ += '"';
  }
  if (!bound.empty()) {
    text_ += any ? "," : "{";
    any = true;
    text_ += "le=\"";
    text_ += bound;
    text_ += '"';
  }
  if (any) text_ += '}';
  text_ += ' ';
  text_ += number(value);
  text_ += '\n';
}

void MetricsText::sample(double value, Labels labels) {
  line("", labels, {}, value);
}

void MetricsText::histogram(std::span<const double> bounds, std::span<const uint64_t> counts,
                            double sum, Labels labels) {
  uint64_t cumulative = 0;
  for (size_t i = 0; i < bounds.size(); ++i) {
    cumulative += counts[i];
    line("_bucket", labels, number(bounds[i]), static_cast<double>(cumulative));
  }
  cumulative += counts.back();
  line("_bucket", labels, "+Inf", static_cast<double>(cumulative));
  line("_sum", labels, {}, sum);
  line("_count", labels, {}, static_cast<double>(cumulative));
}

void MetricsText::counter(std::string_view name, std::string_view help, double value,
                          Labels labels) {
  family(name, "counter", help);
  sample(value, labels);
}

void MetricsText::gauge(std::string_view name, std::string_view help, double value, Labels labels) {
  family(name, "gauge", help);
  sample(value, labels);
}

void RouteCounters::count(size_t route, int status) {
  for (size_t i = 0; i < kStatuses.size(); ++i) {
    if (kStatuses[i] == status) counts_[route][i].fetch_add(1, std::memory_order_relaxed);
  }
}

uint64_t RouteCounters::get(size_t route, size_t status_index) const {
  return counts_[route][status_index].load(std::memory_order_relaxed);
}

std::string metrics_text(const MetricsInput& input) {
  MetricsText out;
  add_own(input, out);
  add_http(input, out);
  add_llamacpp(input.engine, out);
  add_vllm(input.engine, input.model_name, out);
  return out.text();
}

}  // namespace floe
