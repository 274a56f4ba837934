// What a forward promises beside its logits, on models made in memory: layouts of old files, damage
// that stays in its row, the ledger, no allocation.
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "fuzz/allocation_count.h"
#include "kernels/packed_matrix.h"
#include "model/harness.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_model.h"

namespace floe::test {
namespace {

class Forward : public testing::Test {
 protected:
  LoadedModel load(const TinyModel& model, RunSetup setup = {}) {
    auto loaded = LoadedModel::load(folder_.write("model.gguf", model.bytes()), setup);
    if (!loaded.ok()) ADD_FAILURE() << loaded.error().message;
    return loaded.ok() ? std::move(loaded).value() : LoadedModel();
  }

  Rows run(const TinyModel& model, RunSetup setup = {}, uint32_t chunk = 64) {
    LoadedModel loaded = load(model, setup);
    if (loaded.model == nullptr) return {};
    const std::vector<uint32_t> slots = loaded.take_slots(64);
    return run_tokens(loaded, slots, tokens_, 0, chunk);
  }

  ScratchFolder folder_;
  std::vector<int32_t> tokens_ = tiny_tokens(24, 4);
};

TEST_F(Forward, TheSameBitsHoweverItIsRun) {
  for (const auto& [name, model] : all_tiny_models()) {
    const Rows rows = run(model);
    ASSERT_EQ(rows.n_rows(), tokens_.size()) << name;
    for (float value : rows.logits) ASSERT_TRUE(std::isfinite(value)) << name;
    for (uint32_t n_threads : {1u, 2u, 3u}) {
      for (uint32_t chunk : {1u, 5u, 64u}) {
        RunSetup setup;
        setup.n_threads = n_threads;
        setup.slot_seed = 1 + chunk;
        EXPECT_EQ(run(model, setup, chunk).hash(), rows.hash())
            << name << ", " << n_threads << " threads, chunk " << chunk;
      }
    }
  }
}

// Planes of `tensor`, one after the other, as tensors of their own.
std::vector<std::byte> plane_of(const TinyTensor& tensor, uint64_t plane) {
  const uint64_t bytes = tensor.data.size() / tensor.dims[2];
  const auto begin = tensor.data.begin() + static_cast<ptrdiff_t>(plane * bytes);
  return {begin, begin + static_cast<ptrdiff_t>(bytes)};
}

TEST_F(Forward, OneTensorPerExpert) {
  const TinyModel stacked = tiny_llama_moe();
  TinyModel split = stacked;
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (const std::string kind : {"gate", "up", "down"}) {
      const std::string prefix = "blk." + std::to_string(layer) + ".ffn_" + kind;
      const TinyTensor whole = *split.find(prefix + "_exps.weight");
      split.remove(whole.name);
      for (uint32_t e = 0; e < 6; ++e) {
        TinyTensor& one =
            split.add(prefix + "." + std::to_string(e) + ".weight", {whole.dims[0], whole.dims[1]});
        one.data = plane_of(whole, e);
      }
    }
  }
  EXPECT_EQ(run(split).hash(), run(stacked).hash());
}

TEST_F(Forward, GateAndUpInOneTensor) {
  const TinyModel separate = tiny_glm_dsa();
  TinyModel fused = separate;
  for (uint32_t layer = 1; layer < 4; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".ffn_";
    const TinyTensor gate = *fused.find(prefix + "gate_exps.weight");
    const TinyTensor up = *fused.find(prefix + "up_exps.weight");
    fused.remove(gate.name);
    fused.remove(up.name);
    TinyTensor& both =
        fused.add(prefix + "gate_up_exps.weight", {gate.dims[0], 2 * gate.dims[1], gate.dims[2]});
    both.data.clear();
    for (uint64_t e = 0; e < gate.dims[2]; ++e) {
      for (const TinyTensor* half : {&gate, &up}) {
        const std::vector<std::byte> plane = plane_of(*half, e);
        both.data.insert(both.data.end(), plane.begin(), plane.end());
      }
    }
  }
  EXPECT_EQ(run(fused).hash(), run(separate).hash());
}

TEST_F(Forward, KeyAndValueProjectionsInOneTensor) {
  const TinyModel separate = tiny_deepseek2();
  TinyModel fused = separate;
  for (uint32_t layer = 0; layer < 2; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".attn_";
    TinyTensor k = *fused.find(prefix + "k_b.weight");  // heads x [lora][nope]
    TinyTensor v = *fused.find(prefix + "v_b.weight");  // heads x [v][lora]
    fused.remove(k.name);
    fused.remove(v.name);
    const uint64_t nope = k.dims[0];
    const uint64_t lora = k.dims[1];
    const uint64_t v_dim = v.dims[1];
    const uint64_t n_heads = k.dims[2];
    TinyTensor& both = fused.add(prefix + "kv_b.weight", {lora, n_heads * (nope + v_dim)});
    for (uint64_t h = 0; h < n_heads; ++h) {
      float* head = both.values().data() + h * (nope + v_dim) * lora;
      for (uint64_t n = 0; n < nope; ++n) {
        for (uint64_t l = 0; l < lora; ++l) {
          head[n * lora + l] = k.values()[(h * lora + l) * nope + n];
        }
      }
      std::memcpy(head + nope * lora, v.values().data() + h * v_dim * lora,
                  v_dim * lora * sizeof(float));
    }
  }
  EXPECT_EQ(run(fused).hash(), run(separate).hash());
}

TEST_F(Forward, ATiedHeadIsTheEmbedding) {
  TinyModel tied = tiny_llama();
  tied.remove("output.weight");
  TinyModel copied = tiny_llama();
  copied.find("output.weight")->data = copied.find("token_embd.weight")->data;
  EXPECT_EQ(run(tied).hash(), run(copied).hash());
}

TEST_F(Forward, ExpertsPerLayerFollowTheRouter) {
  LoadedModel loaded = load(tiny_glm_dsa());
  ASSERT_NE(loaded.model, nullptr);
  EXPECT_EQ(loaded.model->info().n_experts,
            5u);  // metadata says 8, which is the draft head's number
  EXPECT_EQ(loaded.model->info().n_active_experts, 2u);
  EXPECT_EQ(loaded.model->info().n_layers, 3u);
  EXPECT_TRUE(loaded.model->info().has_mtp);
}

TEST_F(Forward, ATrunkWithoutItsDraftHead) {
  TinyModel whole = tiny_glm_dsa();
  TinyModel trunk = whole;
  for (const TinyTensor& tensor : whole.tensors()) {
    if (tensor.name.starts_with("blk.3.")) trunk.remove(tensor.name);
  }
  LoadedModel loaded = load(trunk);
  ASSERT_NE(loaded.model, nullptr);
  EXPECT_FALSE(loaded.model->info().has_mtp);
  LoadedModel with_head = load(whole);
  EXPECT_LT(loaded.model->cache_bytes(KvType::F16).per_slot,
            with_head.model->cache_bytes(KvType::F16).per_slot);
  EXPECT_EQ(run(trunk).hash(), run(whole).hash());
}

// One layer with a window of 6: a row's bits depend on the last 6 tokens alone, and on all of them.
TEST_F(Forward, AWindowHidesWhatLiesBeforeIt) {
  TinyModel model = tiny_gpt_oss();
  model.set("block_count", 1u);
  std::erase_if(model.tensors(),
                [](const TinyTensor& tensor) { return tensor.name.starts_with("blk.1."); });
  LoadedModel loaded = load(model);
  ASSERT_NE(loaded.model, nullptr);
  auto last_row = [&](const std::vector<int32_t>& tokens, uint32_t chunk) {
    const std::vector<uint32_t> slots = loaded.take_slots(24);
    const Rows rows = run_tokens(loaded, slots, tokens, 0, chunk);
    loaded.free_slots.insert(loaded.free_slots.end(), slots.begin(), slots.end());
    return hash_logits(rows.row(rows.n_rows() - 1).data(), 1, rows.n_vocab);
  };
  const uint64_t expected = last_row(tokens_, 24);
  for (uint32_t changed = 0; changed < 24; ++changed) {
    std::vector<int32_t> tokens = tokens_;
    tokens[changed] = (tokens[changed] + 1) % static_cast<int32_t>(kTinyVocab);
    for (uint32_t chunk : {24u, 5u}) {
      EXPECT_EQ(last_row(tokens, chunk) == expected, changed < 18) << changed;
    }
  }
}

// A sink takes a share of the softmax without bringing a value.
TEST_F(Forward, SinksScaleWhatAttentionBrings) {
  auto with_sinks = [&](float sink) {
    TinyModel model = tiny_gpt_oss();
    for (const char* name : {"blk.0.attn_sinks.weight", "blk.1.attn_sinks.weight"}) {
      for (float& value : model.find(name)->values()) value = sink;
    }
    return model;
  };
  auto without_attention = [&](TinyModel model) {
    for (const char* name : {"blk.0.attn_output.weight", "blk.1.attn_output.weight"}) {
      for (float& value : model.find(name)->values()) value = 0.0f;
    }
    return model;
  };
  const uint64_t silent = run(without_attention(with_sinks(0.0f))).hash();
  EXPECT_EQ(run(with_sinks(1e4f)).hash(), silent);
  EXPECT_NE(run(with_sinks(0.0f)).hash(), silent);
  EXPECT_EQ(run(with_sinks(-1e4f)).hash(), run(with_sinks(-INFINITY)).hash());
  EXPECT_NE(run(with_sinks(-1e4f)).hash(), run(with_sinks(0.0f)).hash());
}

// A context that fills its limit to the last position: a sink needs room behind the scores.
TEST_F(Forward, AFullContextHasRoomForASink) {
  RunSetup tight;
  tight.max_context = 32;
  tight.max_rows = 32;
  TinyModel model = tiny_gpt_oss();
  model.set("attention.sliding_window", 512u);
  const std::vector<int32_t> tokens = tiny_tokens(32, 5);
  auto hash = [&](const RunSetup& setup) {
    LoadedModel loaded = load(model, setup);
    if (loaded.model == nullptr) return uint64_t{0};
    return run_tokens(loaded, loaded.take_slots(32), tokens, 0, 32).hash();
  };
  EXPECT_EQ(hash(tight), hash({}));
}

// Two sequences in one batch; one reads a token whose embedding is damaged. The other's bits stay,
// and the damage shows.
TEST_F(Forward, DamageStaysInItsSequence) {
  for (float damage : {std::numeric_limits<float>::quiet_NaN(), INFINITY, 3e38f}) {
    for (const auto& [name, tiny] : all_tiny_models()) {
      TinyModel model = tiny;
      constexpr int32_t kBadToken = 7;
      const uint64_t hidden_dim = model.find("token_embd.weight")->dims[0];
      for (uint64_t i = 0; i < hidden_dim; i += 3) {
        model.find("token_embd.weight")->values()[kBadToken * hidden_dim + i] = damage;
      }
      std::vector<int32_t> good = tokens_;
      for (int32_t& token : good) token += token == kBadToken;
      std::vector<int32_t> bad = good;
      bad[2] = kBadToken;

      RunSetup setup;
      setup.n_threads = 2;
      LoadedModel alone = load(model, setup);
      ASSERT_NE(alone.model, nullptr);
      const std::vector<uint32_t> alone_slots = alone.take_slots(64);
      const Rows expected = run_tokens(alone, alone_slots, good, 0, 64);

      LoadedModel together = load(model, setup);
      ASSERT_NE(together.model, nullptr);
      const std::vector<uint32_t> slots[2] = {together.take_slots(64), together.take_slots(64)};
      const SequenceSlots sequences[2] = {{slots[0]}, {slots[1]}};
      const uint32_t n_vocab = expected.n_vocab;
      bool damage_seen = false;
      for (uint32_t begin = 0; begin < good.size(); begin += 4) {
        std::vector<ForwardRow> rows;
        for (uint32_t i = begin; i < begin + 4; ++i) {
          rows.push_back({bad[i], i, 1, true});
          rows.push_back({good[i], i, 0, true});
        }
        const ForwardOutput output =
            together.model->forward({rows, sequences, *together.cache}).value();
        for (size_t r = 0; r < rows.size(); ++r) {
          const float* row = output.logits + r * n_vocab;
          if (rows[r].sequence == 0) {
            ASSERT_EQ(
                std::memcmp(row, expected.row(rows[r].position).data(), n_vocab * sizeof(float)), 0)
                << name << " row " << rows[r].position;
          } else if (rows[r].position == 2) {
            for (uint32_t c = 0; c < n_vocab; ++c)
              damage_seen = damage_seen || !std::isfinite(row[c]);
          }
        }
      }
      EXPECT_TRUE(damage_seen || std::isfinite(damage)) << name;
    }
  }
}

// Weights full of NaN and infinities: nothing but the numbers breaks.
TEST_F(Forward, DamagedWeightsRun) {
  std::mt19937 random(8);
  const float odd[] = {
      std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY, 3e38f, -3e38f, 1e-40f};
  for (const auto& [name, tiny] : all_tiny_models()) {
    for (int trial = 0; trial < 5; ++trial) {
      TinyModel model = tiny;
      for (TinyTensor& tensor : model.tensors()) {
        for (float& value : tensor.values()) {
          if (random() % 50 == 0) value = odd[random() % 6];
        }
      }
      const Rows rows = run(model, {}, 3);
      EXPECT_EQ(rows.n_rows(), tokens_.size()) << name;
    }
  }
}

TEST_F(Forward, TheLedgerCountsEveryWeightOnce) {
  LoadedModel loaded = load(tiny_llama());
  ASSERT_NE(loaded.model, nullptr);
  const std::vector<uint32_t> slots = loaded.take_slots(64);
  const SequenceSlots sequence{slots};
  const std::vector<ForwardRow> rows{{1, 0, 0, false}, {2, 1, 0, true}};
  const ByteLedger ledger =
      loaded.model->forward({rows, {&sequence, 1}, *loaded.cache}).value().ledger;
  auto bytes = [](uint32_t n_cols, uint32_t n_rows) {
    return packed_shape(QuantType::F32, n_cols, n_rows, 1).size_bytes();
  };
  EXPECT_EQ(ledger.attention_bytes, 2 * (2 * bytes(32, 32) + 2 * bytes(32, 16)));
  EXPECT_EQ(ledger.dense_bytes, 2 * (2 * bytes(32, 48) + bytes(48, 32)));
  EXPECT_EQ(ledger.head_bytes, bytes(32, kTinyVocab) + 2 * 32 * sizeof(float));
  EXPECT_EQ(ledger.kv_bytes,
            2 * 2 * (2 * 2 * 8 * sizeof(float)));  // layers, tokens, keys and values
  EXPECT_EQ(ledger.routed_bytes, 0u);
  EXPECT_EQ(ledger.n_moe_layers, 0u);
  const uint64_t per_row = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48);
  // 2 layers; 1 and 2 positions to attend to; 4 heads of 8 values, keys and values.
  EXPECT_EQ(ledger.kv_macs, 2u * (1 + 2) * 4 * (8 + 8));
  EXPECT_EQ(ledger.attention_macs, 2u * 2 * (2 * 32 * 32 + 2 * 32 * 16));
  EXPECT_EQ(ledger.dense_macs, 2u * 2 * 3 * 32 * 48);
  EXPECT_EQ(ledger.head_macs, 32u * kTinyVocab);
  EXPECT_EQ(ledger.total_macs(), 2 * per_row + 32 * kTinyVocab + ledger.kv_macs);
}

// Two layers, the first with a window of 6; two KV heads with keys and values of 16 floats.
TEST_F(Forward, TheLedgerCountsTheWindow) {
  LoadedModel loaded = load(tiny_gpt_oss());
  ASSERT_NE(loaded.model, nullptr);
  const std::vector<uint32_t> slots[2] = {loaded.take_slots(32), loaded.take_slots(32)};
  const SequenceSlots sequences[2] = {{slots[0]}, {slots[1]}};
  auto n_positions = [&](uint32_t first, uint32_t n, uint32_t n_other) {
    std::vector<ForwardRow> rows;
    for (uint32_t i = 0; i < std::max(n, n_other); ++i) {
      if (i < n) rows.push_back({1, first + i, 0, true});
      if (i < n_other) rows.push_back({1, i, 1, true});
    }
    const ByteLedger ledger =
        loaded.model->forward({rows, sequences, *loaded.cache}).value().ledger;
    return ledger.kv_bytes / (2 * 2 * 16 * sizeof(float));
  };
  EXPECT_EQ(n_positions(0, 4, 0), 4u + 4u);
  EXPECT_EQ(n_positions(4, 1, 0), 5u + 5u);
  EXPECT_EQ(n_positions(5, 1, 0), 6u + 6u);
  EXPECT_EQ(n_positions(6, 1, 0), 6u + 7u);
  EXPECT_EQ(n_positions(7, 10, 3), 15u + 17u + 3u + 3u);  // positions 2 to 16, and 0 to 2
  EXPECT_EQ(n_positions(17, 1, 0), 6u + 18u);
}

TEST_F(Forward, TheLedgerCountsTheUnionOfExperts) {
  LoadedModel loaded = load(tiny_qwen3moe());
  ASSERT_NE(loaded.model, nullptr);
  const uint64_t expert_bytes = 2 * packed_shape(QuantType::F32, 32, 16, 1).size_bytes() +
                                packed_shape(QuantType::F32, 16, 32, 1).size_bytes();
  // Sequences that hold the same token at the same position choose the same experts.
  std::vector<std::vector<uint32_t>> slots;
  std::vector<SequenceSlots> sequences;
  std::vector<ForwardRow> rows;
  for (uint32_t i = 0; i < 4; ++i) slots.push_back(loaded.take_slots(16));
  for (uint32_t i = 0; i < 4; ++i) {
    sequences.push_back({slots[i]});
    rows.push_back({5, 0, i, true});
  }
  const ByteLedger same = loaded.model->forward({rows, sequences, *loaded.cache}).value().ledger;
  EXPECT_EQ(same.n_moe_layers, 2u);
  EXPECT_EQ(same.experts_union, 2 * 3u);
  EXPECT_EQ(same.routed_bytes, 2 * 3 * expert_bytes);
  for (uint32_t i = 0; i < 4; ++i) rows[i].token = static_cast<int32_t>(11 * i);
  const ByteLedger mixed = loaded.model->forward({rows, sequences, *loaded.cache}).value().ledger;
  EXPECT_GT(mixed.experts_union, same.experts_union);
  EXPECT_LE(mixed.experts_union, 2 * 8u);
  EXPECT_EQ(mixed.routed_bytes, mixed.experts_union * expert_bytes);
  EXPECT_EQ(mixed.routed_macs, same.routed_macs);
  EXPECT_EQ(mixed.total_macs(), same.total_macs());
}

TEST_F(Forward, TheDraftHeadsBytesAreDraftBytes) {
  LoadedModel loaded = load(tiny_glm_dsa());
  ASSERT_NE(loaded.model, nullptr);
  const std::vector<uint32_t> slots = loaded.take_slots(16);
  const SequenceSlots sequence{slots};
  const std::vector<ForwardRow> rows{{1, 0, 0, true}};
  const std::vector<float> hidden(loaded.model->info().hidden_dim, 0.5f);
  const ByteLedger ledger =
      loaded.model->forward_mtp({rows, {&sequence, 1}, *loaded.cache}, hidden.data())
          .value()
          .ledger;
  EXPECT_GT(ledger.draft_bytes, 0u);
  EXPECT_GT(ledger.head_bytes, 0u);
  EXPECT_GT(ledger.kv_bytes, 0u);
  EXPECT_EQ(ledger.total_bytes(), ledger.draft_bytes + ledger.head_bytes + ledger.kv_bytes);
  EXPECT_EQ(ledger.total_macs(), ledger.draft_macs + ledger.head_macs + ledger.kv_macs);
  // A row that only caches reads its embedding and not the lm_head.
  const std::vector<ForwardRow> more_rows{{1, 0, 0, false}, {2, 1, 0, true}};
  const std::vector<float> more_hidden(2 * hidden.size(), 0.5f);
  const uint64_t embedding_bytes = hidden.size() * sizeof(float);
  auto head_bytes = [&](uint32_t n_rows) {
    return loaded.model
        ->forward_mtp({std::span(more_rows).first(n_rows), {&sequence, 1}, *loaded.cache},
                      more_hidden.data())
        .value()
        .ledger.head_bytes;
  };
  EXPECT_EQ(head_bytes(1), embedding_bytes);
  EXPECT_EQ(head_bytes(2), ledger.head_bytes + embedding_bytes);
}

TEST_F(Forward, LogitsOfTheFirstTokensAlone) {
  for (const auto& [name, model] : all_tiny_models()) {
    LoadedModel loaded = load(model);
    ASSERT_NE(loaded.model, nullptr);
    const std::vector<uint32_t> slots = loaded.take_slots(64);
    const SequenceSlots sequence{slots};
    std::vector<ForwardRow> rows;
    for (uint32_t i = 0; i < 5; ++i) rows.push_back({tokens_[i], i, 0, i != 2});
    const ForwardOutput all = loaded.model->forward({rows, {&sequence, 1}, *loaded.cache}).value();
    const std::vector<float> logits(all.logits, all.logits + 4 * kTinyVocab);
    const uint64_t head_bytes = all.ledger.head_bytes;
    for (const uint32_t n : {1u, 8u, 21u, kTinyVocab}) {
      const ForwardOutput few =
          loaded.model->forward({rows, {&sequence, 1}, *loaded.cache, n}).value();
      ASSERT_EQ(few.n_logit_rows, 4u);
      for (uint32_t row = 0; row < 4; ++row) {
        EXPECT_EQ(
            std::memcmp(few.logits + row * n, logits.data() + row * kTinyVocab, n * sizeof(float)),
            0)
            << name << ", " << n << " tokens, row " << row;
      }
      EXPECT_EQ(few.ledger.head_bytes < head_bytes, n < kTinyVocab) << name << ", " << n;
    }
  }
}

TEST_F(Forward, AllocatesNothing) {
  for (const auto& [name, model] : all_tiny_models()) {
    LoadedModel loaded = load(model);
    ASSERT_NE(loaded.model, nullptr);
    const std::vector<uint32_t> slots = loaded.take_slots(64);
    const SequenceSlots sequence{slots};
    std::vector<ForwardRow> rows;
    for (uint32_t i = 0; i < 24; ++i) rows.push_back({tokens_[i], i, 0, true});
    const AllocationCount count;
    for (uint32_t begin = 0; begin < 24; begin += begin < 12 ? 12 : 1) {
      const std::span<const ForwardRow> chunk(rows.data() + begin, begin < 12 ? 12 : 1);
      loaded.model->forward({chunk, {&sequence, 1}, *loaded.cache}).value();
    }
    EXPECT_EQ(count.bytes(), 0u) << name;
  }
}

}  // namespace
}  // namespace floe::test
