// The walk over the layers: which kernels a forward starts, in which order.
#include <cmath>

#include "cuda/card_model.h"

namespace floe::cuda {

namespace {

// Rows whose logits kernels write into the host's memory themselves.
constexpr uint32_t kMostDirectRows = 16;

bool attention_reads_q8(const Layer& layer) {
  return layer.attention->input_reads_q8();
}

bool ffn_reads_q8(const Layer& layer) {
  return layer.ffn->input_reads_q8();
}

// Where attend() leaves the 8-bit form of its results: nowhere if their reader does not need it, or
// if heads do not end with a block, or of many rows.
ActivationBlock* attended_q8(const PackedMatrix& reader, const ActivationBuffer& buffer,
                             uint32_t value_dim, uint32_t n_rows) {
  const bool can = n_rows <= kMostAttendedQ8Rows && value_dim % kActivationBlockCols == 0;
  return can && reads_q8(reader) ? buffer.q8 : nullptr;
}

GatedRows gated_rows(const ActivationBuffer& inner, const PackedMatrix& reader,
                     Activation activation) {
  return {inner.values, reads_q8(reader) ? inner.q8 : nullptr, inner.stride,
          activation == Activation::swiglu_clamped};
}

// The 8-bit form of a buffer's first n rows, where the matrix that reads them needs it.
void quantize_for(cudaStream_t stream, const PackedMatrix& reader, const ActivationBuffer& buffer,
                  uint32_t n) {
  if (reads_q8(reader)) quantize_rows(stream, buffer.values, buffer.q8, buffer.stride, n);
}

}  // namespace

Rotation CardModel::rotation(bool interleaved) const {
  return {reinterpret_cast<const float*>(cos_sin_.data()), network_->rope.n_pairs(), interleaved};
}

PlaneRows CardModel::all_rows(const Shape& shape) const {
  PlaneRows rows;
  rows.n = shape.n_rows;
  return rows;
}

void CardModel::attend_gqa(const Shape& shape, const GqaAttention& a, uint32_t layer) {
  const Product products[] = {
      {matrix(a.q), ws_.queries, a.q.n_rows, vector(a.q_bias)},
      {matrix(a.k), ws_.keys, a.k.n_rows, vector(a.k_bias)},
      {matrix(a.v), ws_.values, a.v.n_rows, vector(a.v_bias)},
  };
  matmul(stream_, products, 3, ws_.input.rows(), all_rows(shape));

  const CachePlane& keys = shape.cache->plane(layer, GqaAttention::kKeyPlane);
  const CachePlane& values = shape.cache->plane(layer, GqaAttention::kValuePlane);
  GqaStore store;
  store.n_heads = a.n_heads;
  store.n_kv_heads = a.n_kv_heads;
  store.key_dim = a.key_dim;
  store.value_dim = a.value_dim;
  store.queries = ws_.queries;
  store.keys = ws_.keys;
  store.values = ws_.values;
  store.q_norm = vector(a.q_norm);
  store.k_norm = vector(a.k_norm);
  store.eps = a.norm_eps;
  store.rotation = rotation(a.rope_interleaved);
  store.key_plane = keys;
  store.value_plane = values;
  store_gqa(stream_, store, rows_, shape.n_rows);

  Attention attention{};
  attention.n_heads = a.n_heads;
  attention.heads_per_kv = a.n_heads / a.n_kv_heads;
  attention.key_dim = a.key_dim;
  attention.value_dim = a.value_dim;
  attention.scale = a.scale;
  attention.sinks = vector(a.sinks);
  attention.window = a.window;
  attention.queries = ws_.queries;
  attention.query_stride = size_t{a.n_heads} * a.key_dim;
  attention.out = ws_.attention.values;
  attention.row_stride = ws_.attention.stride;
  attention.head_stride = a.value_dim;
  attention.q8 = attended_q8(a.output, ws_.attention, a.value_dim, shape.n_rows);
  attention.keys = keys;
  attention.values = values;
  attention.slots = slot_table();
  attention.n_spans = shape.n_spans;
  attention.parts = ws_.attend_parts;
  attend(stream_, attention, rows_, shape.n_rows);

  if (attention.q8 == nullptr) quantize_for(stream_, a.output, ws_.attention, shape.n_rows);
  const Product output{matrix(a.output), ws_.branch, a.output.n_rows, vector(a.output_bias)};
  matmul(stream_, &output, 1, ws_.attention.rows(), all_rows(shape));
}

void CardModel::attend_mla(const Shape& shape, const MlaAttention& a, uint32_t layer) {
  const Indexer& indexer = a.indexer;
  const uint32_t latent_dim = a.kv_lora_dim + a.rope_dim;
  Product products[4];
  uint32_t n = 0;
  if (a.q_lora_dim != 0) {
    products[n++] = {matrix(a.q_a), ws_.q_lora_raw, a.q_lora_dim};
  } else {
    products[n++] = {matrix(a.q_b), ws_.queries, a.q_b.n_rows};
  }
  products[n++] = {matrix(a.kv_a), ws_.keys, latent_dim};
  if (a.has_indexer()) {
    products[n++] = {matrix(indexer.k), ws_.indexer_keys, indexer.key_dim};
    products[n++] = {matrix(indexer.weights), ws_.indexer_weights, indexer.n_heads};
  }
  matmul(stream_, products, n, ws_.input.rows(), all_rows(shape));

  MlaStore store{};
  store.kv_lora_dim = a.kv_lora_dim;
  store.rope_dim = a.rope_dim;
  store.latents = ws_.keys;
  store.norm = vector(a.kv_a_norm);
  store.eps = a.norm_eps;
  store.rotation = rotation(a.rope_interleaved);
  store.plane = shape.cache->plane(layer, MlaAttention::kLatentPlane);
  if (a.has_indexer()) {
    store.indexer_keys = ws_.indexer_keys;
    store.indexer_norm = vector(indexer.key_norm);
    store.indexer_bias = vector(indexer.key_norm_bias);
    store.indexer_eps = indexer.key_norm_eps;
    store.indexer_dim = indexer.key_dim;
    store.indexer_heads = indexer.n_heads;
    store.indexer_interleaved = indexer.rope_interleaved;
    store.indexer_weights = ws_.indexer_weights;
    const double n_values = static_cast<double>(indexer.n_heads) * indexer.key_dim;
    store.indexer_scale = static_cast<float>(1.0 / std::sqrt(n_values));
    store.indexer_plane = shape.cache->plane(layer, Indexer::kKeyPlane);
  }
  store_mla(stream_, store, rows_, shape.n_rows);

  if (a.q_lora_dim != 0) {
    FinishRow norm;
    norm.n = a.q_lora_dim;
    norm.hidden = ws_.q_lora_raw;
    norm.norm = vector(a.q_a_norm);
    norm.eps = a.norm_eps;
    norm.out = ws_.q_lora.values;
    norm.out_stride = ws_.q_lora.stride;
    const bool quantize = reads_q8(a.q_b) || (a.has_indexer() && reads_q8(indexer.q));
    norm.q8 = quantize ? ws_.q_lora.q8 : nullptr;
    finish_rows(stream_, norm, shape.n_rows);
    const Product queries[] = {
        {matrix(a.q_b), ws_.queries, a.q_b.n_rows},
        {a.has_indexer() ? matrix(indexer.q) : Matrix(), ws_.indexer_queries,
         size_t{indexer.n_heads} * indexer.key_dim},
    };
    matmul(stream_, queries, a.has_indexer() ? 2 : 1, ws_.q_lora.rows(), all_rows(shape));
  }

  // Each head's query in the space of the cached rows.
  SplitQueries split{};
  split.n_heads = a.n_heads;
  split.nope_dim = a.nope_dim;
  split.rope_dim = a.rope_dim;
  split.kv_lora_dim = a.kv_lora_dim;
  split.queries = ws_.queries;
  split.q_nope = ws_.q_nope.values;
  split.nope_stride = ws_.q_nope.stride;
  split.q8 = reads_q8(a.k_b) ? ws_.q_nope.q8 : nullptr;
  split.absorbed = ws_.absorbed;
  split.rotation = rotation(a.rope_interleaved);
  split_queries(stream_, split, rows_, shape.n_rows);
  PlaneRows heads = all_rows(shape);
  heads.kind = PlaneRows::Kind::heads;
  heads.n_planes = a.n_heads;
  heads.plane_stride = latent_dim;
  const Product absorbed{matrix(a.k_b), ws_.absorbed, size_t{a.n_heads} * latent_dim};
  matmul(stream_, &absorbed, 1, ws_.q_nope.rows(), heads);

  if (a.has_indexer()) {
    IndexerPass pass{};
    pass.n_heads = indexer.n_heads;
    pass.key_dim = indexer.key_dim;
    pass.top_k = indexer.top_k;
    pass.queries = ws_.indexer_queries;
    pass.weights = ws_.indexer_weights;
    pass.rotation = rotation(indexer.rope_interleaved);
    pass.plane = shape.cache->plane(layer, Indexer::kKeyPlane);
    pass.slots = slot_table();
    pass.scores = ws_.indexer_scores;
    pass.score_stride = ws_.score_stride;
    pass.score_rows = CardWorkspace::kScoreRows;
    pass.selected = ws_.selected;
    pass.selected_stride = ws_.selected_stride;
    pass.max_visible = shape.max_visible;
    select_positions(stream_, pass, rows_, shape.n_rows);
  }

  Attention attention{};
  attention.n_heads = a.n_heads;
  attention.heads_per_kv = a.n_heads;
  attention.key_dim = latent_dim;
  attention.value_dim = a.kv_lora_dim;
  attention.scale = a.scale;
  attention.queries = ws_.absorbed;
  attention.query_stride = size_t{a.n_heads} * latent_dim;
  attention.out = ws_.context.values;
  attention.row_stride = ws_.context.stride;
  attention.head_stride = size_t{shape.n_rows} * ws_.context.stride;
  attention.q8 = attended_q8(a.v_b, ws_.context, a.kv_lora_dim, shape.n_rows);
  attention.keys = shape.cache->plane(layer, MlaAttention::kLatentPlane);
  attention.slots = slot_table();
  if (a.selection != Selection::all) {
    attention.selected = ws_.selected;
    attention.selected_stride = ws_.selected_stride;
    attention.top_k = a.top_k;
  }
  attention.n_spans = shape.n_spans;
  attention.parts = ws_.attend_parts;
  attend(stream_, attention, rows_, shape.n_rows);

  // Each head's values from its attended latent.
  if (attention.q8 == nullptr) {
    quantize_for(stream_, a.v_b, ws_.context, a.n_heads * shape.n_rows);
  }
  heads.plane_stride = a.v_dim;
  const Product values{matrix(a.v_b), ws_.attention.values, ws_.attention.stride};
  matmul(stream_, &values, 1, ws_.context.rows(), heads);
  quantize_for(stream_, a.output, ws_.attention, shape.n_rows);
  const Product output{matrix(a.output), ws_.branch, a.output.n_rows};
  matmul(stream_, &output, 1, ws_.attention.rows(), all_rows(shape));
}

// One FFN for all rows of ws.input.
void CardModel::run_ffn(const Shape& shape, const GatedFfn& ffn, const ActivationBuffer& inner,
                        float* out) {
  matmul_gated(stream_, {matrix(ffn.gate), inner.values, inner.stride, vector(ffn.gate_bias)},
               {matrix(ffn.up), ws_.up, inner.stride, vector(ffn.up_bias)}, ws_.input.rows(),
               all_rows(shape), shape.n_rows, gated_rows(inner, ffn.down, ffn.activation));
  const Product down{matrix(ffn.down), out, ffn.down.n_rows, vector(ffn.down_bias)};
  matmul(stream_, &down, 1, inner.rows(), all_rows(shape));
}

void CardModel::run_moe(const Shape& shape, const MoeFfn& moe, uint32_t moe_index) {
  const RouterRules& rules = moe.rules;
  const ResidentExperts& experts = experts_of(moe);
  const Product logits{matrix(moe.router), ws_.router_logits, rules.n_experts,
                       vector(moe.router_bias)};
  matmul(stream_, &logits, 1, ws_.input.rows(), all_rows(shape));
  Routing routing{};
  routing.n_experts = rules.n_experts;
  routing.n_active = rules.n_active;
  routing.gating = static_cast<uint8_t>(rules.gating);
  routing.correction_bias = vector(rules.correction_bias);
  routing.n_groups = rules.n_groups;
  routing.n_active_groups = rules.n_active_groups;
  routing.normalise = rules.normalise;
  routing.scale = rules.scale;
  routing.logits = ws_.router_logits;
  routing.chosen = ws_.chosen + size_t{moe_index} * ws_.chosen_stride;
  routing.weights = ws_.chosen_weights;
  routing.pair_of = ws_.pair_of;
  routing.row_of_pair = ws_.row_of_pair;
  routing.begin = ws_.expert_begin;
  routing.used = ws_.used_experts;
  routing.n_used = ws_.n_used + moe_index;
  routing.chosen_result = results_.chosen + size_t{moe_index} * ws_.chosen_stride;
  routing.n_used_result = results_.n_used + moe_index;
  route(stream_, routing, shape.n_rows);
  if (moe.has_shared) run_ffn(shape, moe.shared, ws_.shared_inner, ws_.shared_outputs);

  const uint32_t n_pairs = shape.n_rows * rules.n_active;
  PlaneRows pairs = all_rows(shape);
  pairs.kind = PlaneRows::Kind::experts;
  pairs.n_planes = std::min(n_pairs, rules.n_experts);
  pairs.used = routing.used;
  pairs.n_used = routing.n_used;
  pairs.begin = routing.begin;
  pairs.row_of_pair = routing.row_of_pair;
  const ActivationBuffer& inner = ws_.routed_inner;
  matmul_gated(
      stream_, {matrix(experts.gate), inner.values, inner.stride, vector(experts.gate_bias)},
      {matrix(experts.up), ws_.up, inner.stride, vector(experts.up_bias)}, ws_.input.rows(), pairs,
      n_pairs, gated_rows(inner, experts.down, experts.activation));
  pairs.row_of_pair = nullptr;
  const Product down{matrix(experts.down), ws_.pair_outputs, experts.down.n_rows,
                     vector(experts.down_bias)};
  matmul(stream_, &down, 1, inner.rows(), pairs);
}

void CardModel::finish(const Shape& shape, const Layer* layer, FinishRow what) {
  what.n = network_->hidden_dim;
  what.hidden = ws_.hidden;
  what.eps = network_->rms_eps;
  what.out = ws_.input.values;
  what.out_stride = ws_.input.stride;
  if (layer != nullptr) {
    if (as_dense(*layer) != nullptr) {
      what.branch = ws_.branch;
    } else {
      const MoeFfn& moe = as_moe(*layer);
      what.pair_outputs = ws_.pair_outputs;
      what.pair_of = ws_.pair_of;
      what.weights = ws_.chosen_weights;
      what.n_active = moe.rules.n_active;
      if (moe.has_shared) what.shared = ws_.shared_outputs;
    }
  }
  finish_rows(stream_, what, shape.n_rows);
}

// From ws.input to what the layer's second half gives; the caller adds it (finish), together with
// whatever the row needs next.
void CardModel::walk_layer(const Shape& shape, uint32_t index) {
  const Layer& layer = network_->layers[index];
  if (const auto* gqa = as_gqa(layer)) {
    attend_gqa(shape, *gqa, index);
  } else {
    attend_mla(shape, as_mla(layer), index);
  }
  FinishRow between;
  between.branch = ws_.branch;
  between.norm = vector(layer.ffn_norm);
  between.q8 = ffn_reads_q8(layer) ? ws_.input.q8 : nullptr;
  finish(shape, nullptr, between);
  if (const auto* dense = as_dense(layer)) {
    run_ffn(shape, dense->ffn, ws_.dense_inner, ws_.branch);
  } else {
    run_moe(shape, as_moe(layer), moe_index_[index]);
  }
}

// To ws.hidden.
void CardModel::join_mtp(const Shape& shape) {
  const MtpHead& mtp = *network_->mtp;
  const ActivationBuffer& both = ws_.joined_input;
  embed_rows(stream_, matrix(network_->token_embedding), rows_, shape.n_rows, slot_table(),
             ws_.branch, network_->hidden_dim);
  FinishRow norm;
  norm.n = network_->hidden_dim;
  norm.eps = network_->rms_eps;
  norm.out_stride = both.stride;
  norm.hidden = ws_.branch;
  norm.norm = vector(mtp.embedding_norm);
  norm.out = both.values;
  finish_rows(stream_, norm, shape.n_rows);
  norm.hidden = ws_.previous_hidden;
  norm.norm = vector(mtp.hidden_norm);
  norm.out = both.values + network_->hidden_dim;
  finish_rows(stream_, norm, shape.n_rows);
  quantize_for(stream_, mtp.eh_proj, both, shape.n_rows);
  const Product joined{matrix(mtp.eh_proj), ws_.hidden, network_->hidden_dim};
  matmul(stream_, &joined, 1, both.rows(), all_rows(shape));
}

void CardModel::project_logits(const Shape& shape) {
  if (shape.n_logit_rows == 0) return;
  Matrix head = matrix(network_->lm_head());
  head.n_rows = shape.n_logits;
  head.n_groups = (head.n_rows + kRowsPerGroup - 1) / kRowsPerGroup;
  PlaneRows rows;
  rows.n = shape.n_logit_rows;
  // Few rows go to the host as they come; the kernels of many write single words, which would be
  // slow there.
  const bool direct = shape.n_logit_rows <= kMostDirectRows;
  const Product logits{head, direct ? results_.logits : ws_.logits, shape.n_logits, nullptr,
                       logit_rows_};
  matmul(stream_, &logits, 1, ws_.input.rows(), rows);
  if (direct) return;
  const size_t n_bytes = size_t{shape.n_logit_rows} * shape.n_logits * sizeof(float);
  // A failure is the device's last error, which run() asks for.
  (void)cudaMemcpyAsync(results_.logits, ws_.logits, n_bytes, cudaMemcpyDeviceToHost, stream_);
}

void CardModel::walk(const Shape& shape) {
  const std::vector<Layer>& layers = network_->layers;
  const uint32_t first = shape.mtp ? network_->n_trunk_layers : 0;
  const uint32_t end = shape.mtp ? first + 1 : network_->n_trunk_layers;
  if (shape.mtp) {
    join_mtp(shape);
  } else {
    embed_rows(stream_, matrix(network_->token_embedding), rows_, shape.n_rows, slot_table(),
               ws_.hidden, network_->hidden_dim);
  }
  FinishRow start;
  start.norm = vector(layers[first].attention_norm);
  start.q8 = attention_reads_q8(layers[first]) ? ws_.input.q8 : nullptr;
  finish(shape, nullptr, start);
  for (uint32_t i = first; i < end; ++i) {
    walk_layer(shape, i);
    FinishRow next;
    if (i + 1 == end) {
      next.norm = vector(shape.mtp ? network_->mtp->output_norm : network_->output_norm);
      next.q8 = reads_q8(network_->lm_head()) ? ws_.input.q8 : nullptr;
      next.copy = results_.hidden;
      next.copy_normed = !shape.mtp || network_->mtp->feeds_normed_hidden;
    } else {
      next.norm = vector(layers[i + 1].attention_norm);
      next.q8 = attention_reads_q8(layers[i + 1]) ? ws_.input.q8 : nullptr;
    }
    if (tap_layers_ && !shape.mtp) {
      for (uint32_t t = 0; t < kTaps; ++t) {
        if ((*tap_layers_)[t] != i) continue;
        next.tap[next.n_taps++] = results_.taps + size_t{t} * network_->hidden_dim;
      }
      next.tap_stride = size_t{kTaps} * network_->hidden_dim;
    }
    finish(shape, &layers[i], next);
  }
  project_logits(shape);
}

}  // namespace floe::cuda
