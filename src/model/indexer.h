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

// Asks for the memory that it works in.
void plan_indexer(const Indexer& indexer, LayerScratches& scratches);

// The steps, in the order of MLA's own. Keys, head weights and queries are projections that run
// beside those of attention: from x [n_rows][hidden_dim] and q_lora [n_rows][q_lora_dim].
Projection project_indexer_keys(Pass& pass, const ActivationRows& x, const Indexer& indexer);
Projection project_indexer_weights(Pass& pass, const ActivationRows& x, const Indexer& indexer);
void store_indexer_key(Pass& pass, const Indexer& indexer, uint32_t layer, uint32_t row);
Projection project_indexer_queries(Pass& pass, const ActivationRows& q_lora,
                                   const Indexer& indexer);
// Whether a row of the batch sees more than n positions.
bool sees_more_than(const Pass& pass, uint32_t n);
// Chooses positions for the rows that see more than top_k of them. It may need more stages than a
// layer has room for (Worker::make_room): from then on nobody can wait for a stage before `after`.
Stage select_positions(Pass& pass, Stage after, const Indexer& indexer, uint32_t layer);

// The cache slots that the nearest indexer below has chosen for the row: u32 [top_k], in ascending
// position.
const uint32_t* selected_slots(const Pass& pass, uint32_t row);

// The top_k best of n scores, ties to the lower position: slots of the chosen positions in
// ascending position. A NaN counts as the worst score. ranking: scratch u64 [n]; n > top_k.
void select_top_k(const float* scores, uint32_t n, uint32_t top_k, const uint32_t* slots,
                  uint64_t* ranking, uint32_t* selected);

}  // namespace floe
