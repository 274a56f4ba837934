#include "model/attention_gqa.h"

#include <cmath>

namespace floe {

Result<void> load_gqa(const Hparams& hparams, const std::string& prefix, WeightLoader& loader,
                      GqaAttention& attention) {
  attention.n_heads = hparams.n_heads;
  attention.n_kv_heads = hparams.n_kv_heads;
  attention.key_dim = hparams.key_dim;
  attention.value_dim = hparams.value_dim;
  attention.norm_eps = hparams.rms_eps;
  attention.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(hparams.key_dim)));
  const uint32_t hidden_dim = hparams.hidden_dim;
  const uint32_t n_heads = attention.n_heads;
  const uint32_t n_kv_heads = attention.n_kv_heads;
  FLOE_TRY_VOID(loader.matrix(prefix + "attn_q.weight", hidden_dim, n_heads * attention.key_dim,
                              attention.q));
  FLOE_TRY_VOID(loader.matrix(prefix + "attn_k.weight", hidden_dim, n_kv_heads * attention.key_dim,
                              attention.k));
  FLOE_TRY_VOID(loader.matrix(prefix + "attn_v.weight", hidden_dim,
                              n_kv_heads * attention.value_dim, attention.v));
  return loader.matrix(prefix + "attn_output.weight", n_heads * attention.value_dim, hidden_dim,
                       attention.output);
}

Stage attend_gqa(Pass& pass, Stage input, const GqaAttention& a, uint32_t layer) {
  const KernelTable& kernels = pass.kernels;
  Workspace& ws = pass.ws;
  const uint32_t n_rows = pass.n_rows();
  const uint32_t q_stride = a.n_heads * a.key_dim;
  const uint32_t k_stride = a.n_kv_heads * a.key_dim;
  const uint32_t v_stride = a.n_kv_heads * a.value_dim;
  const uint32_t heads_per_kv = a.n_heads / a.n_kv_heads;

  const ActivationRows x = ws.input.rows();
  const Stage projected =
      project(pass, {input},
              {{a.q, x, n_rows, ws.queries, q_stride, kAttentionClass, a.q_bias},
               {a.k, x, n_rows, ws.keys, k_stride, kAttentionClass, a.k_bias},
               {a.v, x, n_rows, ws.values, v_stride, kAttentionClass, a.v_bias}});

  // Norm, rotate and store, one (row, KV head) with its query heads at a time.
  const auto rotate_and_store = [&](uint32_t item, uint32_t) {
    const uint32_t row = item / a.n_kv_heads;
    const uint32_t kv_head = item % a.n_kv_heads;
    auto prepare = [&](float* head, const float* norm) {
      if (norm != nullptr) kernels.rms_norm(head, norm, a.norm_eps, head, a.key_dim);
      kernels.rope(head, pass.cos_sin(row), pass.n_rope_pairs, a.rope_interleaved);
    };
    float* query = ws.queries + size_t{row} * q_stride + size_t{kv_head} * heads_per_kv * a.key_dim;
    for (uint32_t h = 0; h < heads_per_kv; ++h) prepare(query + size_t{h} * a.key_dim, a.q_norm);
    float* key = ws.keys + size_t{row} * k_stride + size_t{kv_head} * a.key_dim;
    prepare(key, a.k_norm);
    const KvType type = pass.cache.type();
    const uint32_t slot = pass.slot(row);
    kernels.store_kv(key, type, pass.cache.key_slot(layer, kv_head, slot), a.key_dim);
    kernels.store_kv(ws.values + size_t{row} * v_stride + size_t{kv_head} * a.value_dim, type,
                     pass.cache.value_slot(layer, kv_head, slot), a.value_dim);
  };
  const Stage stored = pass.worker.chunks({projected}, n_rows * a.n_kv_heads, 1, rotate_and_store);

  // A block of query heads of one row against the KV head they share. Items of one KV head follow
  // each other, so that its keys stay in cache from row to row.
  const uint32_t block = std::min(heads_per_kv, Workspace::kHeadsPerItem);
  const uint32_t blocks_per_kv = (heads_per_kv + block - 1) / block;
  const bool quantize = reads_q8(a.output);
  // Pieces of whole 32-column blocks are quantised where they are made.
  const bool quantize_pieces =
      quantize && block * a.value_dim % 32 == 0 && heads_per_kv % block == 0;
  float* scores =
      ws.scores + size_t{pass.worker.index()} * Workspace::kHeadsPerItem * ws.score_stride;
  const auto attend = [&](uint32_t item, uint32_t) {
    const uint32_t row = item % n_rows;
    const uint32_t kv_head = item / n_rows / blocks_per_kv;
    const uint32_t first = item / n_rows % blocks_per_kv * block;
    const uint32_t head = kv_head * heads_per_kv + first;
    const uint32_t n_heads = std::min(block, heads_per_kv - first);
    const uint32_t n = a.n_attended(pass.n_visible(row));
    const uint32_t* slots = pass.slots(row).data() + (pass.n_visible(row) - n);
    kernels.attn_scores(ws.queries + size_t{row} * q_stride + size_t{head} * a.key_dim, a.key_dim,
                        n_heads, pass.cache.keys(layer, kv_head), slots, n, a.key_dim, a.scale,
                        scores, ws.score_stride);
    for (uint32_t h = 0; h < n_heads; ++h) {
      float* head_scores = scores + size_t{h} * ws.score_stride;
      if (a.sinks != nullptr) head_scores[n] = a.sinks[head + h];
      kernels.softmax(head_scores, a.sinks != nullptr ? n + 1 : n);
    }
    kernels.attn_values(scores, ws.score_stride, n_heads, pass.cache.values(layer, kv_head), slots,
                        n, a.value_dim, ws.attention.row(row) + size_t{head} * a.value_dim,
                        a.value_dim);
    if (quantize_pieces) {
      ws.attention.quantize(kernels, row, head * a.value_dim, (head + n_heads) * a.value_dim);
    }
  };
  Stage attended = pass.worker.chunks({stored}, n_rows * a.n_kv_heads * blocks_per_kv, 1, attend);
  if (quantize && !quantize_pieces) {
    attended =
        each_row(pass, {attended}, [&](uint32_t row) { ws.attention.quantize(kernels, row); });
  }
  if (pass.ledger != nullptr) {
    const uint64_t token_bytes = (uint64_t{k_stride} + v_stride) * kv_type_bytes(pass.cache.type());
    for (size_t i = 0; i < ws.last_rows.size(); ++i) {
      // What the sequence's first row still sees, and everything after it.
      const uint32_t n_first = pass.n_visible(ws.first_rows[i]);
      const uint32_t n_unseen = n_first - a.n_attended(n_first);
      pass.ledger->kv_bytes += (pass.n_visible(ws.last_rows[i]) - n_unseen) * token_bytes;
    }
    const uint64_t token_macs = uint64_t{a.n_heads} * (a.key_dim + a.value_dim);
    for (uint32_t row = 0; row < n_rows; ++row) {
      pass.ledger->kv_macs += a.n_attended(pass.n_visible(row)) * token_macs;
    }
  }
  return project(pass, {attended},
                 {{a.output, ws.attention.rows(), n_rows, ws.branch, a.output.n_rows,
                   kAttentionClass, a.output_bias}});
}

}  // namespace floe
