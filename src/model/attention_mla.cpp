#include "model/attention_mla.h"

#include <cmath>
#include <cstring>

#include "model/attend_items.h"

namespace floe {

Result<void> load_mla(const Hparams& hparams, const std::string& prefix, float attention_multiplier,
                      WeightLoader& loader, MlaAttention& attention) {
  if (hparams.rope_dim >= hparams.key_mla_dim) {
    return hparam_error(hparams, "rope.dimension_count",
                        fmt::format("less than the head's key length {}", hparams.key_mla_dim),
                        fmt::format("{}", hparams.rope_dim));
  }
  attention.n_heads = hparams.n_heads;
  attention.rope_dim = hparams.rope_dim;
  attention.nope_dim = hparams.key_mla_dim - hparams.rope_dim;
  attention.v_dim = hparams.value_mla_dim;
  attention.q_lora_dim = hparams.q_lora_dim;
  attention.kv_lora_dim = hparams.kv_lora_dim;
  attention.norm_eps = hparams.rms_eps;
  attention.scale = static_cast<float>(attention_multiplier /
                                       std::sqrt(static_cast<double>(hparams.key_mla_dim)));
  const uint32_t hidden_dim = hparams.hidden_dim;
  const uint32_t q_rows = attention.n_heads * hparams.key_mla_dim;
  if (attention.q_lora_dim != 0) {
    FLOE_TRY_VOID(
        loader.matrix(prefix + "attn_q_a.weight", hidden_dim, attention.q_lora_dim, attention.q_a));
    FLOE_TRY_VOID(
        loader.vector(prefix + "attn_q_a_norm.weight", attention.q_lora_dim, attention.q_a_norm));
    FLOE_TRY_VOID(
        loader.matrix(prefix + "attn_q_b.weight", attention.q_lora_dim, q_rows, attention.q_b));
  } else {
    FLOE_TRY_VOID(loader.matrix(prefix + "attn_q.weight", hidden_dim, q_rows, attention.q_b));
  }
  FLOE_TRY_VOID(loader.matrix(prefix + "attn_kv_a_mqa.weight", hidden_dim,
                              attention.kv_lora_dim + attention.rope_dim, attention.kv_a));
  FLOE_TRY_VOID(
      loader.vector(prefix + "attn_kv_a_norm.weight", attention.kv_lora_dim, attention.kv_a_norm));
  FLOE_TRY_VOID(loader.mla_projections(prefix, attention.n_heads, attention.nope_dim,
                                       attention.v_dim, attention.kv_lora_dim, attention.k_b,
                                       attention.v_b));
  return loader.matrix(prefix + "attn_output.weight", attention.n_heads * attention.v_dim,
                       hidden_dim, attention.output);
}

namespace {

struct MlaScratch final : LayerScratch {
  uint32_t query_width = 0;  // of the widest layer, as the others
  uint32_t latent_width = 0;
  uint32_t attended_width = 0;
  uint32_t q_lora_width = 0;
  uint32_t n_heads = 0;
  uint32_t nope_width = 0;
  uint32_t kv_lora_width = 0;
  float* queries = nullptr;     // f32 [R][n_heads * (nope + rope)]
  float* latents = nullptr;     // f32 [R][kv_lora_dim + rope_dim]
  float* q_lora_raw = nullptr;  // f32 [R][q_lora_dim]
  ActivationBuffer q_lora;      // [R][q_lora_dim], normed
  ActivationBuffer q_nope;      // [n_heads * R][nope_dim]: rows of one head stand together
  float* absorbed = nullptr;    // f32 [R][n_heads][kv_lora_dim + rope_dim]
  ActivationBuffer context;     // [n_heads * R][kv_lora_dim]: rows of one head stand together
  ActivationBuffer attended;    // [R][n_heads * v_dim], input of the output projection

  void carve(Carver& carver, const WorkspaceLimits& limits) override {
    const uint64_t n_rows = limits.max_rows;
    carver.array(queries, n_rows * query_width);
    carver.array(latents, n_rows * latent_width);
    carver.array(q_lora_raw, n_rows * q_lora_width);
    carver.activations(q_lora, n_rows, q_lora_width);
    carver.activations(q_nope, n_rows * n_heads, nope_width);
    carver.array(absorbed, n_rows * n_heads * latent_width);
    carver.activations(context, n_rows * n_heads, kv_lora_width);
    carver.activations(attended, n_rows, attended_width);
  }
};

MlaScratch& scratch_of(const Pass& pass) {
  return pass.ws.scratches.get<MlaScratch>();
}

Projection project_latents(Pass& pass, const ActivationRows& x, const MlaAttention& a) {
  return {a.kv_a, x, pass.n_rows(), scratch_of(pass).latents, a.latent_dim(), kAttentionClass};
}

// A row's latent with its rotary part, normed, rotated and cached, and its indexer key.
void cache_row(Pass& pass, const MlaAttention& a, uint32_t layer, uint32_t row) {
  const KernelTable& kernels = pass.kernels;
  float* latent = scratch_of(pass).latents + size_t{row} * a.latent_dim();
  kernels.rms_norm(latent, a.kv_a_norm, a.norm_eps, latent, a.kv_lora_dim);
  kernels.rope(latent + a.kv_lora_dim, pass.cos_sin(row), pass.n_rope_pairs, a.rope_interleaved);
  kernels.store_kv(latent, pass.cache.types().keys,
                   pass.cache.vector(layer, MlaAttention::kLatentPlane, 0, pass.slot(row)),
                   a.latent_dim());
  if (a.has_indexer()) store_indexer_key(pass, a.indexer, layer, row);
}

// Queries of all heads, and what is cached.
Stage make_queries_and_latent(Pass& pass, Stage input, const ActivationRows& x,
                              const MlaAttention& a, uint32_t layer) {
  const KernelTable& kernels = pass.kernels;
  MlaScratch& ws = scratch_of(pass);
  const uint32_t n_rows = pass.n_rows();

  const Projection queries =
      a.q_lora_dim != 0 ? Projection{a.q_a, x, n_rows, ws.q_lora_raw, a.q_lora_dim, kAttentionClass}
                        : Projection{a.q_b, x, n_rows, ws.queries, a.q_b.n_rows, kAttentionClass};
  const Projection latents = project_latents(pass, x, a);
  const Stage projected = a.has_indexer()
                              ? project(pass, {input},
                                        {queries, latents, project_indexer_keys(pass, x, a.indexer),
                                         project_indexer_weights(pass, x, a.indexer)})
                              : project(pass, {input}, {queries, latents});

  const bool quantize_q = reads_q8(a.q_b) || (a.has_indexer() && reads_q8(a.indexer.q));
  const Stage stored = each_row(pass, {projected}, [&](uint32_t row) {
    if (a.q_lora_dim != 0) {
      kernels.rms_norm(ws.q_lora_raw + size_t{row} * a.q_lora_dim, a.q_a_norm, a.norm_eps,
                       ws.q_lora.row(row), a.q_lora_dim);
      if (quantize_q) ws.q_lora.quantize(kernels, row);
    }
    cache_row(pass, a, layer, row);
  });
  if (a.q_lora_dim == 0) return stored;
  const Projection heads{a.q_b,      ws.q_lora.rows(), n_rows,
                         ws.queries, a.q_b.n_rows,     kAttentionClass};
  return a.has_indexer()
             ? project(pass, {stored},
                       {heads, project_indexer_queries(pass, ws.q_lora.rows(), a.indexer)})
             : project(pass, {stored}, {heads});
}

// Each head's query in the space of the cached rows: k_b^T q_nope, then the rotated part.
Stage absorb_keys(Pass& pass, Stage queries, const MlaAttention& a) {
  const KernelTable& kernels = pass.kernels;
  MlaScratch& ws = scratch_of(pass);
  const uint32_t n_rows = pass.n_rows();
  const uint32_t head_dim = a.nope_dim + a.rope_dim;
  const uint32_t latent_dim = a.latent_dim();
  const bool quantize = reads_q8(a.k_b);
  const auto absorb = [&](uint32_t head, uint32_t) {
    const size_t first = size_t{head} * n_rows;
    for (uint32_t row = 0; row < n_rows; ++row) {
      const float* query = ws.queries + size_t{row} * a.q_b.n_rows + size_t{head} * head_dim;
      std::memcpy(ws.q_nope.row(first + row), query, a.nope_dim * sizeof(float));
      if (quantize) ws.q_nope.quantize(kernels, first + row);
      float* rotary = ws.absorbed + (size_t{row} * a.n_heads + head) * latent_dim + a.kv_lora_dim;
      std::memcpy(rotary, query + a.nope_dim, a.rope_dim * sizeof(float));
      kernels.rope(rotary, pass.cos_sin(row), pass.n_rope_pairs, a.rope_interleaved);
    }
    kernels.matmul(a.k_b, head, 0, a.k_b.n_groups, ws.q_nope.rows(first), nullptr, n_rows,
                   ws.absorbed + size_t{head} * latent_dim, size_t{a.n_heads} * latent_dim);
  };
  if (pass.ledger != nullptr) {
    pass.ledger->attention_bytes += a.k_b.size_bytes();
    pass.ledger->attention_macs += uint64_t{n_rows} * a.n_heads * a.k_b.n_rows * a.k_b.n_cols;
  }
  return pass.worker.chunks({queries}, a.n_heads, 1, absorb,
                            [&](uint32_t head, uint32_t, uint32_t k) {
                              return fetch_ahead(a.k_b, head, 0, a.k_b.n_groups, k);
                            });
}

uint32_t n_attended(const Pass& pass, const MlaAttention& a, uint32_t row) {
  const uint32_t n = pass.n_visible(row);
  return a.selection == Selection::all ? n : std::min(n, a.top_k);
}

// Rows that attend to chosen positions share no blocks of them: each goes alone, with more heads.
struct MlaItems {
  bool rows_alone;
  uint32_t n_blocks;
  SpanSplit spans;
  HeadSplit split;
  uint32_t n_items;

  MlaItems(const Pass& pass, const MlaAttention& a)
      : rows_alone(a.selection != Selection::all && sees_more_than(pass, a.top_k)),
        n_blocks(rows_alone ? pass.n_rows() : pass.ws.row_blocks.size()),
        spans(0, most_attended(pass, a), n_blocks, pass.n_rows(), a.n_heads, a.kv_lora_dim,
              pass.ws.scratches.get<AttendSpace>().parts_size, pass.worker.count()),
        split(a.n_heads, rows_alone ? 1 : pass.ws.row_blocks.largest(), n_blocks * spans.n,
              pass.worker.count()),
        n_items(n_blocks * spans.n * split.n_items) {}

 private:
  static uint32_t most_attended(const Pass& pass, const MlaAttention& a) {
    uint32_t most = 0;
    for (uint32_t row = 0; row < pass.n_rows(); ++row) {
      most = std::max(most, n_attended(pass, a, row));
    }
    return most;
  }
};

// What n_heads query heads share.
SharedHeads latent_heads(Pass& pass, const MlaAttention& a, uint32_t layer, uint32_t n_heads) {
  SharedHeads heads;
  heads.n_heads = n_heads;
  heads.keys = pass.cache.plane(layer, MlaAttention::kLatentPlane);
  heads.key_dim = a.latent_dim();
  heads.value_dim = a.kv_lora_dim;
  heads.scale = a.scale;
  heads.q_stride = heads.key_dim;
  heads.out_stride = size_t{pass.n_rows()} * scratch_of(pass).context.stride;
  return heads;
}

AttendRow attend_row(Pass& pass, const MlaAttention& a, uint32_t row, uint32_t head) {
  const MlaScratch& ws = scratch_of(pass);
  return {ws.absorbed + (size_t{row} * a.n_heads + head) * a.latent_dim(),
          ws.context.row(size_t{head} * pass.n_rows() + row), 0, n_attended(pass, a, row)};
}

// One item: a block of rows, some heads; softmax over the rows' positions, or a span of them, and
// the weighted sum of their latents.
void attend_mla_item(Pass& pass, const MlaAttention& a, uint32_t layer, const MlaItems& items,
                     uint32_t item) {
  const uint32_t head = item % items.split.n_items * items.split.size;
  item /= items.split.n_items;
  const uint32_t span = items.spans.first + item % items.spans.n;
  // The rows that see most come first.
  const uint32_t block = items.n_blocks - 1 - item / items.spans.n;
  const SharedHeads heads =
      latent_heads(pass, a, layer, std::min(items.split.size, a.n_heads - head));
  const std::span<const uint32_t> rows =
      items.rows_alone ? std::span(&block, 1) : pass.ws.row_blocks[block];
  AttendRow attending[RowBlocks::kMaxRows];
  for (size_t i = 0; i < rows.size(); ++i) attending[i] = attend_row(pass, a, rows[i], head);
  const uint32_t row = rows.front();
  const uint32_t* slots = n_attended(pass, a, row) < pass.n_visible(row) ? selected_slots(pass, row)
                                                                         : pass.slots(row).data();
  const bool complete = attend_item(pass, items.spans, span, heads, head, slots, rows, attending);
  if (!complete || !reads_q8(a.v_b)) return;
  for (uint32_t h = 0; h < heads.n_heads; ++h) {
    for (const uint32_t r : rows) {
      scratch_of(pass).context.quantize(pass.kernels, size_t{head + h} * pass.n_rows() + r);
    }
  }
}

// One item: a head of a row.
void join_mla_item(Pass& pass, const MlaAttention& a, uint32_t layer, const MlaItems& items,
                   uint32_t item) {
  const uint32_t row = item / a.n_heads;
  const uint32_t head = item % a.n_heads;
  join_spans(pass.kernels, latent_heads(pass, a, layer, 1),
             pass.ws.scratches.get<AttendSpace>().parts + items.spans.part_begin(row, head),
             items.spans.n_all, attend_row(pass, a, row, head));
  if (!reads_q8(a.v_b)) return;
  scratch_of(pass).context.quantize(pass.kernels, size_t{head} * pass.n_rows() + row);
}

Stage attend_latents(Pass& pass, Stage after, const MlaAttention& a, uint32_t layer) {
  if (pass.ledger != nullptr) {
    const uint64_t token_bytes = kv_vector_bytes(pass.cache.types().keys, a.latent_dim());
    for (uint32_t row : pass.ws.last_rows) {
      pass.ledger->kv_bytes += n_attended(pass, a, row) * token_bytes;
    }
    const uint64_t token_macs = uint64_t{a.n_heads} * (2 * a.kv_lora_dim + a.rope_dim);
    for (uint32_t row = 0; row < pass.n_rows(); ++row) {
      pass.ledger->kv_macs += n_attended(pass, a, row) * token_macs;
    }
  }
  const MlaItems items(pass, a);
  const Stage attended = pass.worker.chunks(
      {after}, items.n_items, 1,
      [&](uint32_t item, uint32_t) { attend_mla_item(pass, a, layer, items, item); });
  if (items.spans.n == 1) return attended;
  return pass.worker.chunks({attended}, pass.n_rows() * a.n_heads, 1, [&](uint32_t item, uint32_t) {
    join_mla_item(pass, a, layer, items, item);
  });
}

// Each head's values from its attended latent.
Stage project_values(Pass& pass, Stage contexts, const MlaAttention& a) {
  const KernelTable& kernels = pass.kernels;
  MlaScratch& ws = scratch_of(pass);
  const uint32_t n_rows = pass.n_rows();
  const bool quantize = reads_q8(a.output);
  const bool quantize_pieces = quantize && a.v_dim % 32 == 0;
  if (pass.ledger != nullptr) {
    pass.ledger->attention_bytes += a.v_b.size_bytes();
    pass.ledger->attention_macs += uint64_t{n_rows} * a.n_heads * a.v_b.n_rows * a.v_b.n_cols;
  }
  const Stage projected = pass.worker.chunks(
      {contexts}, a.n_heads, 1,
      [&](uint32_t head, uint32_t) {
        kernels.matmul(a.v_b, head, 0, a.v_b.n_groups, ws.context.rows(size_t{head} * n_rows),
                       nullptr, n_rows, ws.attended.values + size_t{head} * a.v_dim,
                       ws.attended.stride);
        if (!quantize_pieces) return;
        for (uint32_t row = 0; row < n_rows; ++row) {
          ws.attended.quantize(kernels, row, head * a.v_dim, (head + 1) * a.v_dim);
        }
      },
      [&](uint32_t head, uint32_t, uint32_t k) {
        return fetch_ahead(a.v_b, head, 0, a.v_b.n_groups, k);
      });
  if (!quantize || quantize_pieces) return projected;
  return each_row(pass, {projected}, [&](uint32_t row) { ws.attended.quantize(kernels, row); });
}

}  // namespace

KvLayerSpec MlaAttention::cache_spec() const {
  KvLayerSpec spec;
  spec.planes[kLatentPlane].dim = latent_dim();
  if (has_indexer()) spec.planes[Indexer::kKeyPlane].dim = indexer.key_dim;
  return spec;
}

bool MlaAttention::input_reads_q8() const {
  return reads_q8(q_a) || (q_lora_dim == 0 && reads_q8(q_b)) || reads_q8(kv_a) ||
         (has_indexer() && (reads_q8(indexer.k) || reads_q8(indexer.weights)));
}

void MlaAttention::visit_matrices(const MatrixVisitor& visit) const {
  for (const PackedMatrix* matrix : {&q_a, &q_b, &kv_a, &k_b, &v_b, &output}) {
    visit(*matrix, kAttentionClass);
  }
  if (!has_indexer()) return;
  for (const PackedMatrix* matrix : {&indexer.q, &indexer.k, &indexer.weights}) {
    visit(*matrix, kAttentionClass);
  }
}

void MlaAttention::plan(LayerScratches& scratches) const {
  auto& scratch = scratches.add<MlaScratch>();
  widen(scratch.query_width, q_b.n_rows);
  widen(scratch.latent_width, latent_dim());
  widen(scratch.n_heads, n_heads);
  same_width(scratch.attended_width, n_heads * v_dim);
  same_width(scratch.q_lora_width, q_lora_dim);
  same_width(scratch.nope_width, nope_dim);
  same_width(scratch.kv_lora_width, kv_lora_dim);
  scratches.add<AttendSpace>().add(latent_dim(), kv_lora_dim, n_heads);
  if (has_indexer()) plan_indexer(indexer, scratches);
}

// In the absorbed form: nothing is taken out of the latents per cached token.
Stage MlaAttention::attend(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const {
  const Stage queries = make_queries_and_latent(pass, input, x, *this, layer);
  const Stage absorbed = absorb_keys(pass, queries, *this);
  const Stage selected =
      has_indexer() ? select_positions(pass, absorbed, indexer, layer) : absorbed;
  const Stage contexts = attend_latents(pass, selected, *this, layer);
  const Stage values = project_values(pass, contexts, *this);
  return project(pass, {values},
                 {{output, scratch_of(pass).attended.rows(), pass.n_rows(), pass.ws.branch,
                   output.n_rows, kAttentionClass}});
}

void MlaAttention::cache(Pass& pass, Stage input, const ActivationRows& x, uint32_t layer) const {
  const Projection latents = project_latents(pass, x, *this);
  const Stage projected =
      has_indexer() ? project(pass, {input}, {latents, project_indexer_keys(pass, x, indexer)})
                    : project(pass, {input}, {latents});
  each_row(pass, {projected}, [&](uint32_t row) { cache_row(pass, *this, layer, row); });
}

}  // namespace floe
