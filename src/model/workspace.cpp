#include "model/workspace.h"

#include <algorithm>
#include <cstring>

#include "model/network.h"

namespace floe {

namespace {

// Lays arrays out one after the other, each on its own cache lines. Without a base it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  uint64_t size_bytes() const { return offset_; }

  template <typename T>
  void array(T*& target, uint64_t n) {
    if (n == 0) return;
    if (base_ != nullptr) target = reinterpret_cast<T*>(base_ + offset_);
    offset_ += (n * sizeof(T) + 63) / 64 * 64;
  }

  void activations(ActivationBuffer& target, uint64_t n_rows, uint32_t n_cols) {
    target.n_cols = n_cols;
    target.stride = (n_cols + 31) & ~31u;
    const uint64_t n = n_rows * target.stride;
    array(target.values, n);
    array(target.q8, n / kActivationBlockCols);
  }

 private:
  std::byte* base_;
  uint64_t offset_ = 0;
};

// The largest value of each width over the layers.
struct Widths {
  uint32_t queries = 0;
  uint32_t keys = 0;
  uint32_t values = 0;
  uint32_t head_key = 0;
  uint32_t head_value = 0;
  uint32_t attention = 0;
  uint32_t attend_parts = 0;  // of all heads, for one span
  uint32_t q_lora = 0;
  uint32_t mla_heads = 0;
  uint32_t nope = 0;
  uint32_t latent = 0;
  uint32_t kv_lora = 0;
  uint32_t indexer_heads = 0;
  uint32_t indexer_dim = 0;
  uint32_t top_k = 0;
  uint32_t dense_ffn = 0;
  uint32_t shared_ffn = 0;
  uint32_t expert_ffn = 0;
  uint32_t experts = 0;
  uint32_t active = 0;
};

// An activation buffer keeps one width: every layer that uses it must agree.
void same_width(uint32_t& width, uint32_t layer_width) {
  FLOE_CHECK(width == 0 || layer_width == 0 || width == layer_width);
  width = std::max(width, layer_width);
}

void widen(uint32_t& width, uint32_t layer_width) {
  width = std::max(width, layer_width);
}

Widths measure(const Network& network) {
  Widths w;
  for (const Layer& layer : network.layers) {
    if (const auto* gqa = std::get_if<GqaAttention>(&layer.attention)) {
      widen(w.queries, gqa->n_heads * gqa->key_dim);
      widen(w.keys, gqa->n_kv_heads * gqa->key_dim);
      widen(w.values, gqa->n_kv_heads * gqa->value_dim);
      widen(w.head_key, gqa->key_dim);
      widen(w.head_value, gqa->value_dim);
      same_width(w.attention, gqa->n_heads * gqa->value_dim);
      widen(w.attend_parts, gqa->n_heads * attend_part_size(gqa->value_dim));
    } else {
      const auto& mla = std::get<MlaAttention>(layer.attention);
      widen(w.queries, mla.q_b.n_rows);
      widen(w.keys, mla.kv_lora_dim + mla.rope_dim);
      widen(w.latent, mla.kv_lora_dim + mla.rope_dim);
      widen(w.mla_heads, mla.n_heads);
      same_width(w.attention, mla.n_heads * mla.v_dim);
      same_width(w.q_lora, mla.q_lora_dim);
      same_width(w.nope, mla.nope_dim);
      same_width(w.kv_lora, mla.kv_lora_dim);
      widen(w.attend_parts, mla.n_heads * attend_part_size(mla.kv_lora_dim));
      if (mla.has_indexer()) {
        widen(w.indexer_heads, mla.indexer.n_heads);
        widen(w.indexer_dim, mla.indexer.key_dim);
        widen(w.top_k, mla.top_k);
      }
    }
    if (const auto* dense = std::get_if<DenseFfn>(&layer.ffn)) {
      same_width(w.dense_ffn, dense->ffn.ffn_dim());
    } else {
      const auto& moe = std::get<MoeFfn>(layer.ffn);
      same_width(w.expert_ffn, moe.experts.ffn_dim());
      if (moe.has_shared) same_width(w.shared_ffn, moe.shared.ffn_dim());
      widen(w.experts, moe.rules.n_experts);
      widen(w.active, moe.rules.n_active);
    }
  }
  return w;
}

uint64_t carve(const Network& network, const Widths& w, uint32_t n_workers, std::byte* base,
               Workspace& ws) {
  Carver carver(base);
  const uint64_t n_rows = ws.max_rows;
  const uint64_t hidden_dim = network.hidden_dim;
  carver.array(ws.hidden, n_rows * hidden_dim);
  carver.array(ws.branch, n_rows * hidden_dim);
  carver.array(ws.cos_sin, n_rows * network.rope.n_pairs() * 2);
  carver.activations(ws.input, n_rows, network.hidden_dim);
  if (network.mtp || network.eagle3) {
    carver.activations(ws.joined_input, n_rows, 2 * network.hidden_dim);
  }
  if (network.eagle3) carver.activations(ws.fused_taps, n_rows, network.eagle3->fc.n_cols);
  if (ws.tap_layers) carver.array(ws.taps, n_rows * kTaps * hidden_dim);

  carver.array(ws.queries, n_rows * w.queries);
  carver.array(ws.keys, n_rows * w.keys);
  carver.array(ws.values, n_rows * w.values);
  carver.activations(ws.attention, n_rows, w.attention);
  carver.array(ws.q_lora_raw, n_rows * w.q_lora);
  carver.activations(ws.q_lora, n_rows, w.q_lora);
  carver.activations(ws.q_nope, n_rows * w.mla_heads, w.nope);
  carver.array(ws.absorbed, n_rows * w.mla_heads * w.latent);
  carver.activations(ws.context, n_rows * w.mla_heads, w.kv_lora);
  carver.array(ws.indexer_queries, n_rows * w.indexer_heads * w.indexer_dim);
  carver.array(ws.indexer_keys, n_rows * w.indexer_dim);
  carver.array(ws.indexer_weights, n_rows * w.indexer_heads);
  ws.selected_stride = std::min(w.top_k, ws.max_context);
  carver.array(ws.selected, n_rows * ws.selected_stride);

  // No more than all rows over the whole context ask for.
  ws.attend_parts_size = n_workers == 1
                             ? 0
                             : std::min(Workspace::kAttendPartsSize,
                                        n_rows * w.attend_parts * count_spans(ws.max_context));
  carver.array(ws.attend_parts, ws.attend_parts_size);

  const uint64_t n_pairs = n_rows * w.active;
  carver.activations(ws.dense_inner, n_rows, w.dense_ffn);
  carver.activations(ws.shared_inner, n_rows, w.shared_ffn);
  carver.activations(ws.routed_inner, n_pairs, w.expert_ffn);
  ws.router_stride = w.experts;
  carver.array(ws.router_logits, n_rows * w.experts);
  carver.array(ws.chosen, n_pairs);
  carver.array(ws.chosen_weights, n_pairs);
  carver.array(ws.pair_of, n_pairs);
  carver.array(ws.pair_rows, n_pairs);
  carver.array(ws.expert_begin, w.experts != 0 ? w.experts + 1 : 0);
  carver.array(ws.used_experts, w.experts);
  carver.array(ws.pair_outputs, n_pairs * hidden_dim);
  carver.array(ws.shared_outputs, w.shared_ffn != 0 ? n_rows * hidden_dim : 0);

  carver.array(ws.indexer_scores, uint64_t{Workspace::kIndexerRows} * ws.score_stride);
  ws.attend_key_dim = std::max({w.head_key, w.latent, w.indexer_dim});
  ws.attend_value_dim = std::max(w.head_value, w.kv_lora);
  carver.array(ws.attend_memory,
               n_workers * AttendScratch::size(ws.attend_key_dim, ws.attend_value_dim));
  carver.array(ws.ranking, uint64_t{n_workers} * ws.score_stride);
  ws.up_stride = std::max({w.dense_ffn, w.shared_ffn, w.expert_ffn});
  carver.array(ws.up, uint64_t{n_workers} * Workspace::kUpRows * ws.up_stride);
  carver.array(ws.router_scratch, uint64_t{n_workers} * 3 * ws.router_stride);

  carver.array(ws.logit_rows, ws.max_logit_rows);
  carver.array(ws.logits, uint64_t{ws.max_logit_rows} * network.n_vocab);
  carver.array(ws.output_hidden, n_rows * hidden_dim);
  return carver.size_bytes();
}

constexpr uint32_t kNoIndex = UINT32_MAX;

}  // namespace

Result<Workspace> Workspace::create(const Network& network, const ForwardLimits& limits,
                                    uint32_t n_workers) {
  Workspace ws;
  ws.max_rows = limits.max_rows;
  ws.max_logit_rows = limits.max_logit_rows;
  ws.max_context = limits.max_context;
  ws.hidden_dim = network.hidden_dim;
  ws.tap_layers = limits.tap_layers;
  const Widths widths = measure(network);
  ws.score_stride = widths.top_k != 0 ? (limits.max_context + 15) & ~15u : 0;
  const uint64_t needed = carve(network, widths, n_workers, nullptr, ws);
  const uint64_t available = available_memory_bytes();
  if (available != 0 && needed > available) {
    return make_error(ErrorKind::memory,
                      "the workspace for {} rows and {} positions needs {} bytes, {} are available",
                      limits.max_rows, limits.max_context, needed, available);
  }
  FLOE_TRY(ws.buffer, HugeBuffer::allocate(needed));
  carve(network, widths, n_workers, ws.buffer.data(), ws);
  ws.row_blocks.reserve(limits.max_rows);
  ws.last_rows.reserve(limits.max_rows);
  ws.first_rows.reserve(limits.max_rows);
  ws.index_of_sequence.reserve(limits.max_rows);
  ws.wanted_rows.reserve(limits.max_logit_rows);
  return ws;
}

uint32_t Workspace::prepare(const ForwardBatch& batch, uint32_t n_vocab) {
  FLOE_CHECK(batch.rows.size() <= max_rows);
  for (const ForwardRow& row : batch.rows) FLOE_CHECK(row.sequence < batch.sequences.size());
  row_blocks.group(batch.rows, batch.sequences.size());
  // The first and the last row of each sequence say how much of its cache this forward reads.
  last_rows.clear();
  first_rows.clear();
  index_of_sequence.assign(batch.sequences.size(), kNoIndex);
  for (size_t i = batch.rows.size(); i-- > 0;) {
    const ForwardRow& row = batch.rows[i];
    FLOE_CHECK(row.position < max_context);
    FLOE_CHECK(row.position < batch.sequences[row.sequence].slots.size());
    FLOE_CHECK(row.token >= 0 && static_cast<uint32_t>(row.token) < n_vocab);
    uint32_t& index = index_of_sequence[row.sequence];
    if (index == kNoIndex) {
      index = static_cast<uint32_t>(last_rows.size());
      last_rows.push_back(static_cast<uint32_t>(i));
      first_rows.push_back(0);
    }
    first_rows[index] = static_cast<uint32_t>(i);
  }
  uint32_t n_logit_rows = 0;
  for (uint32_t i = 0; i < batch.rows.size(); ++i) {
    if (!batch.rows[i].wants_logits) continue;
    FLOE_CHECK(n_logit_rows < max_logit_rows);
    logit_rows[n_logit_rows++] = i;
  }
  return n_logit_rows;
}

ForwardBatch Workspace::keep_wanted(const ForwardBatch& batch, uint32_t n_vocab) {
  wanted_rows.clear();
  for (uint32_t i = 0; i < batch.rows.size(); ++i) {
    if (!batch.rows[i].wants_logits) continue;
    const size_t to = wanted_rows.size();
    if (to != i) {
      std::memcpy(hidden + to * hidden_dim, hidden + size_t{i} * hidden_dim,
                  hidden_dim * sizeof(float));
    }
    wanted_rows.push_back(batch.rows[i]);
  }
  const ForwardBatch wanted{wanted_rows, batch.sequences, batch.cache, batch.n_logits};
  prepare(wanted, n_vocab);
  return wanted;
}

}  // namespace floe
