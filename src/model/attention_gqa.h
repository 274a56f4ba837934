#pragma once
// Grouped-query attention: n_heads query heads share n_kv_heads cached keys and values.
#include <algorithm>
#include <cstdint>
#include <string>

#include "model/attention.h"
#include "model/hparams.h"
#include "model/weights.h"

namespace floe {

struct GqaAttention final : Attention {
  uint32_t n_heads = 0;
  uint32_t n_kv_heads = 0;
  uint32_t key_dim = 0;
  uint32_t value_dim = 0;
  bool rope_interleaved = false;
  float scale = 0.0f;
  float norm_eps = 0.0f;
  // Of an EAGLE-3 head q, k and v have 2 * hidden_dim columns.
  PackedMatrix q;       // [n_heads * key_dim][hidden_dim]
  PackedMatrix k;       // [n_kv_heads * key_dim][hidden_dim]
  PackedMatrix v;       // [n_kv_heads * value_dim][hidden_dim]
  PackedMatrix output;  // [hidden_dim][n_heads * value_dim]
  const float* q_norm =
      nullptr;  // [key_dim], RMS norm of each head before the rotation; may be null
  const float* k_norm = nullptr;
  // Null: none.
  const float* q_bias = nullptr;       // [n_heads * key_dim]
  const float* k_bias = nullptr;       // [n_kv_heads * key_dim]
  const float* v_bias = nullptr;       // [n_kv_heads * value_dim]
  const float* output_bias = nullptr;  // [hidden_dim]
  // [n_heads], scores of a position that has no value: they take their share of each head's softmax
  // and add nothing. Null: none.
  const float* sinks = nullptr;
  uint32_t window = 0;  // a row attends to its own position and the window - 1 before it; 0: to all

  // Planes of cache_spec().
  static constexpr uint32_t kKeyPlane = 0;
  static constexpr uint32_t kValuePlane = 1;

  KvLayerSpec cache_spec() const override;
  bool input_reads_q8() const override { return reads_q8(q) || reads_q8(k) || reads_q8(v); }
  void visit_matrices(const MatrixVisitor& visit) const override;
  void plan(LayerScratches& scratches) const override;
  Stage attend(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const override;
  void cache(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const override;

  // Of the n_visible positions up to a row's own, those that it attends to: the last ones.
  uint32_t n_attended(uint32_t n_visible) const {
    return window != 0 ? std::min(window, n_visible) : n_visible;
  }
};

// Dimensions and scale from the hyperparameters, tensors PREFIX.attn_{q,k,v,output}.weight.
Result<void> load_gqa(const Hparams& hparams, const std::string& prefix, WeightLoader& loader,
                      GqaAttention& attention);

}  // namespace floe
