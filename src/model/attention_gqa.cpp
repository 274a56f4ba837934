#include "model/attention_gqa.h"

#include <cmath>

#include "model/attend_items.h"

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

namespace {

struct GqaScratch final : LayerScratch {
  uint32_t query_width = 0;  // of the widest layer, as the others
  uint32_t key_width = 0;
  uint32_t value_width = 0;
  uint32_t attended_width = 0;
  float* queries = nullptr;   // f32 [R][n_heads * key_dim]
  float* keys = nullptr;      // f32 [R][n_kv_heads * key_dim]
  float* values = nullptr;    // f32 [R][n_kv_heads * value_dim]
  ActivationBuffer attended;  // [R][n_heads * value_dim], input of the output projection

  void carve(Carver& carver, const WorkspaceLimits& limits) override {
    const uint64_t n_rows = limits.max_rows;
    carver.array(queries, n_rows * query_width);
    carver.array(keys, n_rows * key_width);
    carver.array(values, n_rows * value_width);
    carver.activations(attended, n_rows, attended_width);
  }
};

GqaScratch& scratch_of(const Pass& pass) {
  return pass.ws.scratches.get<GqaScratch>();
}

struct GqaItems {
  SpanSplit spans;
  HeadSplit split;
  uint32_t n_items;
  bool quantize_pieces;  // items fill whole 32-column blocks of the result

  GqaItems(const Pass& pass, const GqaAttention& a)
      : spans(split_spans(pass, a)),
        split(a.n_heads / a.n_kv_heads, pass.ws.row_blocks.largest(),
              pass.ws.row_blocks.size() * a.n_kv_heads * spans.n, pass.worker.count()),
        n_items(pass.ws.row_blocks.size() * a.n_kv_heads * spans.n * split.n_items),
        quantize_pieces(reads_q8(a.output) && heads_of_piece() * a.value_dim % 32 == 0 &&
                        a.n_heads / a.n_kv_heads % heads_of_piece() == 0) {}

 private:
  // Those of an item, or of an item that joins spans.
  uint32_t heads_of_piece() const { return spans.n > 1 ? 1 : split.size; }

  static SpanSplit split_spans(const Pass& pass, const GqaAttention& a) {
    uint32_t first = UINT32_MAX;
    uint32_t end = 0;
    for (uint32_t row = 0; row < pass.n_rows(); ++row) {
      const uint32_t n_visible = pass.n_visible(row);
      first = std::min(first, n_visible - a.n_attended(n_visible));
      end = std::max(end, n_visible);
    }
    return SpanSplit(first, end, pass.ws.row_blocks.size() * a.n_kv_heads, pass.n_rows(), a.n_heads,
                     a.value_dim, pass.ws.scratches.get<AttendSpace>().parts_size,
                     pass.worker.count());
  }
};

// Query heads from `head` on, which share a KV head.
SharedHeads shared_heads(Pass& pass, const GqaAttention& a, uint32_t layer, uint32_t head,
                         uint32_t n_heads) {
  const uint32_t kv_head = head / (a.n_heads / a.n_kv_heads);
  SharedHeads heads;
  heads.n_heads = n_heads;
  heads.keys = pass.cache.plane(layer, GqaAttention::kKeyPlane, kv_head);
  heads.values = pass.cache.plane(layer, GqaAttention::kValuePlane, kv_head);
  heads.key_dim = a.key_dim;
  heads.value_dim = a.value_dim;
  heads.scale = a.scale;
  if (a.sinks != nullptr) heads.sinks = a.sinks + head;
  heads.q_stride = a.key_dim;
  heads.out_stride = a.value_dim;
  return heads;
}

AttendRow attend_row(Pass& pass, const GqaAttention& a, uint32_t row, uint32_t head) {
  const GqaScratch& scratch = scratch_of(pass);
  const uint32_t n_visible = pass.n_visible(row);
  return {scratch.queries + size_t{row} * a.n_heads * a.key_dim + size_t{head} * a.key_dim,
          scratch.attended.row(row) + size_t{head} * a.value_dim,
          n_visible - a.n_attended(n_visible), n_visible};
}

// One item: a block of rows and some query heads against the KV head they share, or a span of it.
void attend_gqa_item(Pass& pass, const GqaAttention& a, uint32_t layer, const GqaItems& items,
                     uint32_t item) {
  Workspace& ws = pass.ws;
  const uint32_t heads_per_kv = a.n_heads / a.n_kv_heads;
  const uint32_t part = item % items.split.n_items;
  item /= items.split.n_items;
  const uint32_t span = items.spans.first + item % items.spans.n;
  item /= items.spans.n;
  const uint32_t kv_head = item % a.n_kv_heads;
  // The rows that see most come first.
  const uint32_t block = ws.row_blocks.size() - 1 - item / a.n_kv_heads;
  const uint32_t first = part * items.split.size;
  const uint32_t head = kv_head * heads_per_kv + first;
  const SharedHeads heads =
      shared_heads(pass, a, layer, head, std::min(items.split.size, heads_per_kv - first));
  const std::span<const uint32_t> rows = ws.row_blocks[block];
  AttendRow attending[RowBlocks::kMaxRows];
  for (size_t i = 0; i < rows.size(); ++i) attending[i] = attend_row(pass, a, rows[i], head);
  const uint32_t* slots = pass.slots(rows.front()).data();
  const bool complete = attend_item(pass, items.spans, span, heads, head, slots, rows, attending);
  if (!complete || !items.quantize_pieces) return;
  for (const uint32_t row : rows) {
    scratch_of(pass).attended.quantize(pass.kernels, row, head * a.value_dim,
                                       (head + heads.n_heads) * a.value_dim);
  }
}

// One item: a head of a row.
void join_gqa_item(Pass& pass, const GqaAttention& a, uint32_t layer, const GqaItems& items,
                   uint32_t item) {
  const uint32_t row = item / a.n_heads;
  const uint32_t head = item % a.n_heads;
  join_spans(pass.kernels, shared_heads(pass, a, layer, head, 1),
             pass.ws.scratches.get<AttendSpace>().parts + items.spans.part_begin(row, head),
             items.spans.n_all, attend_row(pass, a, row, head));
  if (items.quantize_pieces) {
    scratch_of(pass).attended.quantize(pass.kernels, row, head * a.value_dim,
                                       (head + 1) * a.value_dim);
  }
}

Projection project_keys(Pass& pass, const ActivationRows& x, const GqaAttention& a) {
  return {a.k, x, pass.n_rows(), scratch_of(pass).keys, a.k.n_rows, kAttentionClass, a.k_bias};
}

Projection project_values(Pass& pass, const ActivationRows& x, const GqaAttention& a) {
  return {a.v, x, pass.n_rows(), scratch_of(pass).values, a.v.n_rows, kAttentionClass, a.v_bias};
}

// norm may be null.
void norm_and_rotate(Pass& pass, const GqaAttention& a, uint32_t row, const float* norm,
                     float* head) {
  if (norm != nullptr) pass.kernels.rms_norm(head, norm, a.norm_eps, head, a.key_dim);
  pass.kernels.rope(head, pass.cos_sin(row), pass.n_rope_pairs, a.rope_interleaved);
}

// One KV head of a row.
void cache_head(Pass& pass, const GqaAttention& a, uint32_t layer, uint32_t row, uint32_t kv_head) {
  const KvTypes types = pass.cache.types();
  const uint32_t slot = pass.slot(row);
  const GqaScratch& scratch = scratch_of(pass);
  float* key = scratch.keys + size_t{row} * a.k.n_rows + size_t{kv_head} * a.key_dim;
  const float* value = scratch.values + size_t{row} * a.v.n_rows + size_t{kv_head} * a.value_dim;
  norm_and_rotate(pass, a, row, a.k_norm, key);
  pass.kernels.store_kv(
      key, types.keys, pass.cache.vector(layer, GqaAttention::kKeyPlane, kv_head, slot), a.key_dim);
  pass.kernels.store_kv(value, types.values,
                        pass.cache.vector(layer, GqaAttention::kValuePlane, kv_head, slot),
                        a.value_dim);
}

}  // namespace

KvLayerSpec GqaAttention::cache_spec() const {
  return {{{n_kv_heads, key_dim, &KvTypes::keys}, {n_kv_heads, value_dim, &KvTypes::values}}};
}

void GqaAttention::visit_matrices(const MatrixVisitor& visit) const {
  for (const PackedMatrix* matrix : {&q, &k, &v, &output}) visit(*matrix, kAttentionClass);
}

void GqaAttention::plan(LayerScratches& scratches) const {
  auto& scratch = scratches.add<GqaScratch>();
  widen(scratch.query_width, n_heads * key_dim);
  widen(scratch.key_width, n_kv_heads * key_dim);
  widen(scratch.value_width, n_kv_heads * value_dim);
  same_width(scratch.attended_width, n_heads * value_dim);
  scratches.add<AttendSpace>().add(key_dim, value_dim, n_heads);
}

void GqaAttention::cache(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const {
  const GqaAttention& a = *this;
  const Stage projected =
      project(pass, {input}, {project_keys(pass, x, a), project_values(pass, x, a)});
  pass.worker.chunks({projected}, pass.n_rows() * a.n_kv_heads, 1, [&](uint32_t item, uint32_t) {
    cache_head(pass, a, layer, item / a.n_kv_heads, item % a.n_kv_heads);
  });
}

Stage GqaAttention::attend(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const {
  const GqaAttention& a = *this;
  const KernelTable& kernels = pass.kernels;
  Workspace& ws = pass.ws;
  const GqaScratch& scratch = scratch_of(pass);
  const uint32_t n_rows = pass.n_rows();
  const uint32_t heads_per_kv = a.n_heads / a.n_kv_heads;

  const Stage projected =
      project(pass, {input},
              {{a.q, x, n_rows, scratch.queries, a.q.n_rows, kAttentionClass, a.q_bias},
               project_keys(pass, x, a),
               project_values(pass, x, a)});

  // One (row, KV head) with its query heads at a time.
  const auto rotate_and_store = [&](uint32_t item, uint32_t) {
    const uint32_t row = item / a.n_kv_heads;
    const uint32_t kv_head = item % a.n_kv_heads;
    float* query =
        scratch.queries + size_t{row} * a.q.n_rows + size_t{kv_head} * heads_per_kv * a.key_dim;
    for (uint32_t h = 0; h < heads_per_kv; ++h) {
      norm_and_rotate(pass, a, row, a.q_norm, query + size_t{h} * a.key_dim);
    }
    cache_head(pass, a, layer, row, kv_head);
  };
  const Stage stored = pass.worker.chunks({projected}, n_rows * a.n_kv_heads, 1, rotate_and_store);

  const GqaItems items(pass, a);
  Stage attended = pass.worker.chunks({stored}, items.n_items, 1, [&](uint32_t item, uint32_t) {
    attend_gqa_item(pass, a, layer, items, item);
  });
  if (items.spans.n > 1) {
    attended = pass.worker.chunks({attended}, n_rows * a.n_heads, 1, [&](uint32_t item, uint32_t) {
      join_gqa_item(pass, a, layer, items, item);
    });
  }
  if (reads_q8(a.output) && !items.quantize_pieces) {
    attended =
        each_row(pass, {attended}, [&](uint32_t row) { scratch.attended.quantize(kernels, row); });
  }
  if (pass.ledger != nullptr) {
    const uint64_t token_bytes =
        a.n_kv_heads * (kv_vector_bytes(pass.cache.types().keys, a.key_dim) +
                        kv_vector_bytes(pass.cache.types().values, a.value_dim));
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
                 {{a.output, scratch.attended.rows(), n_rows, ws.branch, a.output.n_rows,
                   kAttentionClass, a.output_bias}});
}

}  // namespace floe
