#include "model/indexer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

namespace floe {

namespace {

// An integer that orders as the score does, above all else by score, then by lower position.
uint64_t rank_key(float score, uint32_t position) {
  uint32_t bits = 0;  // NaN: below everything
  if (score == score) {
    bits = std::bit_cast<uint32_t>(score + 0.0f);  // one zero
    bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  }
  return (uint64_t{bits} << 32) | (~position & 0xffffffffu);
}

}  // namespace

Result<void> load_indexer(const Hparams& hparams, const std::string& prefix, WeightLoader& loader,
                          Indexer& indexer) {
  indexer.n_heads = hparams.n_indexer_heads;
  indexer.key_dim = hparams.indexer_dim;
  indexer.top_k = hparams.indexer_top_k;
  if (hparams.rope_dim > indexer.key_dim) {
    return hparam_error(hparams, "attention.indexer.key_length",
                        fmt::format("at least rope.dimension_count {}", hparams.rope_dim),
                        fmt::format("{}", indexer.key_dim));
  }
  const uint32_t hidden_dim = hparams.hidden_dim;
  FLOE_TRY_VOID(loader.matrix(prefix + "indexer.attn_q_b.weight", hparams.q_lora_dim,
                              indexer.n_heads * indexer.key_dim, indexer.q));
  FLOE_TRY_VOID(
      loader.matrix(prefix + "indexer.attn_k.weight", hidden_dim, indexer.key_dim, indexer.k));
  FLOE_TRY_VOID(loader.matrix(prefix + "indexer.proj.weight", hidden_dim, indexer.n_heads,
                              indexer.weights, KeepAs::f32));
  FLOE_TRY_VOID(loader.vector(prefix + "indexer.k_norm.weight", indexer.key_dim, indexer.key_norm));
  return loader.vector(prefix + "indexer.k_norm.bias", indexer.key_dim, indexer.key_norm_bias);
}

void ignore_indexer(const std::string& prefix, WeightLoader& loader) {
  for (const char* name :
       {"attn_q_b.weight", "attn_k.weight", "proj.weight", "k_norm.weight", "k_norm.bias"}) {
    loader.ignore(prefix + "indexer." + name);
  }
}

Projection project_indexer_keys(Pass& pass, const Indexer& indexer) {
  return {indexer.k,       pass.ws.input.rows(),        pass.n_rows(), pass.ws.indexer_keys,
          indexer.key_dim, kAttentionClass};
}

Projection project_indexer_weights(Pass& pass, const Indexer& indexer) {
  return {indexer.weights,         pass.ws.input.rows(), pass.n_rows(),
          pass.ws.indexer_weights, indexer.n_heads,      kAttentionClass};
}

void store_indexer_key(Pass& pass, const Indexer& indexer, uint32_t layer, uint32_t row) {
  float* key = pass.ws.indexer_keys + size_t{row} * indexer.key_dim;
  pass.kernels.layer_norm(key, indexer.key_norm, indexer.key_norm_bias, indexer.key_norm_eps, key,
                          indexer.key_dim);
  pass.kernels.rope(key, pass.cos_sin(row), pass.n_rope_pairs, indexer.rope_interleaved);
  pass.kernels.store_kv(key, pass.cache.type(), pass.cache.indexer_slot(layer, pass.slot(row)),
                        indexer.key_dim);
  // One factor for the scale of the dot products and the mean over heads.
  const double n_values = static_cast<double>(indexer.n_heads) * indexer.key_dim;
  const float scale = static_cast<float>(1.0 / std::sqrt(n_values));
  float* weights = pass.ws.indexer_weights + size_t{row} * indexer.n_heads;
  for (uint32_t h = 0; h < indexer.n_heads; ++h) weights[h] *= scale;
}

Projection project_indexer_queries(Pass& pass, const Indexer& indexer) {
  return {indexer.q,
          pass.ws.q_lora.rows(),
          pass.n_rows(),
          pass.ws.indexer_queries,
          size_t{indexer.n_heads} * indexer.key_dim,
          kAttentionClass};
}

void select_top_k(const float* scores, uint32_t n, uint32_t top_k, const uint32_t* slots,
                  uint64_t* ranking, uint32_t* selected) {
  for (uint32_t i = 0; i < n; ++i) ranking[i] = rank_key(scores[i], i);
  std::nth_element(ranking, ranking + (top_k - 1), ranking + n, std::greater<>());
  const uint64_t worst = ranking[top_k - 1];
  // Keys differ in their positions, so exactly top_k of them are no worse than the worst.
  for (uint32_t i = 0, count = 0; count < top_k; ++i) {
    if (rank_key(scores[i], i) >= worst) selected[count++] = slots[i];
  }
}

Stage select_positions(Pass& pass, Stages after, const Indexer& indexer, uint32_t layer) {
  Workspace& ws = pass.ws;
  float* scores =
      ws.scores + size_t{pass.worker.index()} * Workspace::kHeadsPerItem * ws.score_stride;
  uint64_t* ranking = ws.ranking + size_t{pass.worker.index()} * ws.score_stride;
  const Stage selected = each_row(pass, after, [&](uint32_t row) {
    const uint32_t n = pass.n_visible(row);
    if (n <= indexer.top_k) return;
    float* queries = ws.indexer_queries + size_t{row} * indexer.n_heads * indexer.key_dim;
    for (uint32_t h = 0; h < indexer.n_heads; ++h) {
      pass.kernels.rope(queries + size_t{h} * indexer.key_dim, pass.cos_sin(row), pass.n_rope_pairs,
                        indexer.rope_interleaved);
    }
    const uint32_t* slots = pass.slots(row).data();
    pass.kernels.indexer_scores(queries, ws.indexer_weights + size_t{row} * indexer.n_heads,
                                indexer.n_heads, pass.cache.indexer_keys(layer), slots, n,
                                indexer.key_dim, scores);
    select_top_k(scores, n, indexer.top_k, slots, ranking,
                 ws.selected + size_t{row} * ws.selected_stride);
  });
  if (pass.ledger != nullptr) {
    const uint64_t key_bytes = uint64_t{indexer.key_dim} * kv_type_bytes(pass.cache.type());
    for (uint32_t row : ws.last_rows) {
      const uint32_t n = pass.n_visible(row);
      if (n > indexer.top_k) pass.ledger->kv_bytes += n * key_bytes;
    }
    const uint64_t key_macs = uint64_t{indexer.n_heads} * indexer.key_dim;
    for (uint32_t row = 0; row < pass.n_rows(); ++row) {
      const uint32_t n = pass.n_visible(row);
      if (n > indexer.top_k) pass.ledger->kv_macs += n * key_macs;
    }
  }
  return selected;
}

}  // namespace floe
