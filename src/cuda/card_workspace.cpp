#include "cuda/card_workspace.h"

#include <algorithm>

#include "cuda/layer_kinds.h"

namespace floe::cuda {

namespace {

// Deals out aligned pieces of a buffer; without one it only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}

  template <typename T>
  void array(T*& target, uint64_t n) {
    target = base_ != nullptr && n != 0 ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ = (used_ + n * sizeof(T) + 255) & ~uint64_t{255};
  }
  void activations(ActivationBuffer& target, uint64_t n_rows, uint32_t n_cols) {
    target.n_cols = n_cols;
    target.stride = (n_cols + 31) & ~31u;
    array(target.values, n_rows * target.stride);
    array(target.q8, n_rows * target.stride / kActivationBlockCols);
  }
  uint64_t size_bytes() const { return used_; }

 private:
  std::byte* base_;
  uint64_t used_ = 0;
};

struct Widths {
  uint32_t queries = 0, keys = 0, values = 0, attention = 0;
  uint32_t q_lora = 0, nope = 0, kv_lora = 0, latent = 0, mla_heads = 0;
  uint32_t indexer_heads = 0, indexer_dim = 0, top_k = 0;
  uint64_t parts = 0;  // floats of one row and span
  uint32_t dense_ffn = 0, shared_ffn = 0, expert_ffn = 0, experts = 0, active = 0, moe_layers = 0;
};

template <typename T>
void widen(T& width, T layer_width) {
  width = std::max(width, layer_width);
}

Widths measure(const Network& network) {
  Widths w;
  for (const Layer& layer : network.layers) {
    if (const auto* gqa = as_gqa(layer)) {
      widen(w.queries, gqa->n_heads * gqa->key_dim);
      widen(w.keys, gqa->n_kv_heads * gqa->key_dim);
      widen(w.values, gqa->n_kv_heads * gqa->value_dim);
      widen(w.attention, gqa->n_heads * gqa->value_dim);
      widen(w.parts, uint64_t{gqa->n_heads} * attend_part_size(gqa->value_dim));
    } else {
      const auto& mla = as_mla(layer);
      widen(w.queries, mla.q_b.n_rows);
      widen(w.keys, mla.kv_lora_dim + mla.rope_dim);
      widen(w.latent, mla.kv_lora_dim + mla.rope_dim);
      widen(w.mla_heads, mla.n_heads);
      widen(w.attention, mla.n_heads * mla.v_dim);
      widen(w.q_lora, mla.q_lora_dim);
      widen(w.nope, mla.nope_dim);
      widen(w.kv_lora, mla.kv_lora_dim);
      widen(w.parts, uint64_t{mla.n_heads} * attend_part_size(mla.kv_lora_dim));
      if (mla.has_indexer()) {
        widen(w.indexer_heads, mla.indexer.n_heads);
        widen(w.indexer_dim, mla.indexer.key_dim);
        widen(w.top_k, mla.top_k);
      }
    }
    if (const auto* dense = as_dense(layer)) {
      widen(w.dense_ffn, dense->ffn.ffn_dim());
    } else {
      const auto& moe = as_moe(layer);
      widen(w.expert_ffn, experts_of(moe).gate.n_rows);
      if (moe.has_shared) widen(w.shared_ffn, moe.shared.ffn_dim());
      widen(w.experts, moe.rules.n_experts);
      widen(w.active, moe.rules.n_active);
      ++w.moe_layers;
    }
  }
  return w;
}

uint64_t carve(const Network& network, const Widths& w, const ForwardLimits& limits,
               std::byte* base, CardWorkspace& ws) {
  Carver carver(base);
  const uint64_t n_rows = limits.max_rows;
  const uint64_t hidden_dim = network.hidden_dim;
  carver.array(ws.hidden, n_rows * hidden_dim);
  carver.array(ws.branch, n_rows * hidden_dim);
  carver.activations(ws.input, n_rows, network.hidden_dim);
  if (network.mtp) {
    carver.activations(ws.joined_input, n_rows, 2 * network.hidden_dim);
    carver.array(ws.previous_hidden, n_rows * hidden_dim);
  }

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
  ws.score_stride = w.top_k != 0 ? (limits.max_context + 31) & ~31u : 0;
  carver.array(ws.indexer_scores, uint64_t{CardWorkspace::kScoreRows} * ws.score_stride);
  ws.selected_stride = std::min(w.top_k, limits.max_context);
  carver.array(ws.selected, n_rows * ws.selected_stride);
  const uint64_t all_parts = std::min<uint64_t>(n_rows, CardWorkspace::kSpanRows) * w.parts *
                             count_spans(limits.max_context);
  ws.attend_parts_size = limits.max_context > kAttentionSpan
                             ? std::min(all_parts, CardWorkspace::kPartsBytes / sizeof(float))
                             : 0;
  carver.array(ws.attend_parts, ws.attend_parts_size);

  const uint64_t n_pairs = n_rows * w.active;
  carver.activations(ws.dense_inner, n_rows, w.dense_ffn);
  carver.activations(ws.shared_inner, n_rows, w.shared_ffn);
  carver.activations(ws.routed_inner, n_pairs, w.expert_ffn);
  carver.array(ws.up, std::max({n_rows * ws.dense_inner.stride, n_rows * ws.shared_inner.stride,
                                n_pairs * ws.routed_inner.stride}));
  carver.array(ws.router_logits, n_rows * w.experts);
  ws.n_moe_layers = w.moe_layers;
  ws.chosen_stride = static_cast<uint32_t>(n_pairs);
  carver.array(ws.chosen, n_pairs * w.moe_layers);
  carver.array(ws.chosen_weights, n_pairs);
  carver.array(ws.pair_of, n_pairs);
  carver.array(ws.row_of_pair, n_pairs);
  carver.array(ws.expert_begin, w.experts != 0 ? w.experts + 1 : 0);
  carver.array(ws.used_experts, w.experts);
  carver.array(ws.n_used, w.moe_layers);
  carver.array(ws.pair_outputs, n_pairs * hidden_dim);
  carver.array(ws.shared_outputs, w.shared_ffn != 0 ? n_rows * hidden_dim : 0);
  carver.array(ws.logits, uint64_t{limits.max_logit_rows} * network.n_vocab);
  return carver.size_bytes();
}

}  // namespace

Result<CardWorkspace> CardWorkspace::create(const Network& network, const ForwardLimits& limits) {
  CardWorkspace ws;
  ws.max_rows = limits.max_rows;
  ws.max_logit_rows = limits.max_logit_rows;
  ws.max_context = limits.max_context;
  const Widths widths = measure(network);
  const uint64_t needed = carve(network, widths, limits, nullptr, ws);
  FLOE_TRY(ws.memory,
           DeviceMemory::allocate(needed, fmt::format("the workspace for {} rows and {} positions",
                                                      limits.max_rows, limits.max_context)));
  carve(network, widths, limits, ws.memory.data(), ws);
  return ws;
}

}  // namespace floe::cuda
