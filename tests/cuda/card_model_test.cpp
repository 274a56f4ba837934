// A whole model on the card against the same on the processor: logits, hidden states, taps, choices
// of experts, draft heads and the bytes of cached blocks. Skipped where there is no card.
#include <numeric>

#include "cuda/cards.h"
#include "model/harness.h"

namespace floe::test {
namespace {

constexpr uint32_t kTokens = 40;

std::vector<int32_t> some_tokens() {
  std::vector<int32_t> tokens(kTokens);
  for (uint32_t i = 0; i < kTokens; ++i) tokens[i] = static_cast<int32_t>(3 + i * 7 % 90);
  return tokens;
}

// What a model and its cache gave for some_tokens(), in chunks.
struct Given {
  std::vector<float> logits, hidden, taps, draft_logits, draft_hidden;
  std::vector<uint32_t> choices;
  std::vector<std::byte> block;
};

void append(std::vector<float>& to, const float* from, size_t n) {
  if (from != nullptr) to.insert(to.end(), from, from + n);
}

Given run(Model& model, uint32_t chunk, bool with_taps) {
  Given given;
  ForwardLimits limits;
  limits.max_rows = limits.max_logit_rows = chunk;
  limits.max_context = 64;
  if (with_taps) limits.tap_layers = TapLayers{0, 0, 1};
  EXPECT_TRUE(model.reserve(limits).ok());
  Result<std::unique_ptr<KvCache>> cache = model.make_cache({64, KvTypes(KvType::F16), 0});
  EXPECT_TRUE(cache.ok());
  const std::vector<int32_t> tokens = some_tokens();
  std::vector<uint32_t> slots(kTokens);
  std::iota(slots.begin(), slots.end(), 0u);
  const SequenceSlots sequence{slots};
  const size_t n_vocab = model.info().n_vocab;
  const size_t hidden_dim = model.info().hidden_dim;
  const auto rows_of = [&](uint32_t begin, uint32_t end, uint32_t every) {
    std::vector<ForwardRow> rows;
    for (uint32_t i = begin; i < end; ++i) rows.push_back({tokens[i], i, 0, i % every == 0});
    return rows;
  };
  for (uint32_t begin = 0; begin < kTokens; begin += chunk) {
    const std::vector<ForwardRow> rows = rows_of(begin, std::min(begin + chunk, kTokens), 1);
    ForwardBatch batch{rows, {&sequence, 1}, **cache};
    batch.routing_log = &given.choices;
    const ForwardOutput output = model.forward(batch).value();
    append(given.logits, output.logits, rows.size() * n_vocab);
    append(given.hidden, output.hidden, rows.size() * hidden_dim);
    append(given.taps, output.taps, rows.size() * kTaps * hidden_dim);
  }
  if (model.info().has_mtp) {
    // Row i reads the hidden state of row i; every third wants logits.
    for (uint32_t begin = 0; begin < kTokens; begin += chunk) {
      const std::vector<ForwardRow> rows = rows_of(begin, std::min(begin + chunk, kTokens), 3);
      const ForwardOutput output = model
                                       .forward_mtp({rows, {&sequence, 1}, **cache},
                                                    given.hidden.data() + begin * hidden_dim)
                                       .value();
      append(given.draft_logits, output.logits, output.n_logit_rows * n_vocab);
      append(given.draft_hidden, output.hidden, output.n_logit_rows * hidden_dim);
    }
  }
  given.block.resize((*cache)->block_bytes());
  EXPECT_TRUE((*cache)->read_block(0, given.block).ok());
  return given;
}

class CardModels : public testing::TestWithParam<GoldenCase> {};

TEST_P(CardModels, GiveTheProcessorsBits) {
  if (list_cards().empty()) GTEST_SKIP() << "no card";
  ThreadPool pool(2);
  const ModelOptions options;
  Result<std::unique_ptr<Model>> host = load_model(GetParam().model_path, options, pool);
  ASSERT_TRUE(host.ok()) << host.error().message;
  Result<std::unique_ptr<Model>> card = load_card_model(GetParam().model_path, options, pool, 0);
  ASSERT_TRUE(card.ok()) << card.error().message;
  const bool with_taps = (*host)->info().n_layers > 1;
  for (const uint32_t chunk : {1u, 7u, kTokens}) {
    const Given expected = run(**host, chunk, with_taps);
    const Given found = run(**card, chunk, with_taps);
    EXPECT_EQ(found.logits, expected.logits) << "chunk " << chunk;
    EXPECT_EQ(found.hidden, expected.hidden) << "chunk " << chunk;
    EXPECT_EQ(found.taps, expected.taps) << "chunk " << chunk;
    EXPECT_EQ(found.choices, expected.choices) << "chunk " << chunk;
    EXPECT_EQ(found.draft_logits, expected.draft_logits) << "chunk " << chunk;
    EXPECT_EQ(found.draft_hidden, expected.draft_hidden) << "chunk " << chunk;
    EXPECT_EQ(found.block, expected.block) << "chunk " << chunk;
  }
  EXPECT_EQ((*card)->cache_fingerprint(KvTypes()), (*host)->cache_fingerprint(KvTypes()));
}

INSTANTIATE_TEST_SUITE_P(Golden, CardModels, testing::ValuesIn(golden_cases()), golden_name);

}  // namespace
}  // namespace floe::test
