// Kinds of layers that only this file knows: what the decoder, the workspace and the cache need of
// a kind is all in its interface. A recurrent attention, whose cache is a state per sequence, and
// experts that are elsewhere until a forward wants them.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <functional>

#include "model/architecture.h"
#include "model/attention_gqa.h"
#include "model/decoder.h"
#include "model/harness.h"
#include "model/moe.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_model.h"

namespace floe::test {
namespace {

// A model whose network is changed before it runs, ready to run.
class Kinds : public testing::Test {
 protected:
  LoadedModel load(const TinyModel& tiny, const std::function<void(Network&)>& change,
                   uint32_t n_threads = 1, uint32_t n_states = 0) {
    LoadedModel loaded;
    loaded.pool = std::make_unique<ThreadPool>(n_threads, false);
    auto model = make(tiny, change, *loaded.pool);
    if (!model.ok()) {
      ADD_FAILURE() << model.error().message;
      return loaded;
    }
    loaded.model = std::move(model).value();
    ForwardLimits limits;
    limits.max_rows = limits.max_logit_rows = limits.max_context = 64;
    EXPECT_TRUE(loaded.model->reserve(limits).ok());
    auto cache = loaded.model->make_cache({256, KvType::F32, n_states});
    EXPECT_TRUE(cache.ok());
    loaded.cache = std::move(cache).value();
    loaded.free_slots.resize(256);
    for (uint32_t i = 0; i < 256; ++i) loaded.free_slots[i] = 255 - i;
    return loaded;
  }

  std::vector<int32_t> tokens_ = tiny_tokens(24, 4);

 private:
  // As load_model(), with the change between.
  Result<std::unique_ptr<Model>> make(const TinyModel& tiny,
                                      const std::function<void(Network&)>& change,
                                      ThreadPool& pool) {
    FLOE_TRY(const GgufFile file, GgufFile::open(folder_.write("model.gguf", tiny.bytes())));
    FLOE_TRY(const std::string_view name, file.require_string("general.architecture"));
    const Architecture* architecture = find_architecture(name);
    FLOE_TRY(const Hparams hparams,
             read_hparams(file, architecture->name, architecture->required_keys));
    WeightLoader loader(file);
    auto network = std::make_unique<Network>();
    FLOE_TRY_VOID(architecture->build(hparams, loader, *network));
    FLOE_TRY(HugeBuffer weights, loader.pack(pool, false));
    change(*network);
    ModelInfo info;
    info.hidden_dim = network->hidden_dim;
    info.n_vocab = network->n_vocab;
    info.n_layers = network->n_trunk_layers;
    return std::unique_ptr<Model>(std::make_unique<Decoder>(std::move(info), std::move(network), 0,
                                                            std::move(weights), pool, kernels()));
  }

  ScratchFolder folder_;
};

// state = decay * state + values(x), out = output(state): the least that a recurrent layer does.
class DecayAttention final : public Attention {
 public:
  explicit DecayAttention(const GqaAttention& weights) : v_(weights.v), output_(weights.output) {}

  KvLayerSpec cache_spec() const override { return {{}, v_.n_rows * sizeof(float)}; }
  bool input_reads_q8() const override { return reads_q8(v_); }
  void visit_matrices(const MatrixVisitor& visit) const override {
    visit(v_, kAttentionClass);
    visit(output_, kAttentionClass);
  }
  void plan(LayerScratches& scratches) const override {
    auto& scratch = scratches.add<Scratch>();
    widen(scratch.state_dim, v_.n_rows);
    same_width(scratch.mixed_dim, output_.n_cols);
  }
  Stage attend(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const override {
    const Scratch& scratch = pass.ws.scratches.get<Scratch>();
    const uint32_t n = v_.n_rows;
    const Stage projected =
        project(pass, {input}, {{v_, x, pass.n_rows(), scratch.values, n, kAttentionClass}});
    // Value by value: a state passes through the rows of its sequence in order.
    const Stage mixed = pass.worker.chunks({projected}, n, 4, [&](uint32_t begin, uint32_t end) {
      for (uint32_t row = 0; row < pass.n_rows(); ++row) {
        const uint32_t index = pass.sequences[pass.rows[row].sequence].state;
        auto* state = reinterpret_cast<float*>(pass.cache.state(layer, index));
        for (uint32_t i = begin; i < end; ++i) {
          state[i] = 0.75f * state[i] + scratch.values[size_t{row} * n + i];
          for (uint32_t c = i; c < scratch.mixed_dim; c += n) scratch.mixed.row(row)[c] = state[i];
        }
      }
    });
    const Stage quantized = each_row(pass, {mixed}, [&](uint32_t row) {
      if (reads_q8(output_)) scratch.mixed.quantize(pass.kernels, row);
    });
    return project(pass, {quantized},
                   {{output_, scratch.mixed.rows(), pass.n_rows(), pass.ws.branch, output_.n_rows,
                     kAttentionClass}});
  }
  void cache(Pass&, Stage, const ActivationRows&, uint32_t) const override {
    panic(__FILE__, __LINE__, "only draft heads cache without attending");
  }

 private:
  struct Scratch final : LayerScratch {
    uint32_t state_dim = 0;
    uint32_t mixed_dim = 0;
    float* values = nullptr;  // f32 [R][state_dim]
    ActivationBuffer mixed;   // [R][mixed_dim]
    void carve(Carver& carver, const WorkspaceLimits& limits) override {
      carver.array(values, uint64_t{limits.max_rows} * state_dim);
      carver.activations(mixed, limits.max_rows, mixed_dim);
    }
  };

  const PackedMatrix v_;
  const PackedMatrix output_;
};

// The first layer recurrent, the second over the cached tokens as before.
void make_first_recurrent(Network& network) {
  Layer& layer = network.layers.front();
  layer.attention = std::make_unique<DecayAttention>(dynamic_cast<GqaAttention&>(*layer.attention));
}

class Recurrent : public Kinds {
 protected:
  LoadedModel load(uint32_t n_threads = 1) {
    return Kinds::load(tiny_qwen3moe(), make_first_recurrent, n_threads, 4);
  }
  // Logits of tokens [first, end) in chunks.
  static std::vector<float> run(LoadedModel& loaded, std::span<const uint32_t> slots,
                                uint32_t state, std::span<const int32_t> tokens, uint32_t first,
                                uint32_t end, uint32_t chunk) {
    std::vector<float> logits;
    const SequenceSlots sequence{slots, state};
    for (uint32_t begin = first; begin < end; begin += chunk) {
      std::vector<ForwardRow> rows;
      for (uint32_t p = begin; p < std::min(begin + chunk, end); ++p) {
        rows.push_back({tokens[p], p, 0, true});
      }
      const ForwardOutput output =
          loaded.model->forward({rows, {&sequence, 1}, *loaded.cache}).value();
      logits.insert(logits.end(), output.logits,
                    output.logits + rows.size() * loaded.model->info().n_vocab);
    }
    return logits;
  }
};

TEST_F(Recurrent, TheSameBitsHoweverItIsRun) {
  LoadedModel one = load();
  EXPECT_GT(one.model->cache_bytes(KvType::F32).per_state, 0u);
  const std::vector<uint32_t> slots = one.take_slots(64);
  const std::vector<float> whole = run(one, slots, 0, tokens_, 0, 24, 24);
  for (const uint32_t n_threads : {1u, 2u, 3u}) {
    for (const uint32_t chunk : {1u, 5u, 24u}) {
      LoadedModel other = load(n_threads);
      const std::vector<uint32_t> other_slots = other.take_slots(64);
      EXPECT_EQ(run(other, other_slots, 3, tokens_, 0, 24, chunk), whole)
          << n_threads << " threads, chunk " << chunk;
      EXPECT_EQ(other.cache->state_tokens(3), 24u);
    }
  }
}

TEST_F(Recurrent, SequencesSideBySideKeepTheirStates) {
  LoadedModel loaded = load(2);
  const std::vector<uint32_t> slots[] = {loaded.take_slots(64), loaded.take_slots(64),
                                         loaded.take_slots(64)};
  const std::vector<int32_t> other = tiny_tokens(24, 9);
  const std::vector<float> alone = run(loaded, slots[0], 0, tokens_, 0, 6, 6);
  const std::vector<float> other_alone = run(loaded, slots[1], 1, other, 0, 6, 6);
  loaded.cache->clear_state(1);
  const SequenceSlots sequences[] = {{slots[2], 2}, {slots[1], 1}};
  std::vector<ForwardRow> rows;
  for (uint32_t p = 0; p < 6; ++p) {
    rows.push_back({other[p], p, 1, true});
    rows.push_back({tokens_[p], p, 0, true});
  }
  const ForwardOutput output = loaded.model->forward({rows, sequences, *loaded.cache}).value();
  const size_t n = loaded.model->info().n_vocab;
  for (uint32_t p = 0; p < 6; ++p) {
    EXPECT_EQ(std::memcmp(output.logits + 2 * p * n, &other_alone[p * n], n * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(output.logits + (2 * p + 1) * n, &alone[p * n], n * sizeof(float)), 0);
  }
}

// Wrong guesses: the state goes back to the snapshot, the cached tokens are written again.
TEST_F(Recurrent, ASnapshotTakesGuessesBack) {
  LoadedModel loaded = load(2);
  const std::vector<uint32_t> slots = loaded.take_slots(64);
  const std::vector<float> whole = run(loaded, slots, 0, tokens_, 0, 24, 24);
  const size_t n = loaded.model->info().n_vocab;

  run(loaded, slots, 1, tokens_, 0, 10, 4);
  loaded.cache->copy_state(1, 2);
  std::vector<int32_t> guessed = tokens_;
  for (uint32_t p = 11; p < 16; ++p) guessed[p] = (guessed[p] + 1) % static_cast<int32_t>(n);
  run(loaded, slots, 1, guessed, 10, 16, 6);
  EXPECT_FALSE(loaded.cache->truncate_state(1, 11));
  loaded.cache->copy_state(2, 1);
  const std::vector<float> rest = run(loaded, slots, 1, tokens_, 10, 24, 3);
  EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + 10 * n));
}

TEST_F(Recurrent, AStateAtAnotherPositionStopsTheProcess) {
  LoadedModel loaded = load();
  const std::vector<uint32_t> slots = loaded.take_slots(64);
  run(loaded, slots, 0, tokens_, 0, 5, 5);
  EXPECT_DEATH(run(loaded, slots, 0, tokens_, 4, 6, 2), "state_tokens");
  EXPECT_DEATH(run(loaded, slots, 1, tokens_, 5, 6, 1), "state_tokens");
  EXPECT_DEATH(run(loaded, slots, kNoState, tokens_, 5, 6, 1), "n_states");
}

// Experts that lie somewhere else, one by one, and are copied to a place of their own by workers
// when they are wanted; at the start that place holds NaN.
class DistantExperts final : public RoutedExperts {
 public:
  explicit DistantExperts(std::unique_ptr<RoutedExperts> resident)
      : resident_(std::move(resident)) {
    const auto& all = dynamic_cast<ResidentExperts&>(*resident_);
    places_.resize(all.n_experts);
    for (uint32_t e = 0; e < all.n_experts; ++e) {
      const GatedFfn ffn = all.expert(e);
      const PackedMatrix* parts[] = {&ffn.gate, &ffn.up, &ffn.down};
      for (uint32_t i = 0; i < 3; ++i) {
        auto buffer = HugeBuffer::allocate(parts[i]->size_bytes());
        FLOE_CHECK(buffer.ok());
        places_[e].buffers[i] = std::move(buffer).value();
        std::memset(places_[e].buffers[i].data(), 0xff, parts[i]->size_bytes());
      }
    }
  }

  GatedFfn shape() const override {
    GatedFfn ffn = resident_->shape();
    ffn.gate.data = ffn.up.data = ffn.down.data = nullptr;
    return ffn;
  }
  void visit_matrices(const MatrixVisitor& visit) const override {
    resident_->visit_matrices(visit);
  }
  Stage arrive(Pass& pass, Stage chosen, const uint32_t* used, uint32_t n_used) const override {
    return pass.worker.chunks({chosen}, n_used, 1, [this, used](uint32_t i, uint32_t) {
      const GatedFfn there = resident_->expert(used[i]);
      const PackedMatrix* parts[] = {&there.gate, &there.up, &there.down};
      for (uint32_t k = 0; k < 3; ++k) {
        std::memcpy(places_[used[i]].buffers[k].data(), parts[k]->data, parts[k]->size_bytes());
      }
      ++n_arrived_;
    });
  }
  GatedFfn expert(uint32_t index) const override {
    GatedFfn ffn = resident_->expert(index);
    ffn.gate.data = places_[index].buffers[0].data();
    ffn.up.data = places_[index].buffers[1].data();
    ffn.down.data = places_[index].buffers[2].data();
    return ffn;
  }
  uint32_t n_arrived() const { return n_arrived_; }

 private:
  struct Place {
    HugeBuffer buffers[3];
  };
  std::unique_ptr<RoutedExperts> resident_;
  mutable std::vector<Place> places_;
  mutable std::atomic<uint32_t> n_arrived_{0};
};

TEST_F(Kinds, ExpertsMayBeElsewhere) {
  for (const auto& [name, tiny] : all_tiny_models()) {
    std::vector<DistantExperts*> distant;
    const auto move_away = [&](Network& network) {
      for (Layer& layer : network.layers) {
        auto* moe = dynamic_cast<MoeFfn*>(layer.ffn.get());
        if (moe == nullptr) continue;
        auto experts = std::make_unique<DistantExperts>(std::move(moe->experts));
        distant.push_back(experts.get());
        moe->experts = std::move(experts);
      }
    };
    LoadedModel here = load(tiny, [](Network&) {});
    const Rows rows = run_tokens(here, here.take_slots(64), tokens_, 0, 8);
    for (const uint32_t n_threads : {1u, 3u}) {
      distant.clear();
      LoadedModel there = load(tiny, move_away, n_threads);
      EXPECT_EQ(run_tokens(there, there.take_slots(64), tokens_, 0, 8).hash(), rows.hash()) << name;
      const size_t n_trunk = there.model->info().n_layers;
      for (size_t i = 0; i < std::min(distant.size(), n_trunk - 1); ++i) {
        EXPECT_GT(distant[i]->n_arrived(), 0u) << name << ", MoE layer " << i;
      }
    }
  }
}

}  // namespace
}  // namespace floe::test
