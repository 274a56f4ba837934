#pragma once
// The lightning indexer of sparse attention (DSA): scores every cached position with small keys of
// its own and keeps the top_k best for attention.
#include <cstdint>
#include <string>

#include "model/hparams.h"
#include "model/pass.h"
#include "model/weights.h"

namespace floe {

struct Indexer {
  static constexpr uint32_t kKeyPlane = 1;  // of the layer's cached vectors
  uint32_t n_heads = 0;
  uint32_t key_dim = 0;
  uint32_t top_k = 0;
  bool rope_interleaved = false;
  float key_norm_eps = 0.0f;
  PackedMatrix q;                        // [n_heads * key_dim][q_lora_dim]
  PackedMatrix k;                        // [key_dim][hidden_dim]
  PackedMatrix weights;                  // [n_heads][hidden_dim], F32
  const float* key_norm = nullptr;       // [key_dim], LayerNorm
  const float* key_norm_bias = nullptr;  // [key_dim]
};

// Tensors PREFIX.indexer.*.
Result<void> load_indexer(const Hparams& hparams, const std::string& prefix, WeightLoader& loader,
                          Indexer& indexer);
void ignore_indexer(const std::string& prefix, WeightLoader& loader);

// The steps, in the order of MLA's own; its keys, head weights and queries are projections beside
// those of attention, from ws.input and ws.q_lora.
Projection project_indexer_keys(Pass& pass, const Indexer& indexer);
Projection project_indexer_weights(Pass& pass, const Indexer& indexer);
void store_indexer_key(Pass& pass, const Indexer& indexer, uint32_t layer, uint32_t row);
Projection project_indexer_queries(Pass& pass, const Indexer& indexer);
// Whether a row of the batch sees more than n positions.
bool sees_more_than(const Pass& pass, uint32_t n);
// Fills ws.selected for rows that see more than top_k positions. Stages before `after` are
// forgotten.
Stage select_positions(Pass& pass, Stage after, const Indexer& indexer, uint32_t layer);

// The top_k best of n scores, ties to the lower position: slots of the chosen positions in
// ascending position. A NaN counts as the worst score. ranking: scratch u64 [n]; n > top_k.
void select_top_k(const float* scores, uint32_t n, uint32_t top_k, const uint32_t* slots,
                  uint64_t* ranking, uint32_t* selected);

}  // namespace floe
