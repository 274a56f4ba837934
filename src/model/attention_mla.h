#pragma once
// Multi-head latent attention in its absorbed form: the cache keeps one latent and one rotary
// vector per token, shared by all heads; the projections from the latent to keys and values are
// applied to the query and to the attended latent instead of to every cached token.
#include <cstdint>
#include <string>

#include "model/attention.h"
#include "model/hparams.h"
#include "model/indexer.h"
#include "model/weights.h"

namespace floe {

// Which positions a row attends to.
enum class Selection : uint8_t {
  all,      // every position up to its own
  indexed,  // the top_k of this layer's indexer
  shared,   // those of the nearest layer below that has an indexer
};

struct MlaAttention final : Attention {
  uint32_t n_heads = 0;
  uint32_t nope_dim = 0;
  uint32_t rope_dim = 0;
  uint32_t v_dim = 0;
  uint32_t q_lora_dim = 0;  // 0: queries straight from the input
  uint32_t kv_lora_dim = 0;
  bool rope_interleaved = true;
  float scale = 0.0f;
  float norm_eps = 0.0f;
  PackedMatrix q_a;     // [q_lora_dim][hidden_dim]; unused without q_lora_dim
  PackedMatrix q_b;     // [n_heads * (nope + rope)][q_lora_dim, or hidden_dim without it]
  PackedMatrix kv_a;    // [kv_lora_dim + rope_dim][hidden_dim]
  PackedMatrix k_b;     // n_heads x [kv_lora_dim][nope_dim]
  PackedMatrix v_b;     // n_heads x [v_dim][kv_lora_dim]
  PackedMatrix output;  // [hidden_dim][n_heads * v_dim]
  const float* q_a_norm = nullptr;   // [q_lora_dim]
  const float* kv_a_norm = nullptr;  // [kv_lora_dim]
  Selection selection = Selection::all;
  uint32_t top_k = 0;  // unless selection is all
  Indexer indexer;     // where selection is indexed

  // The plane of cache_spec() with the latent and its rotary part.
  static constexpr uint32_t kLatentPlane = 0;

  bool has_indexer() const { return selection == Selection::indexed; }
  uint32_t latent_dim() const { return kv_lora_dim + rope_dim; }

  KvLayerSpec cache_spec() const override;
  bool input_reads_q8() const override;
  void visit_matrices(const MatrixVisitor& visit) const override;
  void plan(LayerScratches& scratches) const override;
  Stage attend(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const override;
  void cache(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const override;
};

// Dimensions and scale from the hyperparameters, tensors PREFIX.attn_*. The indexer is the
// caller's.
Result<void> load_mla(const Hparams& hparams, const std::string& prefix, float attention_multiplier,
                      WeightLoader& loader, MlaAttention& attention);

}  // namespace floe
