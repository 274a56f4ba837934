#include "lab/spec_bench.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"
#include "repo_path.h"
#include "store/gguf.h"

namespace floe {
namespace {

const std::string kNano = repo_path("models/floe-nano.gguf");

// A run of steps of equal length that each make some tokens.
SpecRun steady(uint32_t n_steps, uint64_t tokens_per_step, double seconds_per_step) {
  SpecRun run;
  for (uint32_t i = 0; i < n_steps; ++i) {
    run.steps.emplace_back(run.n_tokens() + tokens_per_step, run.seconds() + seconds_per_step);
  }
  return run;
}

TEST(SpecRun, TimeIsEvenInsideAStep) {
  const SpecRun run = steady(4, 2, 1.0);
  EXPECT_DOUBLE_EQ(run.tokens_per_second(), 2);
  EXPECT_DOUBLE_EQ(run.seconds_at(0), 0);
  EXPECT_DOUBLE_EQ(run.seconds_at(1), 0.5);
  EXPECT_DOUBLE_EQ(run.seconds_at(4), 2);
  EXPECT_DOUBLE_EQ(run.seconds_at(7), 3.5);
  EXPECT_DOUBLE_EQ(run.seconds_at(8), 4);
}

// Of two rounds neither is the typical one; the better one must not stand for both.
TEST(SpecBenchRow, TwoRoundsShowTheLowerOne) {
  EXPECT_EQ(lower_median({3, 1, 2}), 2);
  EXPECT_EQ(lower_median({4, 1, 3, 2}), 2);
  SpecBenchRow row;
  row.ratios = {1.0, 0.5};
  row.runs = {steady(4, 2, 1.0), steady(4, 2, 2.0)};
  row.runs[0].prompt_seconds = 3;
  row.runs[1].prompt_seconds = 5;
  EXPECT_EQ(row.ratio(), 0.5);
  EXPECT_EQ(row.tokens_per_second(), 1);
  EXPECT_EQ(row.prompt_seconds(), 3);
  EXPECT_DOUBLE_EQ(*worst_window(row.runs, {steady(4, 2, 1.0), steady(4, 2, 1.0)}, 8), 0.5);
}

// Few long drafts among many short ones: a position's share is of the guesses that stood there.
TEST(SpecBenchRow, APositionsShareIsOfItsOwnGuesses) {
  SpecBenchReport report;
  SpecBenchRow& row = report.rows.emplace_back();
  row.ratios = {1.0};
  row.runs = {steady(4, 2, 1.0)};
  row.runs[0].n_sequence_steps = 4;
  row.runs[0].drafted_by_position = {100, 10, 4};
  row.runs[0].accepted_by_position = {50, 9, 0};
  row.runs[0].prompt_seconds = 1.25;
  const ModelInfo model;
  const Subject subject{model, "none", KvType::F16, 512, 1};
  const auto json = parse_json(format_spec_bench(report, subject, "json"));
  ASSERT_TRUE(json.ok()) << json.error().message;
  EXPECT_EQ((*json)[0]["accepted_by_position"], Json::array({0.5, 0.9, 0.0}));
  EXPECT_EQ((*json)[0]["prompt_seconds"], 1.25);
}

TEST(WorstWindow, FindsTheSlowStretchOfAFastRun) {
  const SpecRun off = steady(1000, 1, 1.0);
  SpecRun mixed = steady(100, 5, 1.0);  // 500 tokens five times as fast
  for (uint32_t i = 0; i < 500; ++i) {
    mixed.steps.emplace_back(mixed.n_tokens() + 1, mixed.seconds() + 2.0);
  }
  EXPECT_DOUBLE_EQ(*worst_window({off}, {off}, 500), 1);
  EXPECT_DOUBLE_EQ(*worst_window({mixed}, {off}, 500), 0.5);
  EXPECT_LT(*worst_window({mixed}, {off}, 1000), 1.0);
  // One disturbed round among three is not a property of the arm.
  EXPECT_DOUBLE_EQ(*worst_window({off, mixed, off}, {off, off, off}, 500), 1);
  EXPECT_FALSE(worst_window({off}, {off}, 1001).has_value());
  EXPECT_FALSE(worst_window({off}, {steady(10, 1, 1)}, 500).has_value());
}

// Drafts that are always of the same tokens, most of them wrong.
class StubbornDrafter final : public Drafter {
 public:
  DrafterKind kind() const override { return {DraftSource::prompt_lookup, false}; }
  void begin(SequenceId, std::span<const int32_t>, uint32_t, std::span<const int32_t>) override {}
  void draft(std::span<SequenceRows> step, TokenChooser&) override {
    for (SequenceRows& rows : step) {
      while (rows.n_drafted() < rows.n_wanted) rows.draft.push_back({17, source(), 0});
    }
  }
  void accept(std::span<const SequenceRows>) override {}
  void end(SequenceId) override {}
};

// The bundled model, but the first row of a forward that wants several rows' logits prefers another
// token: what a kernel would do whose bits depended on the number of rows.
class UnsteadyModel final : public Model {
 public:
  explicit UnsteadyModel(Model& model) : model_(model) {}
  const ModelInfo& info() const override { return model_.info(); }
  KvCacheBytes cache_bytes(KvTypes types) const override { return model_.cache_bytes(types); }
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) override {
    return model_.make_cache(limits);
  }
  uint64_t cache_fingerprint(KvTypes types) const override {
    return model_.cache_fingerprint(types);
  }
  Result<void> reserve(const ForwardLimits& limits) override { return model_.reserve(limits); }
  Result<ForwardOutput> forward(const ForwardBatch& batch) override {
    FLOE_TRY(ForwardOutput output, model_.forward(batch));
    if (output.n_logit_rows < 2 || ++n_wide_ < 5) return output;
    const size_t n = size_t{output.n_logit_rows} * info().n_vocab;
    logits_.assign(output.logits, output.logits + n);
    logits_[23] += 1000.0f;
    output.logits = logits_.data();
    return output;
  }
  Result<ForwardOutput> forward_mtp(const ForwardBatch& batch, const float* hidden) override {
    return model_.forward_mtp(batch, hidden);
  }
  void embed(int32_t token, float* out) const override { model_.embed(token, out); }
  std::span<const std::byte> weights() const override { return model_.weights(); }

 private:
  Model& model_;
  std::vector<float> logits_;
  uint32_t n_wide_ = 0;
};

class SpecBench : public testing::Test {
 protected:
  void SetUp() override {
    const auto file = GgufFile::open(kNano);
    ASSERT_TRUE(file.ok()) << file.error().message;
    auto tokenizer = Tokenizer::load(*file);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_ = std::move(tokenizer).value();
    auto loaded = load_model(kNano, {}, pool_);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    model_ = std::move(loaded).value();
  }

  SpecBenchOptions options(const std::string& lines, std::vector<std::string> arms) {
    SpecBenchOptions options;
    options.classes = {parse(lines).value()};
    for (const std::string& arm : arms) options.arms.push_back(parse_spec_policy(arm).value());
    options.drafters = [](Model&, KvCache&,
                          const DraftLimits&) -> Result<std::vector<std::unique_ptr<Drafter>>> {
      std::vector<std::unique_ptr<Drafter>> drafters;
      drafters.push_back(std::make_unique<StubbornDrafter>());
      return drafters;
    };
    options.batch_sizes = {1};
    options.n_rounds = 2;
    options.max_tokens = 24;
    options.show_progress = false;
    return options;
  }

  Result<SpecClass> parse(const std::string& lines) {
    return parse_spec_prompts(lines, "kind", "kind.jsonl", *tokenizer_,
                              ChatTemplate::load({}, *tokenizer_));
  }
  void expect_refused(const std::string& lines, const std::string& part) {
    const auto result = parse(lines);
    ASSERT_FALSE(result.ok()) << lines;
    EXPECT_EQ(result.error().kind, ErrorKind::usage);
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  }

  ThreadPool pool_{2, false};
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Model> model_;
};

constexpr const char* kThree =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Tell me a short story about a fox.\"}]}\n"
    "{\"text\":\"Once upon a time\"}\n\n"
    "{\"random\":12,\"seed\":3,\"temperature\":1.5,\"n\":20}\n";

TEST_F(SpecBench, ReadsEveryKindOfPrompt) {
  const auto read = parse(kThree);
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read->prompts.size(), 3u);
  EXPECT_EQ(read->name, "kind");
  EXPECT_EQ(read->prompts[2].name, "kind 4");
  EXPECT_EQ(read->prompts[1].tokens, tokenizer_->encode("Once upon a time", true, false));
  EXPECT_EQ(read->prompts[2].tokens.size(), 12u);
  EXPECT_EQ(read->prompts[2].tokens, parse(kThree)->prompts[2].tokens);
  EXPECT_EQ(read->prompts[2].max_tokens, 20u);
  EXPECT_FLOAT_EQ(read->prompts[2].temperature, 1.5f);
  EXPECT_NE(read->prompts[2].tokens, parse("{\"random\":12,\"seed\":4}")->prompts[0].tokens);

  const auto agent = parse(
      "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"read_file\"}}],\"messages\":["
      "{\"role\":\"user\",\"content\":\"Read a.py.\"},{\"role\":\"assistant\",\"content\":\"\","
      "\"tool_calls\":[{\"name\":\"read_file\",\"arguments\":{\"path\":\"a.py\"}}]},"
      "{\"role\":\"tool\",\"content\":\"x = 1\"}]}");
  ASSERT_TRUE(agent.ok()) << agent.error().message;
  const auto call = tokenizer_->find_special("<tool_call>");
  ASSERT_TRUE(call.has_value());
  const std::vector<int32_t>& tokens = agent->prompts[0].tokens;
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), *call), 1);
}

TEST_F(SpecBench, SaysWhichLineIsWrong) {
  expect_refused("", "found none");
  expect_refused("{\"text\":\"a\"}\n[1]", "line 2");
  expect_refused("{\"text\":\"a\"", "line 1");
  expect_refused("{}", "exactly one of messages, text and random");
  expect_refused("{\"text\":\"a\",\"random\":3}", "exactly one of messages, text and random");
  expect_refused("{\"text\":7}", "text: expected a string");
  expect_refused("{\"text\":\"\"}", "at least one token");
  expect_refused("{\"random\":0}", "random: expected a whole number");
  expect_refused("{\"random\":18446744073709551615}", "random: expected a whole number");
  expect_refused("{\"text\":\"a\",\"n\":1}", "n: expected a whole number");
  expect_refused("{\"text\":\"a\",\"temperature\":-1}", "temperature: expected a number");
  expect_refused("{\"text\":\"a\",\"temprature\":1}", "temprature: expected only text, n");
  expect_refused("{\"text\":\"a\",\"think\":true}", "think: expected only text, n");
  expect_refused("{\"random\":3,\"tools\":[]}", "tools: expected only random, n");
  expect_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"name\":\"b\"}]}",
                 "name: expected only role, content, tool_calls");
  expect_refused("{\"messages\":[]}", "line 1");
  expect_refused("{\"messages\":[{\"role\":\"user\"}]}", "messages: expected objects");
  expect_refused("{\"messages\":[{\"role\":\"king\",\"content\":\"a\"}]}", "line 1");
}

TEST_F(SpecBench, ArmsSayTheSameAndAreCounted) {
  SpecBenchOptions wanted = options(kThree, {"off", "on:2", "report"});
  wanted.batch_sizes = {1, 3};
  const auto report = run_spec_bench(*model_, pool_, wanted);
  ASSERT_TRUE(report.ok()) << report.error().message;
  ASSERT_EQ(report->rows.size(), 6u);
  for (const SpecBenchRow& row : report->rows) {
    SCOPED_TRACE(row.arm + " " + std::to_string(row.n_sequences));
    ASSERT_EQ(row.runs.size(), 2u);
    ASSERT_EQ(row.ratios.size(), 2u);
    EXPECT_GT(row.tokens_per_second(), 0);
    EXPECT_FALSE(row.worst_window.has_value());
    const SpecRun sum = row.total();
    EXPECT_GT(sum.n_sequence_steps, 0u);
    EXPECT_GT(row.prompt_seconds(), 0);
    if (row.arm == "on:2") {
      EXPECT_GT(sum.n_drafted, 0u);
      EXPECT_LE(sum.n_accepted, sum.n_drafted);
      EXPECT_EQ(sum.n_rows, sum.n_sequence_steps + sum.n_drafted);
      EXPECT_EQ(sum.drafted_by_position[0] + sum.drafted_by_position[1], sum.n_drafted);
      EXPECT_EQ(sum.accepted_by_position[0] + sum.accepted_by_position[1], sum.n_accepted);
    } else {
      EXPECT_EQ(sum.n_drafted, 0u);
      EXPECT_EQ(sum.n_rows, sum.n_sequence_steps);
    }
    if (row.arm == "off") {
      EXPECT_EQ(row.ratios, std::vector<double>(2, 1.0));
    }
  }
  // One at a time all tokens but each answer's first count, in every arm and round alike.
  const uint64_t n_tokens = report->rows[0].runs[0].n_tokens();
  EXPECT_GT(n_tokens, 40u);
  for (size_t i = 0; i < 3; ++i) {
    for (const SpecRun& run : report->rows[i].runs) EXPECT_EQ(run.n_tokens(), n_tokens);
  }

  const Subject subject{model_->info(), "nano", KvType::F16, 512, 2};
  const auto json = parse_json(format_spec_bench(*report, subject, "json"));
  ASSERT_TRUE(json.ok()) << json.error().message;
  ASSERT_EQ(json->size(), 6u);
  EXPECT_EQ((*json)[4]["arm"], "on:2");
  EXPECT_EQ((*json)[4]["np"], 3);
  EXPECT_EQ((*json)[3]["ratio"], 1.0);
  const std::string lines = format_spec_bench(*report, subject, "csv");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 7);
  const std::string table = format_spec_bench(*report, subject, "md");
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 8);
}

TEST_F(SpecBench, OtherTokensEndTheRun) {
  UnsteadyModel unsteady(*model_);
  const auto report = run_spec_bench(unsteady, pool_, options(kThree, {"off", "on:2"}));
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().kind, ErrorKind::quality);
  EXPECT_EQ(exit_code(report.error().kind), 5);
  const std::string& message = report.error().message;
  EXPECT_NE(message.find("prompt kind 1, arm on:2, 1 at once: expected token"), std::string::npos)
      << message;
  EXPECT_NE(message.find("at position"), std::string::npos) << message;
  EXPECT_NE(message.find("found token 23"), std::string::npos) << message;
}

// Prompts in pieces and answers of two tokens: no two sequences ever decode in one step.
TEST_F(SpecBench, ABatchThatIsNeverFullIsRefused) {
  SpecBenchOptions wanted = options(kThree, {"off"});
  wanted.batch_sizes = {3};
  wanted.max_tokens = 2;
  wanted.max_chunk_rows = 4;
  const auto report = run_spec_bench(*model_, pool_, wanted);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().kind, ErrorKind::usage);
  EXPECT_EQ(report.error().message,
            "-np: class kind: found no step with 3 sequences decoding; raise -n");
}

TEST_F(SpecBench, ABatchWantsDifferentPrompts) {
  SpecBenchOptions wanted = options(kThree, {"off"});
  wanted.batch_sizes = {4};
  const auto report = run_spec_bench(*model_, pool_, wanted);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace floe
