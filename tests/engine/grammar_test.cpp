// Answers under grammars: the same tokens whoever guesses, with whom they share the batch, and
// however often they are preempted; answers without a grammar beside them stay what they are.
#include "grammar/grammar.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/recorder.h"
#include "sim/scripted_drafter.h"

namespace floe {
namespace {

using testing::ChoiceRecord;
using testing::make_prompt;
using testing::Recorder;

// Of the fake model: 64 tokens, each a character or two; 0 to 3 are special.
constexpr int32_t kEnd = 1;
constexpr int32_t kCloses = 2;

const std::vector<std::string>& tokens() {
  static const auto* all = [] {
    auto* out = new std::vector<std::string>{"<pad>", "<end>", "</think>", "<think>"};
    for (const char c : std::string("{}[]\",: abcdefghijklmnopqrstuvwxyz0123456789-")) {
      out->emplace_back(1, c);
    }
    for (const char* piece : {"\":", "\",", "{\"", "ab", "12", "],", "[[", "a\"", "0,", "},"}) {
      out->emplace_back(piece);
    }
    out->resize(64);
    return out;
  }();
  return *all;
}

std::shared_ptr<const OutputGrammar> grammar_of(GrammarKind kind, const std::string& text,
                                                std::vector<int32_t> begins_behind = {}) {
  static const auto trie = [] {
    const std::vector<std::string_view> views(tokens().begin(), tokens().end());
    std::vector<uint8_t> is_special(views.size(), 0);
    std::fill(is_special.begin(), is_special.begin() + 4, 1);
    return std::make_shared<const TokenTrie>(views, is_special);
  }();
  auto automaton = compile_grammar(kind, text);
  EXPECT_TRUE(automaton.ok()) << automaton.error().message;
  auto output = std::make_shared<OutputGrammar>();
  output->grammar = std::make_shared<const Grammar>(std::move(*automaton), trie);
  output->begins_behind = std::move(begins_behind);
  return output;
}

std::string text_of(const ChoiceRecord& choice, size_t first = 0) {
  std::string text;
  for (size_t i = first; i < choice.tokens.size(); ++i) {
    text += tokens()[static_cast<size_t>(choice.tokens[i])];
  }
  return text;
}

bool is_read(const OutputGrammar& output, const ChoiceRecord& choice) {
  auto bound = std::make_shared<OutputGrammar>(output);
  GrammarMatcher matcher(bound);
  for (const int32_t token : choice.tokens) {
    if (!matcher.accept(token)) return false;
  }
  return choice.finish != FinishReason::stop || matcher.can_end();
}

struct World {
  uint32_t n_kv_tokens = 0;  // few: preemption
  uint32_t max_sequences = 8;
  bool guesses = false;
  uint64_t lies = 0;  // one guess in so many is wrong; 0: none
};

class GrammarTest : public ::testing::Test {
 protected:
  // What the requests of the world answer, choice by choice.
  std::vector<ChoiceRecord> run(std::vector<Request> requests, const World& world) {
    FakeModel model;  // of 64 tokens
    VirtualClock clock;
    EngineOptions options;
    options.max_sequences = world.max_sequences;
    options.max_context = 512;
    options.n_kv_tokens = world.n_kv_tokens;
    options.reserve_output_tokens = 1;
    Rng rng(3);
    const ScriptedDrafter* drafter = nullptr;
    if (world.guesses) {
      options.spec.mode = SpecMode::fixed;
      options.spec.n_fixed = 6;
      ScriptedDrafter::Script script;
      script.lies = [&] { return world.lies != 0 && rng.below(world.lies) == 0; };
      script.n_guesses = [&](uint32_t most) { return static_cast<uint32_t>(rng.below(most + 1)); };
      script.n_open = [](uint32_t) { return 0u; };
      options.drafters = scripted_drafters(model, script, &drafter);
    }
    auto engine = Engine::create(options, model, clock);
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    std::vector<std::shared_ptr<Recorder>> sinks;
    for (Request& request : requests) {
      sinks.push_back(std::make_shared<Recorder>());
      request.sink = sinks.back();
      EXPECT_EQ((*engine)->submit(std::move(request)).status, SubmitStatus::accepted);
      (*engine)->step();
    }
    for (int i = 0; i < 5000 && !(*engine)->idle(); ++i) {
      (*engine)->step();
      (*engine)->audit();
    }
    EXPECT_TRUE((*engine)->idle());
    EXPECT_EQ(model.violation(), "");
    if (drafter != nullptr) {
      EXPECT_EQ(drafter->violation(), "");
    }
    n_preemptions_ = (*engine)->stats().n_preemptions;
    std::vector<ChoiceRecord> choices;
    for (const auto& sink : sinks) {
      for (auto& [index, choice] : sink->choices) choices.push_back(choice);
    }
    n_accepted_ = 0;
    for (const ChoiceRecord& choice : choices) {
      n_accepted_ += choice.events.back().telemetry.n_accepted;
    }
    return choices;
  }

  static std::vector<Request> requests() {
    static const std::shared_ptr<const OutputGrammar> kGrammars[] = {
        grammar_of(GrammarKind::json_object, ""),
        nullptr,
        grammar_of(GrammarKind::regex, "[a-z]{3,40}(-[0-9]{2})?"),
        grammar_of(GrammarKind::json_schema,
                   R"({"type":"array","items":{"type":"integer"},"minItems":3})"),
        grammar_of(GrammarKind::json_schema, R"({"enum":["ab","abc",12]})", {kCloses}),
    };
    std::vector<Request> out;
    for (uint64_t i = 0; i < 15; ++i) {
      Request request;
      request.prompt = make_prompt(i + 1, 10 + i * 3);
      request.max_tokens = 60;
      request.stop_tokens = {kEnd};
      request.n = i % 5 == 3 ? 2 : 1;
      request.grammar = kGrammars[i % 5];
      request.sampling.temperature = i % 3 == 0 ? 0.0f : 1.0f;
      request.sampling.seed = i;
      if (i % 4 == 1) request.sampling.top_p = 0.9f;
      if (i % 4 == 2) request.sampling.frequency_penalty = 0.5f;
      if (i % 4 == 3) request.sampling.top_k = 3;
      request.sampling.logprobs = i % 2 == 0;
      request.sampling.top_logprobs = i % 2 == 0 ? 2 : 0;
      if (i % 6 == 2) request.sampling.min_tokens = 12;
      out.push_back(std::move(request));
    }
    return out;
  }

  uint64_t n_preemptions_ = 0;
  uint64_t n_accepted_ = 0;
};

TEST_F(GrammarTest, AnswersAreTheSameHoweverTheyAreComputed) {
  const std::vector<ChoiceRecord> alone = run(requests(), {.max_sequences = 1});
  size_t n_whole = 0;
  size_t choice = 0;
  for (const Request& request : requests()) {
    for (uint32_t i = 0; i < request.n; ++i, ++choice) {
      if (!request.grammar) continue;
      EXPECT_TRUE(is_read(*request.grammar, alone[choice])) << text_of(alone[choice]);
      n_whole += alone[choice].finish == FinishReason::stop ? 1 : 0;
    }
  }
  EXPECT_GT(n_whole, 3u);
  struct Row {
    const char* name;
    World world;
  };
  const Row rows[] = {
      {"batch", {}},
      {"preemption", {.n_kv_tokens = 192}},
      {"guesses", {.guesses = true}},
      {"guesses, alone", {.max_sequences = 1, .guesses = true}},
      {"wrong guesses", {.guesses = true, .lies = 3}},
      {"wrong guesses and preemption", {.n_kv_tokens = 192, .guesses = true, .lies = 2}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const std::vector<ChoiceRecord> others = run(requests(), row.world);
    ASSERT_EQ(others.size(), alone.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(others[i].tokens, alone[i].tokens) << i << ": " << text_of(alone[i]);
      EXPECT_EQ(others[i].logprobs, alone[i].logprobs);
      EXPECT_EQ(others[i].finish, alone[i].finish);
    }
    EXPECT_EQ(n_preemptions_ > 0, row.world.n_kv_tokens != 0);
    EXPECT_EQ(n_accepted_ > 0, row.world.guesses);
  }
}

// Those beside a grammar and those without one in another run.
TEST_F(GrammarTest, AnswersWithoutOneStayAsTheyAre) {
  std::vector<Request> without = requests();
  for (Request& request : without) request.grammar = nullptr;
  const std::vector<ChoiceRecord> free = run(std::move(without), {});
  const std::vector<ChoiceRecord> mixed = run(requests(), {});
  size_t choice = 0;
  size_t n_same = 0;
  for (const Request& request : requests()) {
    for (uint32_t i = 0; i < request.n; ++i, ++choice) {
      if (request.grammar) {
        const bool is_bound = request.grammar->begins_behind.empty();
        n_same += is_bound && free[choice].tokens == mixed[choice].tokens ? 1 : 0;
        continue;
      }
      EXPECT_EQ(free[choice].tokens, mixed[choice].tokens);
      EXPECT_EQ(free[choice].logprobs, mixed[choice].logprobs);
    }
  }
  EXPECT_EQ(n_same, 0u);
}

TEST_F(GrammarTest, LogprobsAreThoseOfTheModel) {
  Request request;
  request.prompt = make_prompt(5, 20);
  request.max_tokens = 1;
  request.sampling.logprobs = true;
  request.sampling.top_logprobs = 3;
  request.sampling.temperature = 0.0f;
  std::vector<Request> free(1, request);
  request.grammar = grammar_of(GrammarKind::regex, "[a-c]+");
  std::vector<Request> bound(1, request);
  const ChoiceRecord without = run(std::move(free), {})[0];
  const ChoiceRecord with = run(std::move(bound), {})[0];
  const auto& top = without.events[0].top_logprobs;
  ASSERT_EQ(top.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(with.events[0].top_logprobs[i].token, top[i].token);
    EXPECT_EQ(with.events[0].top_logprobs[i].logprob, top[i].logprob);
  }
  EXPECT_LE(with.logprobs[0], top[0].logprob);
}

TEST_F(GrammarTest, EndsWhereTheGrammarDoes) {
  struct Row {
    const char* name;
    const char* expression;
    uint32_t max_tokens;
    std::vector<int32_t> stop_tokens;
    uint32_t min_tokens;
    std::string text;  // empty: any
    FinishReason finish;
  };
  const Row rows[] = {
      {"nothing can follow", "cab", 60, {kEnd}, 0, "cab", FinishReason::stop},
      {"no stop token", "cab", 60, {}, 0, "cab", FinishReason::stop},
      {"more tokens were asked for", "cab", 60, {kEnd}, 20, "cab", FinishReason::stop},
      {"cut", "c{80}", 10, {kEnd}, 0, "cccccccccc", FinishReason::length},
      {"cut at the end", "c{3}", 3, {kEnd}, 0, "ccc", FinishReason::length},
      {"no token for what comes next", "ca%", 60, {kEnd}, 0, "ca", FinishReason::length},
      {"the end may be held back", "(ab){1,4}", 60, {kEnd}, 60, "", FinishReason::stop},
  };
  for (const Row& row : rows) {
    for (const bool guesses : {false, true}) {
      SCOPED_TRACE(row.name);
      std::vector<Request> requests(1);
      Request& request = requests[0];
      request.prompt = make_prompt(9, 12);
      request.max_tokens = row.max_tokens;
      request.stop_tokens = row.stop_tokens;
      request.sampling.min_tokens = row.min_tokens;
      request.sampling.seed = 4;
      request.grammar = grammar_of(GrammarKind::regex, row.expression);
      const ChoiceRecord choice = run(std::move(requests), {.guesses = guesses})[0];
      if (!row.text.empty()) {
        EXPECT_EQ(text_of(choice), row.text);
      }
      EXPECT_EQ(choice.finish, row.finish);
    }
  }
}

TEST_F(GrammarTest, BindsTheAnswerBehindTheReasoning) {
  int n_closed = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    std::vector<Request> requests(1);
    requests[0].prompt = make_prompt(seed + 1, 12);
    requests[0].max_tokens = 100;
    requests[0].stop_tokens = {kEnd};
    requests[0].sampling.seed = seed;
    requests[0].sampling.logit_bias = {{kEnd, -100.0f}, {kCloses, 2.0f}};
    requests[0].grammar = grammar_of(GrammarKind::regex, "cab", {kCloses});
    const ChoiceRecord choice = run(std::move(requests), {})[0];
    const auto closed = std::find(choice.tokens.begin(), choice.tokens.end(), kCloses);
    if (closed == choice.tokens.end()) continue;
    ++n_closed;
    const auto behind = static_cast<size_t>(closed - choice.tokens.begin()) + 1;
    const std::string text = text_of(choice, behind);
    if (choice.finish == FinishReason::stop) {
      EXPECT_EQ(text, "cab");
    }
    EXPECT_EQ(std::string("cab").substr(0, text.size()), text);
  }
  EXPECT_GT(n_closed, 10);
}

}  // namespace
}  // namespace floe
