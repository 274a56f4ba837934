#include "sim/simulator.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/schedule_hooks.h"
#include "sim/closed_form.h"
#include "sim/fake_model.h"
#include "sim/scripted_drafter.h"

namespace floe::sim {

uint64_t ByteDecisions::below(uint64_t bound) {
  if (bound <= 1) return 0;
  uint64_t value = 0;
  const int n_bytes = bound <= 256 ? 1 : 2;
  for (int i = 0; i < n_bytes && next_ < bytes_.size(); ++i) value = value << 8 | bytes_[next_++];
  return value % bound;
}

namespace {

constexpr uint32_t kVocab = 48;
constexpr int32_t kNanMarker = 47;
constexpr uint64_t kMaxSteps = 100000;

// Bends the schedule: tiny chunks, preemptions out of the blue, another order in the batch.
class Chaos final : public ScheduleHooks {
 public:
  explicit Chaos(Decisions& decisions)
      : decisions_(decisions),
        chunk_mode_(decisions.below(4)),
        preempt_one_in_(decisions.below(3) == 2 ? decisions.between(2, 60) : 0),
        shuffles_(decisions.below(2) == 1) {}

  uint32_t chunk_rows(uint32_t n_wanted) override {
    if (chunk_mode_ == 1) return 1;
    if (chunk_mode_ == 2) return decisions_.between(1, n_wanted);
    if (chunk_mode_ == 3) return std::min(n_wanted, 7u);
    return n_wanted;
  }
  bool force_preemption(const Sequence&) override {
    // A limited number, so that a run ends.
    if (preempt_one_in_ == 0 || n_preempted_ >= 40) return false;
    if (!decisions_.one_in(preempt_one_in_)) return false;
    ++n_preempted_;
    return true;
  }
  void order(std::span<SequenceRows> step) override {
    if (!shuffles_) return;
    for (size_t i = step.size(); i > 1; --i) std::swap(step[i - 1], step[decisions_.below(i)]);
  }
  std::string describe() const {
    return fmt::format("chunk_mode={} preempt_one_in={} shuffles={}", chunk_mode_, preempt_one_in_,
                       shuffles_);
  }

 private:
  Decisions& decisions_;
  const uint64_t chunk_mode_;
  const uint32_t preempt_one_in_;
  const bool shuffles_;
  int n_preempted_ = 0;
};

// What the world knows about one request, and the judge of its events.
class Client final : public TokenSink {
 public:
  struct Choice {
    Expected expected;
    std::vector<int32_t> tokens;
    FinishReason finish = FinishReason::none;
    bool finish_called = false;
    uint32_t stop_at = 0;  // a stop string after that many tokens; 0: none
    bool told_prompt = false;
  };

  static bool same(const std::vector<PromptLogprob>& a, const std::vector<PromptLogprob>& b) {
    const auto same_token = [](const TokenLogprob& x, const TokenLogprob& y) {
      return x.token == y.token && x.logprob == y.logprob;
    };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [&](const PromptLogprob& x, const PromptLogprob& y) {
                        return x.logprob == y.logprob && x.rank == y.rank &&
                               std::equal(x.top.begin(), x.top.end(), y.top.begin(), y.top.end(),
                                          same_token);
                      });
  }

  void on_event(TokenEvent&& event) noexcept override {
    if (done) return fail("an event after the last");
    if (event.request != id) return fail("an event of another request");
    if (event.choice >= choices.size()) return fail("an event of an unknown choice");
    Choice& choice = choices[event.choice];
    if (choice.finish != FinishReason::none) return fail("an event after the finish");
    if (event.counts.prompt_tokens != request.prompt.size()) return fail("wrong prompt count");
    if (!event.prompt_logprobs.empty()) {
      if (choice.told_prompt || !request.prompt_logprobs || event.choice != 0) {
        return fail("probabilities of a prompt that nobody asked for");
      }
      choice.told_prompt = true;
      if (!same(event.prompt_logprobs, choice.expected.prompt_logprobs)) {
        return fail("other probabilities of the prompt than the closed form");
      }
    } else if ((event.token >= 0 || event.finish == FinishReason::length) && !choice.told_prompt &&
               !choice.expected.prompt_logprobs.empty()) {
      return fail("the probabilities of the prompt are missing");
    }
    if (event.token >= 0) {
      if (paused) return fail("a token while its reader is behind");
      if (event.index != choice.tokens.size()) return fail("a gap in the indices");
      if (event.index >= choice.expected.tokens.size() ||
          event.token != choice.expected.tokens[event.index]) {
        return fail(fmt::format("choice {} token {}: another token than the closed form",
                                event.choice, event.index));
      }
      choice.tokens.push_back(event.token);
      if (event.counts.completion_tokens != choice.tokens.size()) return fail("wrong token count");
      if (request.sampling.top_logprobs > 0 &&
          event.top_logprobs.size() != request.sampling.top_logprobs) {
        return fail("wrong number of top_logprobs");
      }
    }
    admit_ms = std::max(admit_ms, arrival_ms + event.timings.queue_ms);
    if (event.choice == 0) first_admit_ms = arrival_ms + event.timings.queue_ms;
    n_cached = std::max(n_cached, event.counts.cached_tokens);
    choice.finish = event.finish;
    switch (event.finish) {
      case FinishReason::none:
        if (event.request_done || event.token < 0) return fail("an event that says nothing");
        break;
      case FinishReason::length:
        if (choice.expected.finish != FinishReason::length || !complete(choice)) {
          return fail("length before the length");
        }
        break;
      case FinishReason::stop:
        if (choice.finish_called) {
          if (event.counts.completion_tokens != choice.stop_at) return fail("wrong stop count");
        } else if (choice.expected.finish != FinishReason::stop || !complete(choice)) {
          return fail("stop without a stop token");
        }
        break;
      case FinishReason::cancelled:
        if (!cancel_called) return fail("cancelled by nobody");
        break;
      case FinishReason::error:
        if (event.error == EndError::numeric) {
          n_numeric += choice.expected.finish == FinishReason::error && complete(choice) ? 1 : 0;
        } else if (event.error == EndError::device
                       ? !device_failed
                       : event.error != EndError::shutdown || !shutdown_called) {
          return fail("an error for no reason");
        }
        saw_numeric |= event.error == EndError::numeric;
        break;
    }
    if (event.finish != FinishReason::none) ++n_finished;
    done = event.request_done;
    if (done != (n_finished == choices.size())) return fail("request_done at the wrong event");
    // A numeric error has one choice whose own row was not finite.
    if (done && saw_numeric && n_numeric == 0) return fail("a numeric error of finite rows");
  }
  static bool complete(const Choice& choice) {
    return choice.tokens.size() == choice.expected.tokens.size();
  }
  void fail(std::string what) {
    if (failure.empty()) failure = fmt::format("request {}: {}", id, what);
  }

  RequestId id = 0;
  Request request;
  std::vector<Choice> choices;
  double arrival_ms = 0.0;
  double admit_ms = 0.0;
  double first_admit_ms = -1.0;
  uint32_t n_cached = 0;
  size_t n_finished = 0;
  size_t n_numeric = 0;
  bool saw_numeric = false;
  bool cancel_called = false;
  bool shutdown_called = false;
  bool device_failed = false;  // while it was there
  bool paused = false;
  bool was_paused = false;
  bool done = false;
  std::string failure;
};

class Simulation {
 public:
  explicit Simulation(Decisions& decisions)
      : decisions_(decisions), chaos_(decisions), oracle_sampler_(kVocab) {}

  SimulationResult run() {
    start();
    uint64_t n_empty = 0;
    while (result_.failure.empty()) {
      act();
      const uint64_t n_rows = model_->n_rows();
      const bool worked = engine_->step();
      engine_->audit();
      pump();
      collect_failures();
      if (++result_.n_steps > kMaxSteps) fail("no end after many steps");
      n_empty = worked && model_->n_rows() == n_rows ? n_empty + 1 : 0;
      if (n_empty > 100) fail("steps without a row");
      if (!worked && engine_->idle() && (n_left_ == 0 || decisions_.exhausted())) break;
    }
    finish();
    return result_;
  }

 private:
  void start() {
    options_.max_context = decisions_.between(2, 220);
    options_.n_kv_tokens = 32 * decisions_.between(1, 12);
    options_.max_sequences = decisions_.between(1, 6);
    options_.max_waiting = decisions_.between(0, 10);
    options_.max_choices = 4;
    options_.max_step_rows = decisions_.between(1, 80);
    options_.max_mixed_rows = decisions_.between(1, 30);
    options_.max_prompt_logit_rows = decisions_.between(1, 40);
    options_.reserve_output_tokens = decisions_.one_in(2) ? 0 : decisions_.between(0, 64);
    constexpr KvType kTypes[] = {KvType::F16, KvType::F32, KvType::Q8_0};
    options_.kv_types = KvTypes(kTypes[decisions_.below(3)], kTypes[decisions_.below(3)]);
    options_.cache_prefixes = !decisions_.one_in(5);
    options_.n_prefix_tokens = 32 * decisions_.between(0, 12);
    options_.poison_freed_blocks = true;
    options_.hooks = &chaos_;
    FakeModelOptions model_options;
    model_options.n_vocab = kVocab;
    model_options.nan_marker = kNanMarker;
    model_options.nan_one_in = 6;
    model_options.after_forward = [this](size_t n_rows) {
      clock_.advance(100'000 + 7'000 * static_cast<int64_t>(n_rows));
    };
    // One run in four is on a device that fails now and then.
    if (decisions_.one_in(4)) {
      model_options.failure = [this](const ForwardBatch&) -> std::optional<Error> {
        if (!decisions_.one_in(30)) return std::nullopt;
        for (const auto& client : clients_) client->device_failed = true;
        return Error{ErrorKind::runtime, "the device fails"};
      };
    }
    model_ = std::make_unique<FakeModel>(model_options);
    speculate();
    auto engine = Engine::create(options_, *model_, clock_);
    if (!engine.ok()) {
      fail("create: " + engine.error().message);
      return;
    }
    engine_ = std::move(engine).value();
    n_left_ = decisions_.between(1, 14);
    greedy_only_ = decisions_.one_in(3);
    result_.setup = fmt::format(
        "context={} kv={} sequences={} waiting={} step_rows={} mixed_rows={} reserve={} "
        "requests={} spec={}:{} draft_rows={} {}",
        options_.max_context, options_.n_kv_tokens, options_.max_sequences, options_.max_waiting,
        options_.max_step_rows, options_.max_mixed_rows, options_.reserve_output_tokens, n_left_,
        static_cast<int>(options_.spec.mode), options_.spec.n_fixed, options_.max_draft_rows,
        chaos_.describe());
  }

  // Three runs in four have a drafter; how often it lies stays the same for a run.
  void speculate() {
    constexpr SpecMode kModes[] = {SpecMode::off, SpecMode::fixed, SpecMode::adaptive,
                                   SpecMode::fixed};
    options_.spec.mode = kModes[decisions_.below(4)];
    options_.spec.n_fixed = decisions_.between(1, kMaxDraftTokens);
    options_.max_draft_rows = decisions_.between(1, 64);
    const uint32_t lie_one_in = decisions_.between(1, 12);
    const uint32_t n_open = decisions_.one_in(2) ? 0 : decisions_.between(1, 40);
    ScriptedDrafter::Script script;
    script.lies = [this, lie_one_in] { return decisions_.one_in(lie_one_in); };
    script.n_guesses = [this](uint32_t n_room) { return decisions_.between(0, n_room); };
    script.caches = decisions_.one_in(2);
    script.n_open = [n_open](uint32_t n_cached) { return std::min(n_open, n_cached); };
    options_.drafters = scripted_drafters(*model_, script, &drafter_);
  }

  void fail(std::string what) {
    if (result_.failure.empty()) result_.failure = std::move(what);
  }

  // What the world does between two steps.
  void act() {
    if (engine_->idle() && n_left_ > 0 && !decisions_.exhausted()) submit();
    if (!engine_->idle() && !engine_->has_work()) resume_all();
    switch (decisions_.below(24)) {
      case 13:
        pause();
        break;
      case 14:
        resume_all();
        break;
      case 15:
      case 16:
      case 17:
        submit();
        break;
      case 18:
        for (int i = 0; i < 4; ++i) submit();
        break;
      case 19:
        cancel();
        break;
      case 21:
        clock_.advance(static_cast<int64_t>(decisions_.below(60000)) * 1'000'000);
        break;
      case 22:
        if (decisions_.one_in(40)) shut_down(false);
        break;
      case 23:
        if (decisions_.one_in(60)) shut_down(true);
        break;
      default:
        break;
    }
  }

  void submit() {
    if (n_left_ == 0) return;
    --n_left_;
    auto client = std::make_shared<Client>();
    Request& request = client->request;
    const uint32_t longest = decisions_.one_in(2) ? options_.max_context + 1 : 40;
    request.prompt.resize(decisions_.between(1, longest));
    // Prompts with a common beginning make foreign blocks look plausible.
    const uint64_t family = decisions_.below(2);
    Rng rng(family == 0 ? 1 : decisions_.below(1000));
    for (int32_t& token : request.prompt) token = static_cast<int32_t>(rng.below(kVocab - 1));
    request.prompt.back() = static_cast<int32_t>(decisions_.below(kVocab - 1));
    if (decisions_.one_in(12)) request.prompt.front() = kNanMarker;
    request.max_tokens = decisions_.one_in(6) ? UINT32_MAX : decisions_.between(0, 50);
    request.n = decisions_.one_in(3) ? decisions_.between(1, 4) : 1;
    SamplingParams& params = request.sampling;
    params.temperature = 0.0f;
    if (!greedy_only_ && decisions_.one_in(2)) {
      params.temperature = static_cast<float>(decisions_.between(1, 30)) * 0.1f;
      params.seed = decisions_.below(1u << 16);
      if (decisions_.one_in(3)) params.top_k = decisions_.between(0, kVocab);
      if (decisions_.one_in(3)) params.top_p = static_cast<float>(decisions_.below(100)) * 0.01f;
      if (decisions_.one_in(3)) params.min_p = static_cast<float>(decisions_.below(100)) * 0.01f;
      if (decisions_.one_in(3)) params.repetition_penalty = 1.3f;
      if (decisions_.one_in(3)) params.frequency_penalty = 0.4f;
      params.repeat_last_n = static_cast<int32_t>(decisions_.below(80)) - 1;
      if (decisions_.one_in(4)) params.logit_bias = {{3, 4.0f}, {5, -100.0f}};
      if (decisions_.one_in(4)) params.logprobs = true, params.top_logprobs = 2;
    }
    for (uint64_t i = decisions_.below(3); i > 0; --i) {
      request.stop_tokens.push_back(static_cast<int32_t>(decisions_.below(kVocab)));
    }
    if (decisions_.one_in(4)) params.min_tokens = decisions_.between(0, 40);
    for (uint64_t i = decisions_.one_in(4) ? decisions_.below(8) : 0; i > 0; --i) {
      std::vector<int32_t>& word = params.bad_words.emplace_back(decisions_.between(1, 2));
      for (int32_t& token : word) token = static_cast<int32_t>(decisions_.below(kVocab));
    }
    request.prompt_logprobs = decisions_.one_in(4);
    if (request.prompt_logprobs) request.top_prompt_logprobs = decisions_.between(0, 3);
    const bool has_stop_string = decisions_.one_in(4);
    request.cache_key[1] = decisions_.one_in(4) ? 1 : 0;
    request.cache_prompt = !decisions_.one_in(6);
    if (decisions_.one_in(5)) request.max_draft_tokens = 0;
    // A conversation goes on.
    if (!clients_.empty() && decisions_.one_in(3)) continue_conversation(request);

    Request copy = request;
    copy.sink = client;
    const EngineStats before = engine_->stats();
    const SubmitOutcome outcome = engine_->submit(std::move(copy));
    const size_t n_least = request.prompt.size() + (request.max_tokens == 0 ? 0 : 1);
    const bool can_fit = n_least <= engine_->limits().n_context();
    switch (outcome.status) {
      case SubmitStatus::accepted:
        if (!can_fit) fail("accepted a prompt that can never run");
        if (shut_down_) fail("accepted while shutting down");
        break;
      case SubmitStatus::context_exceeded:
        if (can_fit) fail("refused a prompt that fits");
        break;
      case SubmitStatus::queue_full:
        if (before.n_waiting < options_.max_waiting) fail("refused with room in the queue");
        if (!(outcome.wait_seconds > 0.0)) fail("no estimate of the wait");
        break;
      case SubmitStatus::draining:
        if (!shut_down_) fail("refused as draining");
        break;
      case SubmitStatus::invalid:
        fail("refused a valid request: " + outcome.message);
        break;
    }
    if (outcome.status != SubmitStatus::accepted) {
      ++result_.n_refused;
      return;
    }
    client->id = outcome.id;
    client->arrival_ms = static_cast<double>(clock_.now_ns()) * 1e-6;
    const auto left = engine_->limits().n_context() - static_cast<uint32_t>(request.prompt.size());
    for (uint32_t i = 0; i < request.n; ++i) {
      Client::Choice choice;
      choice.expected = expected_output(
          *model_, request.prompt, params, choice_seed(params.seed, i),
          std::min(request.max_tokens, left), request.stop_tokens, oracle_sampler_,
          request.prompt_logprobs && i == 0 ? std::optional(request.top_prompt_logprobs)
                                            : std::nullopt);
      if (has_stop_string) choice.stop_at = decisions_.between(1, 30);
      client->choices.push_back(std::move(choice));
    }
    clients_.push_back(std::move(client));
    ++result_.n_requests;
  }

  void continue_conversation(Request& request) {
    const Client& earlier = *clients_[decisions_.below(clients_.size())];
    std::vector<int32_t> prompt = earlier.request.prompt;
    const std::vector<int32_t>& answer = earlier.choices.front().tokens;
    prompt.insert(prompt.end(), answer.begin(), answer.end());
    prompt.insert(prompt.end(), request.prompt.begin(), request.prompt.end());
    if (prompt.size() > options_.max_context + 1) return;
    request.prompt = std::move(prompt);
    request.cache_key = earlier.request.cache_key;
  }

  // The longest beginning of its prompt that some other request of the same key had computed.
  size_t longest_known(const Client& client) const {
    size_t longest = 0;
    for (const auto& other : clients_) {
      if (other == nullptr || other.get() == &client) continue;
      if (!other->request.cache_prompt || other->request.cache_key != client.request.cache_key) {
        continue;
      }
      for (const Client::Choice& choice : other->choices) {
        std::vector<int32_t> tokens = other->request.prompt;
        tokens.insert(tokens.end(), choice.tokens.begin(), choice.tokens.end());
        const auto& prompt = client.request.prompt;
        const auto differs =
            std::mismatch(prompt.begin(), prompt.end(), tokens.begin(), tokens.end()).first;
        longest = std::max(longest, static_cast<size_t>(differs - prompt.begin()));
      }
    }
    return longest;
  }

  void cancel() {
    if (clients_.empty()) return;
    // Any request, ended ones included.
    Client& client = *clients_[decisions_.below(clients_.size())];
    client.cancel_called = true;
    engine_->cancel(client.id);
    engine_->audit();
    if (!client.done) fail("a cancelled request goes on");
  }

  // A reader falls behind.
  void pause() {
    if (clients_.empty()) return;
    Client& client = *clients_[decisions_.below(clients_.size())];
    client.paused = true;
    client.was_paused |= !client.done;
    ++result_.n_paused;
    engine_->pause(client.id);
    engine_->audit();
  }

  void resume_all() {
    for (const auto& client : clients_) {
      if (!client->paused) continue;
      client->paused = false;
      engine_->resume(client->id);
    }
    engine_->audit();
  }

  void shut_down(bool at_once) {
    shut_down_ = true;
    for (const auto& client : clients_) client->shutdown_called = true;
    at_once ? engine_->abort_all() : engine_->begin_drain();
    engine_->audit();
    if (at_once && !engine_->idle()) fail("requests left after abort_all");
    n_left_ = std::min(n_left_, 2u);
  }

  // The readers: some find a stop string, at once or one step late.
  void pump() {
    for (const auto& client : clients_) {
      if (client->done) continue;
      for (uint32_t i = 0; i < client->choices.size(); ++i) {
        Client::Choice& choice = client->choices[i];
        if (choice.stop_at == 0 || choice.tokens.size() < choice.stop_at ||
            choice.finish != FinishReason::none || decisions_.one_in(2)) {
          continue;
        }
        choice.finish_called = true;
        engine_->finish(client->id, i, choice.stop_at);
        if (choice.finish != FinishReason::stop) fail("finish() did not end the choice");
      }
    }
  }

  void collect_failures() {
    if (!model_->violation().empty()) fail("model: " + model_->violation());
    if (drafter_ != nullptr && !drafter_->violation().empty()) fail(drafter_->violation());
    for (const auto& client : clients_) {
      if (!client->failure.empty()) fail(client->failure);
    }
  }

  void finish() {
    if (!result_.failure.empty()) return;
    const EngineStats stats = engine_->stats();
    uint64_t n_choices = 0;
    uint64_t n_tokens = 0;
    uint64_t by_reason[5] = {};
    double last_admit_ms = 0.0;
    for (const auto& client : clients_) {
      if (!client->done) fail(fmt::format("request {} never ended", client->id));
      for (const Client::Choice& choice : client->choices) {
        ++n_choices;
        ++by_reason[static_cast<size_t>(choice.finish)];
        n_tokens += choice.tokens.size();
      }
      // First come, first served: among those that got a token, in order of arrival. Who was paused
      // has let others pass.
      if (!client->choices[0].tokens.empty() && !client->was_paused) {
        if (client->first_admit_ms < last_admit_ms - 1e-3) {
          fail(fmt::format("request {} was admitted before an older one", client->id));
        }
        last_admit_ms = std::max(last_admit_ms, client->first_admit_ms);
      }
      result_.n_shared_prompt_tokens += client->n_cached;
      if (client->request.n > 1) continue;  // choices find each other's
      result_.n_reused_prompt_tokens += client->n_cached;
      const bool reuses = options_.cache_prefixes && client->request.cache_prompt;
      if (client->n_cached > 0 && !reuses && options_.cache_prefixes) {
        fail("a prompt of its own that was found cached");
      }
      if (client->n_cached > longest_known(*client)) {
        fail(fmt::format("request {} found more of its prompt than anybody computed", client->id));
      }
    }
    if (stats.n_kv_blocks_used != 0) fail("blocks in use at idle");
    if (stats.n_accepted != clients_.size() || stats.n_requests_done != clients_.size()) {
      fail("accepted and ended requests differ");
    }
    if (stats.n_generated_tokens != n_tokens) fail("tokens counted and tokens sent differ");
    if (stats.n_rows != model_->n_rows()) fail("rows counted and rows computed differ");
    if (stats.n_waiting + stats.n_running + stats.n_sequences != 0) fail("not idle at the end");
    if (by_reason[0] != 0 || stats.n_finished_stop != by_reason[1] ||
        stats.n_finished_length != by_reason[2] || stats.n_finished_cancelled != by_reason[3] ||
        stats.n_finished_error != by_reason[4] || stats.end_to_end.n_observations != n_choices) {
      fail("finish reasons counted and finish reasons sent differ");
    }
    uint64_t n_drafted = 0;
    for (size_t i = 0; i < kDraftSources; ++i) {
      n_drafted += stats.n_drafted[i];
      result_.n_accepted += stats.n_draft_accepted[i];
    }
    if (drafter_ != nullptr && drafter_->n_sequences() != 0) fail("a drafter keeps a sequence");
    if (drafter_ == nullptr && n_drafted != 0) fail("guesses of nobody");
    if (result_.n_accepted > n_drafted) fail("more guesses accepted than verified");
    result_.n_drafted = n_drafted;
    result_.n_rows = model_->n_rows();
    result_.n_tokens = n_tokens;
    result_.n_preemptions = stats.n_preemptions;
    result_.n_cancelled = by_reason[3];
    result_.n_stopped = by_reason[1];
    result_.n_errors = by_reason[4];
  }

  Decisions& decisions_;
  Chaos chaos_;
  Sampler oracle_sampler_;
  VirtualClock clock_;
  EngineOptions options_;
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<Engine> engine_;
  const ScriptedDrafter* drafter_ = nullptr;  // the engine's
  std::vector<std::shared_ptr<Client>> clients_;
  uint32_t n_left_ = 0;
  bool greedy_only_ = false;
  bool shut_down_ = false;
  SimulationResult result_;
};

}  // namespace

SimulationResult simulate(Decisions& decisions) {
  return Simulation(decisions).run();
}

}  // namespace floe::sim
