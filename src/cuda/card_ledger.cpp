// What a forward on the card reads, counted as the host's layers count it.
#include <algorithm>

#include "cuda/card_model.h"

namespace floe::cuda {

namespace {

void count_matrix(ByteLedger& ledger, const PackedMatrix& matrix, uint64_t n_rows,
                  const LedgerClass& kind) {
  ledger.*kind.bytes += matrix.size_bytes();
  ledger.*kind.macs += n_rows * matrix.n_planes * matrix.n_rows * matrix.n_cols;
}

void count_ffn(ByteLedger& ledger, const GatedFfn& ffn, uint64_t n_rows, const LedgerClass& kind) {
  for (const PackedMatrix* matrix : {&ffn.gate, &ffn.up, &ffn.down}) {
    count_matrix(ledger, *matrix, n_rows, kind);
  }
}

// The rows of one sequence: positions of the first and of the last.
struct Run {
  uint32_t first, last;
};

void count_gqa(ByteLedger& ledger, const GqaAttention& a, KvTypes types, uint64_t n_rows,
               const std::vector<Run>& runs, std::span<const ForwardRow> rows) {
  for (const PackedMatrix* matrix : {&a.q, &a.k, &a.v, &a.output}) {
    count_matrix(ledger, *matrix, n_rows, kAttentionClass);
  }
  const uint64_t token_bytes = a.n_kv_heads * (kv_vector_bytes(types.keys, a.key_dim) +
                                               kv_vector_bytes(types.values, a.value_dim));
  for (const Run& run : runs) {
    const uint32_t n_first = run.first + 1;
    ledger.kv_bytes += (run.last + 1 - (n_first - a.n_attended(n_first))) * token_bytes;
  }
  const uint64_t token_macs = uint64_t{a.n_heads} * (a.key_dim + a.value_dim);
  for (const ForwardRow& row : rows) ledger.kv_macs += a.n_attended(row.position + 1) * token_macs;
}

void count_mla(ByteLedger& ledger, const MlaAttention& a, KvTypes types, uint64_t n_rows,
               const std::vector<Run>& runs, std::span<const ForwardRow> rows) {
  if (a.q_lora_dim != 0) count_matrix(ledger, a.q_a, n_rows, kAttentionClass);
  for (const PackedMatrix* matrix : {&a.q_b, &a.kv_a, &a.k_b, &a.v_b, &a.output}) {
    count_matrix(ledger, *matrix, n_rows, kAttentionClass);
  }
  const auto n_attended = [&](uint32_t n) {
    return a.selection == Selection::all ? n : std::min(n, a.top_k);
  };
  const uint64_t token_bytes = kv_vector_bytes(types.keys, a.kv_lora_dim + a.rope_dim);
  for (const Run& run : runs) ledger.kv_bytes += n_attended(run.last + 1) * token_bytes;
  const uint64_t token_macs = uint64_t{a.n_heads} * (2 * a.kv_lora_dim + a.rope_dim);
  for (const ForwardRow& row : rows) ledger.kv_macs += n_attended(row.position + 1) * token_macs;
  if (!a.has_indexer()) return;
  const Indexer& indexer = a.indexer;
  for (const PackedMatrix* matrix : {&indexer.q, &indexer.k, &indexer.weights}) {
    count_matrix(ledger, *matrix, n_rows, kAttentionClass);
  }
  const uint64_t key_bytes = kv_vector_bytes(types.keys, indexer.key_dim);
  for (const Run& run : runs) {
    if (run.last + 1 > indexer.top_k) ledger.kv_bytes += (run.last + 1) * key_bytes;
  }
  const uint64_t key_macs = uint64_t{indexer.n_heads} * indexer.key_dim;
  for (const ForwardRow& row : rows) {
    if (row.position + 1 > indexer.top_k) ledger.kv_macs += (row.position + 1) * key_macs;
  }
}

}  // namespace

ByteLedger CardModel::count(const ForwardBatch& batch, const Shape& shape) const {
  ByteLedger ledger;
  const uint64_t n_rows = shape.n_rows;
  std::vector<Run> runs;
  for (const Place& place : places_) {
    if (place.index != kNowhere) runs.push_back({place.first_position, place.last_position});
  }
  const KvTypes types = shape.cache->types();
  ledger.head_bytes += n_rows * (network_->token_embedding.group_bytes / kRowsPerGroup);
  if (shape.mtp) count_matrix(ledger, network_->mtp->eh_proj, n_rows, kDraftClass);
  const uint32_t first = shape.mtp ? network_->n_trunk_layers : 0;
  const uint32_t end = shape.mtp ? first + 1 : network_->n_trunk_layers;
  for (uint32_t i = first; i < end; ++i) {
    const Layer& layer = network_->layers[i];
    if (const auto* gqa = as_gqa(layer)) {
      count_gqa(ledger, *gqa, types, n_rows, runs, batch.rows);
    } else {
      count_mla(ledger, as_mla(layer), types, n_rows, runs, batch.rows);
    }
    if (const auto* dense = as_dense(layer)) {
      count_ffn(ledger, dense->ffn, n_rows, kDenseClass);
      continue;
    }
    const auto& moe = as_moe(layer);
    const ResidentExperts& experts = experts_of(moe);
    count_matrix(ledger, moe.router, n_rows, kDenseClass);
    if (moe.has_shared) count_ffn(ledger, moe.shared, n_rows, kSharedClass);
    const uint64_t n = results_.n_used[moe_index_[i]];
    ledger.routed_bytes +=
        n * (experts.gate.plane_bytes() + experts.up.plane_bytes() + experts.down.plane_bytes());
    ledger.routed_macs +=
        n_rows * moe.rules.n_active * 3 * uint64_t{experts.gate.n_rows} * experts.gate.n_cols;
    ledger.experts_union += n;
    ledger.n_moe_layers += 1;
  }
  if (shape.n_logit_rows != 0) {
    const PackedMatrix& head = network_->lm_head();
    const uint64_t n_groups = (shape.n_logits + kRowsPerGroup - 1) / kRowsPerGroup;
    ledger.head_bytes += n_groups * head.group_bytes;
    ledger.head_macs += uint64_t{shape.n_logit_rows} * shape.n_logits * head.n_cols;
  }
  return ledger;
}

}  // namespace floe::cuda
