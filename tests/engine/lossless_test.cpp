// The bundled model with and without guesses: every token, logprob and finish must be the same
// bits, whoever guesses, however many, under every setting of a request, batched, preempted or
// alone, where prompts begin as earlier ones did and start from what those left in the cache.
//
// FLOE_LOSSLESS_TOKENS=N compares at least N tokens instead of the few thousand of ./check, and
// FLOE_LOSSLESS_FIRST=W begins at another world, so that several processes share the work.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/rng.h"
#include "draft/factory.h"
#include "engine/recorder.h"
#include "lab/spec_prompts.h"
#include "repo_path.h"
#include "store/gguf.h"
#include "text/tokenizer.h"

namespace floe {
namespace {

using testing::ChoiceRecord;
using testing::Recorder;

const std::string kModel = repo_path("models/floe-nano.gguf");
constexpr uint64_t kFewTokens = 6000;

// Who guesses, in their order, and how much.
struct Drafting {
  const char* name;
  std::vector<DraftSource> sources;
  uint32_t mtp_vocab = 0;
};
const Drafting kDraftings[] = {
    {"ngram", {DraftSource::prompt_lookup}},
    {"mtp", {DraftSource::mtp}},
    {"mtp of 2048 ids", {DraftSource::mtp}, 2048},
    {"draft", {DraftSource::draft_model}},
    {"eagle3", {DraftSource::eagle3}},
    {"ngram,mtp", {DraftSource::prompt_lookup, DraftSource::mtp}},
    {"mtp,ngram", {DraftSource::mtp, DraftSource::prompt_lookup}},
    {"ngram,draft", {DraftSource::prompt_lookup, DraftSource::draft_model}},
    {"eagle3,ngram", {DraftSource::eagle3, DraftSource::prompt_lookup}},
};
const char* const kPolicies[] = {"on:1", "on:3", "on:8", "on:32", "auto", "report"};

class LosslessTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "minutes under a sanitizer; the simulator runs there";
#endif
    auto gguf = GgufFile::open(kModel);
    ASSERT_TRUE(gguf.ok()) << gguf.error().message;
    auto tokenizer = Tokenizer::load(*gguf);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    for (const auto& entry : std::filesystem::directory_iterator(repo_path("bench/prompts"))) {
      if (entry.path().extension() != ".jsonl") continue;
      std::ifstream file(entry.path());
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      auto parsed = parse_spec_prompts(text, entry.path().stem().string(), entry.path().string(),
                                       **tokenizer, ChatTemplate::load({}, **tokenizer));
      ASSERT_TRUE(parsed.ok()) << parsed.error().message;
      for (SpecPrompt& prompt : parsed->prompts) prompts_.push_back(std::move(prompt.tokens));
    }
    ASSERT_GT(prompts_.size(), 10u);
    // The order of a folder's files is anybody's.
    std::sort(prompts_.begin(), prompts_.end());
    auto model = load_model(kModel, {}, pool_);
    ASSERT_TRUE(model.ok()) << model.error().message;
    model_ = std::move(model).value();
    auto draft = load_model(kModel, {}, pool_);
    ASSERT_TRUE(draft.ok()) << draft.error().message;
    draft_ = std::move(draft).value();
    auto head = Eagle3Head::load(repo_path("models/floe-nano-eagle3"), *model_, {}, pool_);
    ASSERT_TRUE(head.ok()) << head.error().message;
    head_ = std::move(head).value();
  }

  // What the world of one seed asks for: every setting that a request has, independently.
  Request request(Rng& rng) const {
    Request request;
    request.prompt = prompts_[rng.below(prompts_.size())];
    request.prompt.resize(std::min<size_t>(request.prompt.size(), 300));
    request.max_tokens = 20 + static_cast<uint32_t>(rng.below(60));
    request.n = rng.below(5) == 0 ? 3 : 1;
    request.max_draft_tokens = rng.below(6) == 0 ? static_cast<uint32_t>(rng.below(4)) : 32;
    if (rng.below(3) == 0) {
      // Much of what these prompts ask for repeats them.
      request.prediction = request.prompt;
    }
    SamplingParams& params = request.sampling;
    constexpr float kTemperatures[] = {0.0f, 0.0f, 0.6f, 1.0f, 1.5f};
    params.temperature = kTemperatures[rng.below(5)];
    params.seed = rng.below(1u << 20);
    if (rng.below(3) == 0) params.top_k = 20;
    if (rng.below(3) == 0) params.top_p = 0.9f;
    if (rng.below(3) == 0) params.min_p = 0.05f;
    if (rng.below(3) == 0) params.repetition_penalty = 1.2f;
    if (rng.below(3) == 0) params.frequency_penalty = 0.3f;
    if (rng.below(3) == 0) params.presence_penalty = 0.2f;
    params.repeat_last_n = rng.below(2) == 0 ? -1 : 64;
    if (rng.below(4) == 0) params.logit_bias = {{624, 3.0f}, {10, -100.0f}};
    params.logprobs = rng.below(3) == 0;
    params.top_logprobs = params.logprobs ? static_cast<uint32_t>(rng.below(4)) : 0;
    if (rng.below(4) == 0) params.min_tokens = static_cast<uint32_t>(rng.below(40));
    if (rng.below(4) == 0) {
      // Tokens of the prompt, which these answers repeat.
      for (int i = 0; i < 8; ++i) {
        const size_t at = rng.below(request.prompt.size() - 2);
        params.bad_words.emplace_back(request.prompt.begin() + static_cast<ptrdiff_t>(at),
                                      request.prompt.begin() + static_cast<ptrdiff_t>(at + 2));
      }
    }
    request.prompt_logprobs = rng.below(4) == 0;
    request.top_prompt_logprobs = request.prompt_logprobs ? static_cast<uint32_t>(rng.below(3)) : 0;
    for (uint64_t i = rng.below(3); i > 0; --i) {
      request.stop_tokens.push_back(static_cast<int32_t>(rng.below(8192)));
    }
    request.stop_tokens.push_back(8180);
    return request;
  }

  std::vector<ChoiceRecord> run(const EngineOptions& options, uint64_t seed) {
    const SteadyClock clock;
    auto engine = Engine::create(options, *model_, clock);
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    Rng rng(seed);
    std::vector<std::shared_ptr<Recorder>> sinks;
    for (int i = 0; i < 6; ++i) {
      Request next = request(rng);
      sinks.push_back(std::make_shared<Recorder>());
      next.sink = sinks.back();
      EXPECT_EQ((*engine)->submit(std::move(next)).status, SubmitStatus::accepted);
      (*engine)->step();
    }
    while ((*engine)->step()) {
    }
    (*engine)->audit();
    stats_ = (*engine)->stats();
    std::vector<ChoiceRecord> records;
    for (const auto& sink : sinks) {
      for (auto& [index, record] : sink->choices) records.push_back(std::move(record));
    }
    return records;
  }

  EngineOptions options(Rng& rng) const {
    EngineOptions options;
    options.max_context = 512;
    constexpr uint32_t kSequences[] = {1, 2, 5};
    options.max_sequences = kSequences[rng.below(3)];
    options.max_step_rows = rng.below(2) == 0 ? 64 : 300;
    options.max_mixed_rows = rng.below(2) == 0 ? 24 : 128;
    options.max_draft_rows = rng.below(3) == 0 ? 5 : 64;
    options.poison_freed_blocks = true;
    constexpr KvType kTypes[] = {KvType::F16, KvType::F32, KvType::Q8_0};
    options.kv_types = kTypes[rng.below(3)];
    if (rng.below(2) == 0) {  // so few blocks that somebody is preempted
      options.n_kv_tokens = 320;
      options.reserve_output_tokens = 1;
    }
    return options;
  }

  DrafterMaker drafters(const Drafting& drafting) {
    return [&](Model& trunk, KvCache& cache,
               const DraftLimits& limits) -> Result<std::vector<std::unique_ptr<Drafter>>> {
      std::vector<std::unique_ptr<Drafter>> made;
      for (const DraftSource source : drafting.sources) {
        const DrafterSetup choice{source, drafting.mtp_vocab, draft_.get(), head_.get()};
        FLOE_TRY(auto drafter, make_drafter(choice, trunk, cache, limits));
        made.push_back(std::move(drafter));
      }
      return made;
    };
  }

  // Every drafter's weights are its own, and only the draft head has the trunk's lm_head.
  void expect_reads_of(const Drafting& drafting) const {
    for (uint32_t s = 0; s < kDraftSources; ++s) {
      const auto source = static_cast<DraftSource>(s);
      const auto& sources = drafting.sources;
      const bool is_there = std::find(sources.begin(), sources.end(), source) != sources.end();
      const bool reads = is_there && source != DraftSource::prompt_lookup;
      EXPECT_EQ(stats_.drafters[s] != DrafterState::absent, is_there) << drafting.name << s;
      EXPECT_EQ(stats_.draft_reads[s].weight_bytes != 0, reads) << drafting.name << s;
      EXPECT_EQ(stats_.draft_reads[s].kv_bytes != 0, reads) << drafting.name << s;
      EXPECT_EQ(stats_.draft_reads[s].head_bytes != 0, reads && source == DraftSource::mtp)
          << drafting.name << s;
    }
  }

  ThreadPool pool_{2, false};
  std::unique_ptr<Model> model_, draft_;
  std::unique_ptr<Eagle3Head> head_;
  std::vector<std::vector<int32_t>> prompts_;
  EngineStats stats_;
};

void expect_same(const ChoiceRecord& with, const ChoiceRecord& without, const std::string& what) {
  ASSERT_EQ(with.tokens, without.tokens) << what;
  ASSERT_EQ(with.logprobs, without.logprobs) << what;
  ASSERT_EQ(with.finish, without.finish) << what;
  ASSERT_EQ(with.error, without.error) << what;
  ASSERT_EQ(with.events.size(), without.events.size()) << what;
  for (size_t i = 0; i < with.events.size(); ++i) {
    const auto& of_prompt = with.events[i].prompt_logprobs;
    ASSERT_EQ(of_prompt.size(), without.events[i].prompt_logprobs.size()) << what;
    for (size_t p = 0; p < of_prompt.size(); ++p) {
      ASSERT_EQ(of_prompt[p].logprob, without.events[i].prompt_logprobs[p].logprob) << what;
    }
    const auto& one = with.events[i].top_logprobs;
    const auto& two = without.events[i].top_logprobs;
    ASSERT_EQ(one.size(), two.size()) << what;
    for (size_t k = 0; k < one.size(); ++k) {
      ASSERT_EQ(one[k].token, two[k].token) << what;
      ASSERT_EQ(one[k].logprob, two[k].logprob) << what;
    }
  }
}

uint64_t number_from(const char* variable, uint64_t fallback) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : fallback;
}

TEST_F(LosslessTest, GuessesChangeNoBit) {
  const uint64_t n_wanted = number_from("FLOE_LOSSLESS_TOKENS", kFewTokens);
  const uint64_t first = number_from("FLOE_LOSSLESS_FIRST", 0);
  uint64_t n_tokens = 0, n_accepted = 0, n_preemptions = 0, n_cached = 0;
  std::array<uint64_t, kDraftSources> accepted{};
  const size_t n_draftings = std::size(kDraftings);
  for (uint64_t world = first; n_tokens < n_wanted || world < first + n_draftings; ++world) {
    Rng rng(world * 7919 + 1);
    EngineOptions setup = options(rng);
    const std::vector<ChoiceRecord> plain = run(setup, world);
    // Drafters take turns; policies go through all of theirs as the turns go on.
    const Drafting& drafting = kDraftings[world % n_draftings];
    const char* policy = kPolicies[(world + world / n_draftings) % std::size(kPolicies)];
    setup.spec = *parse_spec_policy(policy);
    setup.drafters = drafters(drafting);
    setup.tap_layers = head_->tap_layers();
    setup.cache_prefixes = rng.below(3) != 0;
    setup.n_prefix_tokens = 32 * static_cast<uint32_t>(rng.below(32));
    const std::vector<ChoiceRecord> guessed = run(setup, world);
    ASSERT_EQ(plain.size(), guessed.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      expect_same(guessed[i], plain[i],
                  fmt::format("world {}: {} {}, choice {}", world, drafting.name, policy, i));
      if (HasFatalFailure()) return;
      n_tokens += plain[i].tokens.size();
    }
    expect_reads_of(drafting);
    n_preemptions += stats_.n_preemptions;
    n_cached += stats_.n_cached_tokens;
    for (size_t s = 0; s < kDraftSources; ++s) {
      accepted[s] += stats_.n_draft_accepted[s];
      n_accepted += stats_.n_draft_accepted[s];
    }
  }
  fmt::print(
      "{} tokens compared, {} guesses accepted (ngram {}, prediction {}, mtp {}, draft {}, "
      "eagle3 {}), {} preemptions, {} prompt tokens found cached\n",
      n_tokens, n_accepted, accepted[0], accepted[1], accepted[2], accepted[3], accepted[4],
      n_preemptions, n_cached);
  EXPECT_GT(n_preemptions, 0u);
  EXPECT_GT(n_cached, 0u);
  for (size_t s = 0; s < kDraftSources; ++s) EXPECT_GT(accepted[s], 0u) << s;
}

}  // namespace
}  // namespace floe
