#include "model/indexer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "model/attend_items.h"

namespace floe {

namespace {

constexpr uint32_t kBucketShift = 21;
constexpr uint32_t kBuckets = 1u << (32 - kBucketShift);
constexpr uint32_t kScorePiece = 8 * kAttentionBlock;   // positions of one item
constexpr uint32_t kIndexerRows = RowBlocks::kMaxRows;  // whose positions are scored at once

struct IndexerScratch final : LayerScratch {
  uint32_t n_heads = 0;  // of the widest layer, as the others
  uint32_t key_dim = 0;
  uint32_t top_k = 0;
  float* queries = nullptr;      // f32 [R][n_heads * key_dim]
  float* keys = nullptr;         // f32 [R][key_dim]
  float* weights = nullptr;      // f32 [R][n_heads]
  uint32_t* selected = nullptr;  // u32 [R][selected_stride], cache slots in ascending position
  uint32_t selected_stride = 0;
  float* scores = nullptr;      // f32 [kIndexerRows][score_stride]
  uint64_t* ranking = nullptr;  // u64 [worker][score_stride]
  uint32_t score_stride = 0;    // max_context rounded up to 16

  void carve(Carver& carver, const WorkspaceLimits& limits) override {
    const uint64_t n_rows = limits.max_rows;
    carver.array(queries, n_rows * n_heads * key_dim);
    carver.array(keys, n_rows * key_dim);
    carver.array(weights, n_rows * n_heads);
    selected_stride = std::min(top_k, limits.max_context);
    carver.array(selected, n_rows * selected_stride);
    score_stride = (limits.max_context + 15) & ~15u;
    carver.array(scores, uint64_t{kIndexerRows} * score_stride);
    carver.array(ranking, uint64_t{limits.n_workers} * score_stride);
  }
};

IndexerScratch& scratch_of(const Pass& pass) {
  return pass.ws.scratches.get<IndexerScratch>();
}

// An integer that orders as the score does.
uint32_t score_key(float score) {
  if (score != score) return 0;                                 // NaN: below everything
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);  // one zero
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// Above all else by score, then by lower position.
uint64_t rank_key(float score, uint32_t position) {
  return (uint64_t{score_key(score)} << 32) | (~position & 0xffffffffu);
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

bool sees_more_than(const Pass& pass, uint32_t n) {
  return std::any_of(pass.ws.last_rows.begin(), pass.ws.last_rows.end(),
                     [&](uint32_t row) { return pass.n_visible(row) > n; });
}

void plan_indexer(const Indexer& indexer, LayerScratches& scratches) {
  auto& scratch = scratches.add<IndexerScratch>();
  widen(scratch.n_heads, indexer.n_heads);
  widen(scratch.key_dim, indexer.key_dim);
  widen(scratch.top_k, indexer.top_k);
  scratches.add<AttendSpace>().add(indexer.key_dim, 0, 0);
}

Projection project_indexer_keys(Pass& pass, const ActivationRows& x, const Indexer& indexer) {
  return {indexer.k, x, pass.n_rows(), scratch_of(pass).keys, indexer.key_dim, kAttentionClass};
}

Projection project_indexer_weights(Pass& pass, const ActivationRows& x, const Indexer& indexer) {
  return {indexer.weights, x, pass.n_rows(), scratch_of(pass).weights, indexer.n_heads,
          kAttentionClass};
}

const uint32_t* selected_slots(const Pass& pass, uint32_t row) {
  const IndexerScratch& scratch = scratch_of(pass);
  return scratch.selected + size_t{row} * scratch.selected_stride;
}

void store_indexer_key(Pass& pass, const Indexer& indexer, uint32_t layer, uint32_t row) {
  const IndexerScratch& scratch = scratch_of(pass);
  float* key = scratch.keys + size_t{row} * indexer.key_dim;
  pass.kernels.layer_norm(key, indexer.key_norm, indexer.key_norm_bias, indexer.key_norm_eps, key,
                          indexer.key_dim);
  pass.kernels.rope(key, pass.cos_sin(row), pass.n_rope_pairs, indexer.rope_interleaved);
  pass.kernels.store_kv(key, pass.cache.types().keys,
                        pass.cache.vector(layer, Indexer::kKeyPlane, 0, pass.slot(row)),
                        indexer.key_dim);
  // One factor for the scale of the dot products and the mean over heads.
  const double n_values = static_cast<double>(indexer.n_heads) * indexer.key_dim;
  const float scale = static_cast<float>(1.0 / std::sqrt(n_values));
  float* weights = scratch.weights + size_t{row} * indexer.n_heads;
  for (uint32_t h = 0; h < indexer.n_heads; ++h) weights[h] *= scale;
}

Projection project_indexer_queries(Pass& pass, const ActivationRows& q_lora,
                                   const Indexer& indexer) {
  return {indexer.q,
          q_lora,
          pass.n_rows(),
          scratch_of(pass).queries,
          size_t{indexer.n_heads} * indexer.key_dim,
          kAttentionClass};
}

void select_top_k(const float* scores, uint32_t n, uint32_t top_k, const uint32_t* slots,
                  uint64_t* ranking, uint32_t* selected) {
  // The leading bits of the scores say which are in and which are out, but for one bucket.
  uint32_t counts[kBuckets] = {};
  for (uint32_t i = 0; i < n; ++i) ++counts[score_key(scores[i]) >> kBucketShift];
  uint32_t bucket = kBuckets - 1;
  uint32_t n_wanted = top_k;  // from the bucket
  while (counts[bucket] < n_wanted) n_wanted -= counts[bucket--];
  uint32_t n_close = 0;
  for (uint32_t i = 0; i < n; ++i) {
    ranking[n_close] = rank_key(scores[i], i);
    n_close += score_key(scores[i]) >> kBucketShift == bucket ? 1 : 0;
  }
  std::nth_element(ranking, ranking + (n_wanted - 1), ranking + n_close, std::greater<>());
  const uint64_t worst = ranking[n_wanted - 1];
  // Keys differ in their positions, so exactly top_k of them are no worse than the worst.
  for (uint32_t i = 0, count = 0; count < top_k; ++i) {
    selected[count] = slots[i];
    count += rank_key(scores[i], i) >= worst ? 1 : 0;
  }
}

namespace {

// As many blocks of rows from one on as the scores have rows for, and their positions in
// pieces.
class ScoreGroup {
 public:
  ScoreGroup(const Pass& pass, uint32_t first_block) : first_(first_block), end_(first_block) {
    const RowBlocks& blocks = pass.ws.row_blocks;
    uint32_t n_rows = 0;
    for (; end_ < blocks.size(); ++end_) {
      const std::span<const uint32_t> rows = blocks[end_];
      if (n_rows + rows.size() > kIndexerRows) break;
      const uint32_t n_pieces = (pass.n_visible(rows.back()) + kScorePiece - 1) / kScorePiece;
      first_row_[end_ - first_] = n_rows;
      n_pieces_ += n_pieces;
      piece_end_[end_ - first_] = n_pieces_;
      n_rows += static_cast<uint32_t>(rows.size());
    }
  }

  uint32_t end() const { return end_; }
  uint32_t n_pieces() const { return n_pieces_; }

  struct Piece {
    uint32_t block;
    uint32_t first_row;  // of the scores
    uint32_t begin;      // position
  };
  Piece piece(uint32_t index) const {
    uint32_t at = 0;
    while (index >= piece_end_[at]) ++at;
    return {first_ + at, first_row_[at],
            (index - (at == 0 ? 0 : piece_end_[at - 1])) * kScorePiece};
  }

 private:
  uint32_t first_;
  uint32_t end_;
  uint32_t n_pieces_ = 0;
  uint32_t first_row_[kIndexerRows];
  uint32_t piece_end_[kIndexerRows];
};

void score_piece(Pass& pass, const Indexer& indexer, uint32_t layer, const ScoreGroup& group,
                 uint32_t index) {
  Workspace& ws = pass.ws;
  const IndexerScratch& scratch = scratch_of(pass);
  const ScoreGroup::Piece piece = group.piece(index);
  const std::span<const uint32_t> rows = ws.row_blocks[piece.block];
  const KvPlane keys = pass.cache.plane(layer, Indexer::kKeyPlane);
  const uint32_t* slots = pass.slots(rows.front()).data();
  float* tile = ws.scratches.get<AttendSpace>().of_worker(pass.worker.index()).tile;
  const uint32_t n_most = pass.n_visible(rows.back());
  if (n_most <= indexer.top_k) return;
  const uint32_t end = std::min(n_most, piece.begin + kScorePiece);
  for (uint32_t t = piece.begin; t < end; t += kAttentionBlock) {
    const uint32_t next = std::min(end, t + kAttentionBlock);
    KvBlock block(keys, slots + t, next - t);
    block.prepare(pass.kernels, next - t, indexer.key_dim,
                  static_cast<uint32_t>(rows.size()) * indexer.n_heads, tile);
    for (size_t i = 0; i < rows.size(); ++i) {
      const uint32_t row = rows[i];
      const uint32_t n_visible = pass.n_visible(row);
      if (n_visible <= indexer.top_k || n_visible <= t) continue;
      pass.kernels.indexer_scores(
          scratch.queries + size_t{row} * indexer.n_heads * indexer.key_dim,
          scratch.weights + size_t{row} * indexer.n_heads, indexer.n_heads, block.vectors,
          block.type, std::min(next, n_visible) - t, indexer.key_dim,
          scratch.scores + (piece.first_row + i) * scratch.score_stride + t);
    }
  }
}

}  // namespace

Stage select_positions(Pass& pass, Stage after, const Indexer& indexer, uint32_t layer) {
  Workspace& ws = pass.ws;
  const IndexerScratch& scratch = scratch_of(pass);
  if (!sees_more_than(pass, indexer.top_k)) return after;
  if (pass.ledger != nullptr) {
    const uint64_t key_bytes = kv_vector_bytes(pass.cache.types().keys, indexer.key_dim);
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
  after = each_row(pass, {after}, [&](uint32_t row) {
    if (pass.n_visible(row) <= indexer.top_k) return;
    float* queries = scratch.queries + size_t{row} * indexer.n_heads * indexer.key_dim;
    for (uint32_t h = 0; h < indexer.n_heads; ++h) {
      pass.kernels.rope(queries + size_t{h} * indexer.key_dim, pass.cos_sin(row), pass.n_rope_pairs,
                        indexer.rope_interleaved);
    }
  });
  uint64_t* ranking = scratch.ranking + size_t{pass.worker.index()} * scratch.score_stride;
  for (uint32_t first = 0; first < ws.row_blocks.size();) {
    const ScoreGroup group(pass, first);
    after = pass.worker.make_room(kMaxLayerStages, after);
    after = pass.worker.chunks({after}, group.n_pieces(), 1, [&](uint32_t piece, uint32_t) {
      score_piece(pass, indexer, layer, group, piece);
    });
    const std::span<const uint32_t> rows = ws.row_blocks.rows(first, group.end());
    after = pass.worker.chunks(
        {after}, static_cast<uint32_t>(rows.size()), 1, [&](uint32_t i, uint32_t) {
          const uint32_t n = pass.n_visible(rows[i]);
          if (n <= indexer.top_k) return;
          select_top_k(scratch.scores + size_t{i} * scratch.score_stride, n, indexer.top_k,
                       pass.slots(rows[i]).data(), ranking,
                       scratch.selected + size_t{rows[i]} * scratch.selected_stride);
        });
    first = group.end();
  }
  return pass.worker.make_room(kMaxLayerStages, after);
}

}  // namespace floe
