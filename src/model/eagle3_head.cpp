#include "model/eagle3_head.h"

#include <algorithm>
#include <cstring>

#include "model/network.h"
#include "model/pass.h"

namespace floe {

Eagle3Head::Eagle3Head(const Model& trunk, ThreadPool& pool, const KernelTable& kernels)
    : trunk_(trunk), pool_(pool), kernels_(kernels) {}
Eagle3Head::~Eagle3Head() = default;

uint32_t Eagle3Head::hidden_dim() const {
  return network_->hidden_dim;
}
uint32_t Eagle3Head::taps_dim() const {
  return network_->eagle3->fc.n_cols;
}

Result<std::unique_ptr<KvCache>> Eagle3Head::make_cache(const KvCacheLimits& limits) {
  FLOE_TRY(std::unique_ptr<KvCache> cache, HostKvCache::create(cache_layout(*network_), limits));
  return cache;
}

Result<void> Eagle3Head::reserve(const ForwardLimits& limits) {
  FLOE_CHECK(limits.max_rows != 0 && limits.max_context != 0 && !limits.tap_layers);
  ws_.reset();  // before the new one is asked for
  FLOE_TRY(Workspace workspace, Workspace::create(*network_, limits, pool_.size()));
  ws_ = std::make_unique<Workspace>(std::move(workspace));
  logits_ = HugeBuffer();
  const size_t n_logits = size_t{limits.max_logit_rows} * n_vocab_;
  FLOE_TRY(logits_, HugeBuffer::allocate(n_logits * sizeof(float)));
  // Only what lm_head knows is ever written again.
  std::fill_n(reinterpret_cast<float*>(logits_.data()), n_logits, kUnknownLogit);
  return {};
}

template <typename Walk>
void Eagle3Head::run(const ForwardBatch& batch, ByteLedger* ledger, const Walk& walk) {
  HostKvCache& cache = host_cache(batch, *network_);
  pool_.run([&](Worker& worker) {
    Pass pass{kernels_,
              worker,
              *ws_,
              batch.rows,
              batch.sequences,
              cache,
              network_->rope.n_pairs(),
              worker.index() == 0 ? ledger : nullptr,
              nullptr,
              network_->n_vocab};
    walk(pass);
  });
}

// As Decoder::forward_mtp().
ForwardOutput Eagle3Head::forward(const ForwardBatch& batch, const float* features, Features kind) {
  ForwardOutput output;
  if (batch.rows.empty()) return output;
  FLOE_CHECK(features != nullptr);
  output.n_logit_rows = ws_->prepare(batch, n_vocab_);
  const bool all_wanted = output.n_logit_rows == batch.rows.size();
  run(batch, &output.ledger, [&](Pass& pass) {
    const Stage fused = fuse(pass, features, kind);
    if (all_wanted) {
      finish(pass, {fused}, output.n_logit_rows);
    } else {
      cache_rows(pass, {fused});
    }
  });
  if (output.n_logit_rows != 0 && !all_wanted) {
    const ForwardBatch wanted = ws_->keep_wanted(batch, n_vocab_);
    run(wanted, &output.ledger, [&](Pass& pass) { finish(pass, {}, output.n_logit_rows); });
  }
  output.ledger = as_draft(output.ledger);
  output.logits = reinterpret_cast<const float*>(logits_.data());
  output.hidden = ws_->output_hidden;
  return output;
}

// To ws.hidden: what the head knows of the positions before.
Stage Eagle3Head::fuse(Pass& pass, const float* features, Features kind) {
  const PackedMatrix& fc = network_->eagle3->fc;
  const uint32_t dim = kind == Features::taps ? fc.n_cols : network_->hidden_dim;
  const Stage copied = each_row(pass, {}, [&](uint32_t row) {
    float* to = kind == Features::taps ? ws_->fused_taps.row(row) : ws_->hidden + size_t{row} * dim;
    std::memcpy(to, features + size_t{row} * dim, dim * sizeof(float));
    if (kind == Features::taps && reads_q8(fc)) ws_->fused_taps.quantize(pass.kernels, row);
  });
  if (kind == Features::own) return copied;
  return project(pass, {copied},
                 {{fc, ws_->fused_taps.rows(), pass.n_rows(), ws_->hidden, network_->hidden_dim,
                   kDraftClass}});
}

// The attention's input, from the row's token and the features in ws.hidden.
void Eagle3Head::join_row(Pass& pass, uint32_t row) {
  const Eagle3Parts& head = *network_->eagle3;
  const uint32_t hidden_dim = network_->hidden_dim;
  float* embedding = ws_->branch + size_t{row} * hidden_dim;
  float* joined = ws_->joined_input.row(row);
  const int32_t token = pass.rows[row].token;
  if (network_->token_embedding.data != nullptr) {
    decode_row(network_->token_embedding, 0, static_cast<uint32_t>(token), embedding);
  } else {
    trunk_.embed(token, embedding);
  }
  network_->rope.fill(pass.rows[row].position, ws_->cos_sin + size_t{row} * pass.n_rope_pairs * 2);
  pass.kernels.rms_norm(embedding, head.embedding_norm, network_->rms_eps, joined, hidden_dim);
  pass.kernels.rms_norm(ws_->hidden + size_t{row} * hidden_dim, head.hidden_norm, network_->rms_eps,
                        joined + hidden_dim, hidden_dim);
  if (network_->layers.front().attention->input_reads_q8())
    ws_->joined_input.quantize(pass.kernels, row);
}

void Eagle3Head::cache_rows(Pass& pass, Stages fused) {
  const Stage joined = each_row(pass, fused, [&](uint32_t row) { join_row(pass, row); });
  network_->layers.front().attention->cache(pass, joined, ws_->joined_input.rows(), 0);
}

void Eagle3Head::finish(Pass& pass, Stages fused, uint32_t n_logit_rows) {
  const Eagle3Parts& head = *network_->eagle3;
  const Layer& layer = network_->layers.front();
  const uint32_t hidden_dim = network_->hidden_dim;

  const Stage joined = each_row(pass, fused, [&](uint32_t row) {
    join_row(pass, row);
    if (!head.norms_residual) return;
    std::memcpy(ws_->hidden + size_t{row} * hidden_dim, ws_->joined_input.row(row) + hidden_dim,
                hidden_dim * sizeof(float));
  });
  const Stage attended = layer.attention->attend(pass, joined, ws_->joined_input.rows(), 0);
  const auto hidden_of = [&](uint32_t row) { return ws_->hidden + size_t{row} * hidden_dim; };
  const auto norm_input = [&](uint32_t row, const float* norm, bool quantize) {
    pass.kernels.rms_norm(hidden_of(row), norm, network_->rms_eps, ws_->input.row(row), hidden_dim);
    if (quantize) ws_->input.quantize(pass.kernels, row);
  };
  const Stage normed = each_row(pass, {attended}, [&](uint32_t row) {
    pass.kernels.add(ws_->branch + size_t{row} * hidden_dim, hidden_of(row), hidden_dim);
    norm_input(row, layer.ffn_norm, layer.ffn->input_reads_q8());
  });
  const Stage transformed = layer.ffn->run(pass, normed);
  const Stage finished = each_row(pass, {transformed}, [&](uint32_t row) {
    layer.ffn->add_row(pass, row, hidden_of(row));
    norm_input(row, network_->output_norm,
               pass.rows[row].wants_logits && reads_q8(network_->output));
    std::memcpy(ws_->output_hidden + size_t{row} * hidden_dim, hidden_of(row),
                hidden_dim * sizeof(float));
  });
  const Stage projected = project(pass, {finished},
                                  {{network_->output, ws_->input.rows(), n_logit_rows, ws_->logits,
                                    network_->n_vocab, kHeadClass, nullptr, ws_->logit_rows}});
  pass.worker.chunks({projected}, n_logit_rows, 1, [&](uint32_t i, uint32_t) {
    const float* known = ws_->logits + size_t{i} * network_->n_vocab;
    float* all = reinterpret_cast<float*>(logits_.data()) + size_t{i} * n_vocab_;
    for (uint32_t k = 0; k < network_->n_vocab; ++k) all[target_ids_[k]] = known[k];
  });
}

}  // namespace floe
