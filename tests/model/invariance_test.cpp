// A row's bits do not depend on its neighbours: the hash over every row's logits is the same
// however the rows are cut into batches, whatever stands beside them, on how many threads, with
// which kernel table, and wherever the cache keeps them.
#include <cstring>
#include <optional>
#include <random>

#include "kernels/numeric_order.h"
#include "model/harness.h"
#include "repo_path.h"

namespace floe::test {
namespace {

// One loaded model and the chunk sizes that it is fed with, each time into other slots.
struct Variation {
  std::string name;
  RunSetup setup;
  std::vector<uint32_t> chunks;
};

std::vector<Variation> variations(KvTypes kv_types) {
  std::vector<Variation> list;
  auto add = [&](std::string name, uint32_t n_threads, uint64_t slot_seed, const KernelTable* table,
                 std::vector<uint32_t> chunks) {
    Variation v;
    v.name = std::move(name);
    v.setup.n_threads = n_threads;
    v.setup.slot_seed = slot_seed;
    v.setup.kernels = table;
    v.setup.kv_types = kv_types;
    v.setup.n_slots = 512;
    v.chunks = std::move(chunks);
    list.push_back(std::move(v));
  };
  add("1 thread, slots in order", 1, 0, nullptr, {64, 1});
  add("1 thread, scattered slots", 1, 5, nullptr, {64, 2, 3, 7, 16});
  add("2 threads, scattered slots", 2, 6, nullptr, {64, 1, 3});
  add("3 threads, scattered slots", 3, 8, nullptr, {7});
  for (const KernelTable* table : machine_kernels()) {
    if (table != &kernels()) add(table->isa, 1, 9, table, {16});
  }
  return list;
}

class Invariance : public testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    tokens_ = load_json(GetParam().json_path)["tokens"].get<std::vector<int32_t>>();
  }

  LoadedModel load(const RunSetup& setup) {
    auto loaded = LoadedModel::load(GetParam().model_path, setup);
    if (!loaded.ok()) ADD_FAILURE() << loaded.error().message;
    return loaded.ok() ? std::move(loaded).value() : LoadedModel();
  }

  std::vector<int32_t> tokens_;
};

TEST_P(Invariance, ChunksThreadsSlotsAndKernels) {
  std::vector<KvTypes> cache_types{KvType::F16};
  if (GetParam().kind == "f32") {
    cache_types.emplace_back(KvType::F32);
    cache_types.emplace_back(KvType::Q8_0);
    cache_types.emplace_back(KvType::F16, KvType::Q8_0);
  }
  for (const KvTypes kv_types : cache_types) {
    std::optional<uint64_t> expected;
    uint64_t expected_draft = 0;
    for (const Variation& variation : variations(kv_types)) {
      LoadedModel loaded = load(variation.setup);
      ASSERT_NE(loaded.model, nullptr);
      for (uint32_t chunk : variation.chunks) {
        const std::vector<uint32_t> slots = loaded.take_slots(64);
        const Rows rows = run_tokens(loaded, slots, tokens_, 0, chunk);
        uint64_t draft = 0;
        if (loaded.model->info().has_mtp) {
          draft = run_mtp(loaded, slots, tokens_, rows.hidden, chunk).hash();
        }
        if (!expected) {
          expected = rows.hash();
          expected_draft = draft;
        }
        EXPECT_EQ(rows.hash(), *expected) << variation.name << ", chunk " << chunk;
        EXPECT_EQ(draft, expected_draft) << variation.name << ", chunk " << chunk;
      }
    }
  }
}

// Where the weights' format has no part.
class InvarianceOfFloats : public Invariance {};

std::vector<GoldenCase> float_cases() {
  std::vector<GoldenCase> cases = golden_cases();
  std::erase_if(cases, [](const GoldenCase& c) { return c.kind != "f32"; });
  return cases;
}

// Few rows behind a context of two spans: with more workers than heads to go round, each takes
// spans.
TEST_P(InvarianceOfFloats, SpansOfPositions) {
  constexpr uint32_t kContext = kAttentionSpan + 40;
  std::vector<int32_t> context(kContext);
  for (uint32_t i = 0; i < kContext; ++i) context[i] = tokens_[i % tokens_.size()];
  const std::span<const int32_t> last(tokens_.data(), 12);
  std::optional<uint64_t> expected;
  for (const uint32_t n_threads : {1u, 5u}) {
    RunSetup setup;
    setup.n_threads = n_threads;
    setup.kv_types = KvType::F16;
    setup.n_slots = kContext + 12;
    setup.max_context = kContext + 12;
    LoadedModel loaded = load(setup);
    ASSERT_NE(loaded.model, nullptr);
    const std::vector<uint32_t> slots = loaded.take_slots(kContext + 12);
    run_tokens(loaded, slots, context, 0, 64);
    for (const uint32_t chunk : {12u, 3u, 1u}) {
      const uint64_t hash = run_tokens(loaded, slots, last, kContext, chunk).hash();
      if (!expected) expected = hash;
      EXPECT_EQ(hash, *expected) << n_threads << " threads, chunk " << chunk;
    }
  }
}

// Three sequences advance together by random steps; each must come out as it does alone.
TEST_P(Invariance, AmongOtherSequences) {
  std::mt19937 random(7);
  for (uint32_t n_threads : {1u, 2u}) {
    RunSetup setup;
    setup.n_threads = n_threads;
    setup.slot_seed = 21 + n_threads;
    setup.kv_types = KvType::F16;
    LoadedModel loaded = load(setup);
    ASSERT_NE(loaded.model, nullptr);
    const uint32_t n_vocab = loaded.model->info().n_vocab;

    std::vector<std::vector<int32_t>> tokens{tokens_};
    for (uint32_t n : {31u, 50u}) {
      std::vector<int32_t> others(n);
      for (int32_t& token : others) token = static_cast<int32_t>(random() % n_vocab);
      tokens.push_back(std::move(others));
    }
    std::vector<uint64_t> alone;
    for (const auto& sequence : tokens) {
      LoadedModel fresh = load(setup);
      ASSERT_NE(fresh.model, nullptr);
      const std::vector<uint32_t> slots = fresh.take_slots(64);
      alone.push_back(run_tokens(fresh, slots, sequence, 0, 64).hash());
    }

    std::vector<std::vector<uint32_t>> slots;
    std::vector<SequenceSlots> sequences;
    std::vector<std::vector<float>> logits(tokens.size());
    for (size_t i = 0; i < tokens.size(); ++i) slots.push_back(loaded.take_slots(64));
    for (const auto& list : slots) sequences.push_back({list});
    std::vector<uint32_t> done(tokens.size(), 0);
    for (bool any = true; any;) {
      any = false;
      // Up to five rows of each sequence, dealt in random order.
      std::vector<ForwardRow> rows;
      std::vector<uint32_t> left(tokens.size());
      for (size_t i = 0; i < tokens.size(); ++i) {
        const uint32_t n_left = static_cast<uint32_t>(tokens[i].size()) - done[i];
        left[i] = std::min<uint32_t>(n_left, random() % 6);
        any = any || n_left != 0;
      }
      for (;;) {
        std::vector<uint32_t> open;
        for (uint32_t i = 0; i < left.size(); ++i) {
          if (left[i] != 0) open.push_back(i);
        }
        if (open.empty()) break;
        const uint32_t i = open[random() % open.size()];
        rows.push_back({tokens[i][done[i]], done[i], i, true});
        ++done[i];
        --left[i];
      }
      const ForwardOutput output = loaded.model->forward({rows, sequences, *loaded.cache}).value();
      for (size_t r = 0; r < rows.size(); ++r) {
        const float* row = output.logits + r * n_vocab;
        auto& list = logits[rows[r].sequence];
        list.insert(list.end(), row, row + n_vocab);
      }
    }
    for (size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_EQ(hash_logits(logits[i].data(), tokens[i].size(), n_vocab), alone[i])
          << "sequence " << i << ", " << n_threads << " threads";
    }
  }
}

// A row that does not want logits leaves the others' as they are.
TEST_P(Invariance, LogitsOnlyWhereWanted) {
  LoadedModel all = load({});
  LoadedModel last = load({});
  ASSERT_NE(all.model, nullptr);
  ASSERT_NE(last.model, nullptr);
  const std::vector<uint32_t> slots = all.take_slots(64);
  const Rows rows = run_tokens(all, slots, tokens_, 0, 64);
  std::vector<ForwardRow> batch_rows;
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    batch_rows.push_back({tokens_[i], i, 0, i % 3 == 1 || i + 1 == tokens_.size()});
  }
  const SequenceSlots sequence{slots};
  const ForwardOutput output =
      last.model->forward({batch_rows, {&sequence, 1}, *last.cache}).value();
  uint32_t found = 0;
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    if (!batch_rows[i].wants_logits) continue;
    const size_t bytes = rows.n_vocab * sizeof(float);
    EXPECT_EQ(std::memcmp(output.logits + size_t{found} * rows.n_vocab, rows.row(i).data(), bytes),
              0);
    ++found;
  }
  EXPECT_EQ(output.n_logit_rows, found);
}

// The bundled model past its indexer's top_k, where rows attend to chosen positions only.
TEST(BundledModel, LongContext) {
  const std::string path = repo_path("models/floe-nano.gguf");
  std::vector<int32_t> tokens(560);
  std::mt19937 random(2);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 8000);
  std::optional<uint64_t> expected;
  uint64_t expected_draft = 0;
  for (const auto& [n_threads, chunk] : {std::pair<uint32_t, uint32_t>{1, 560}, {2, 64}, {1, 23}}) {
    RunSetup setup;
    setup.n_threads = n_threads;
    setup.kv_types = KvType::F16;
    setup.n_slots = 600;
    setup.max_context = 600;
    setup.max_rows = 560;
    setup.slot_seed = 30 + chunk;
    auto loaded = LoadedModel::load(path, setup);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    ASSERT_TRUE(loaded->model->info().has_mtp);
    const std::vector<uint32_t> slots = loaded->take_slots(560);
    const Rows rows = run_tokens(*loaded, slots, tokens, 0, chunk);
    const uint64_t draft = run_mtp(*loaded, slots, tokens, rows.hidden, chunk).hash();
    if (!expected) {
      expected = rows.hash();
      expected_draft = draft;
    }
    EXPECT_EQ(rows.hash(), *expected) << n_threads << " threads, chunk " << chunk;
    EXPECT_EQ(draft, expected_draft) << n_threads << " threads, chunk " << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(Shared, Invariance, testing::ValuesIn(golden_cases()), golden_name);
INSTANTIATE_TEST_SUITE_P(Shared, InvarianceOfFloats, testing::ValuesIn(float_cases()), golden_name);

}  // namespace
}  // namespace floe::test
