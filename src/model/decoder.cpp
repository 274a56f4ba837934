#include "model/decoder.h"

#include <cstring>

#include "base/version.h"
#include "model/fingerprint.h"

namespace floe {

KvCacheBytes Decoder::cache_bytes(KvTypes types) const {
  return HostKvCache::bytes_of(cache_layout(*network_), types);
}

Result<std::unique_ptr<KvCache>> Decoder::make_cache(const KvCacheLimits& limits) {
  FLOE_TRY(std::unique_ptr<KvCache> cache, HostKvCache::create(cache_layout(*network_), limits));
  return cache;
}

uint64_t Decoder::cache_fingerprint(KvTypes types) const {
  if (!weights_hash_) weights_hash_ = hash_of_weights(weights(), pool_);
  return cache_fingerprint_of(*weights_hash_, hyperparameters_hash_, cache_layout(*network_),
                              types);
}

void Decoder::check_states(const ForwardBatch& batch) const {
  if (batch.cache.state_bytes() == 0) return;
  for (const uint32_t first : ws_.first_rows) {
    const ForwardRow& row = batch.rows[first];
    FLOE_CHECK(batch.cache.state_tokens(batch.sequences[row.sequence].state) == row.position);
  }
}

void Decoder::advance_states(const ForwardBatch& batch) {
  if (batch.cache.state_bytes() == 0) return;
  HostKvCache& cache = host_cache(batch, *network_);
  for (size_t i = 0; i < ws_.last_rows.size(); ++i) {
    const ForwardRow& last = batch.rows[ws_.last_rows[i]];
    const ForwardRow& first = batch.rows[ws_.first_rows[i]];
    cache.advance_state(batch.sequences[last.sequence].state, last.position - first.position + 1);
  }
}

Result<void> Decoder::reserve(const ForwardLimits& limits) {
  if (limits.max_rows == 0 || limits.max_context == 0) {
    return usage_error("a forward needs room for at least one row and one position");
  }
  if (limits.tap_layers) {
    for (const uint32_t layer : *limits.tap_layers) {
      if (layer >= network_->n_trunk_layers) {
        return usage_error("expected taps behind layers below {}, found {}",
                           network_->n_trunk_layers, layer);
      }
    }
  }
  ws_ = Workspace();  // the old one goes before the new one is asked for
  FLOE_TRY(ws_, Workspace::create(*network_, limits, pool_.size()));
  return {};
}

template <typename Walk>
void Decoder::run(const ForwardBatch& batch, ByteLedger* ledger, const Walk& walk) {
  HostKvCache& cache = host_cache(batch, *network_);
  pool_.run([&](Worker& worker) {
    Pass pass{kernels_,
              worker,
              ws_,
              batch.rows,
              batch.sequences,
              cache,
              network_->rope.n_pairs(),
              worker.index() == 0 ? ledger : nullptr,
              batch.routing_log,
              batch.n_logits != 0 ? batch.n_logits : network_->n_vocab};
    walk(pass);
  });
}

Result<ForwardOutput> Decoder::forward(const ForwardBatch& batch) {
  ForwardOutput output;
  if (batch.rows.empty()) return output;
  FLOE_CHECK(batch.n_logits <= network_->n_vocab);
  output.n_logit_rows = ws_.prepare(batch, network_->n_vocab);
  check_states(batch);
  run(batch, &output.ledger, [&](Pass& pass) { walk_trunk(pass, output.n_logit_rows); });
  advance_states(batch);
  output.logits = ws_.logits;
  output.hidden = ws_.output_hidden;
  output.taps = ws_.taps;
  return output;
}

// Nobody reads what the head's one layer makes of a row without logits, so that such rows end with
// their keys and values.
Result<ForwardOutput> Decoder::forward_mtp(const ForwardBatch& batch, const float* hidden) {
  FLOE_CHECK(info_.has_mtp && hidden != nullptr && batch.routing_log == nullptr);
  ForwardOutput output;
  if (batch.rows.empty()) return output;
  FLOE_CHECK(batch.n_logits <= network_->n_vocab);
  output.n_logit_rows = ws_.prepare(batch, network_->n_vocab);
  const bool all_wanted = output.n_logit_rows == batch.rows.size();
  run(batch, &output.ledger, [&](Pass& pass) {
    const Stage joined = join_mtp(pass, hidden);
    if (all_wanted) {
      finish_mtp(pass, {joined}, output.n_logit_rows);
    } else {
      cache_mtp(pass, {joined});
    }
  });
  if (output.n_logit_rows != 0 && !all_wanted) {
    const ForwardBatch wanted = ws_.keep_wanted(batch, network_->n_vocab);
    run(wanted, &output.ledger, [&](Pass& pass) { finish_mtp(pass, {}, output.n_logit_rows); });
  }
  output.ledger = as_draft(output.ledger);
  output.logits = ws_.logits;
  output.hidden = ws_.output_hidden;
  return output;
}

void Decoder::embed(int32_t token, float* out) const {
  FLOE_CHECK(token >= 0 && static_cast<uint32_t>(token) < network_->n_vocab);
  decode_row(network_->token_embedding, 0, static_cast<uint32_t>(token), out);
}

void Decoder::rotate_row(Pass& pass, uint32_t row) {
  network_->rope.fill(pass.rows[row].position, ws_.cos_sin + size_t{row} * pass.n_rope_pairs * 2);
}

void Decoder::norm_input(Pass& pass, uint32_t row, const float* weight, bool quantize) {
  pass.kernels.rms_norm(hidden_of(row), weight, network_->rms_eps, ws_.input.row(row),
                        network_->hidden_dim);
  if (quantize) ws_.input.quantize(pass.kernels, row);
}

float* Decoder::hidden_of(uint32_t row) {
  return ws_.hidden + size_t{row} * network_->hidden_dim;
}

void Decoder::tap(uint32_t layer, uint32_t row) {
  if (!ws_.tap_layers) return;
  const size_t hidden_dim = network_->hidden_dim;
  for (uint32_t i = 0; i < kTaps; ++i) {
    if ((*ws_.tap_layers)[i] != layer) continue;
    std::memcpy(ws_.taps + (size_t{row} * kTaps + i) * hidden_dim, ws_.hidden + row * hidden_dim,
                hidden_dim * sizeof(float));
  }
}

// hidden += attention(norm(hidden)); hidden += ffn(norm(hidden)). The first norm has been taken: it
// is ws.input. The last sum is left to the caller (Ffn::add_row), who makes it row by row together
// with whatever the row needs next.
Stage Decoder::run_layer(Pass& pass, Stage input, uint32_t index) {
  const Layer& layer = network_->layers[index];
  input = pass.worker.make_room(kMaxLayerStages, input);
  const Stage attended = layer.attention->attend(pass, input, ws_.input.rows(), index);
  const Stage normed = each_row(pass, {attended}, [&](uint32_t row) {
    pass.kernels.add(ws_.branch + size_t{row} * network_->hidden_dim, hidden_of(row),
                     network_->hidden_dim);
    norm_input(pass, row, layer.ffn_norm, layer.ffn->input_reads_q8());
  });
  return layer.ffn->run(pass, normed);
}

// The row after the last layer: what an MTP head reads, and the input of the lm_head.
void Decoder::finish_row(Pass& pass, uint32_t row, const float* norm, bool keep_normed) {
  const uint32_t hidden_dim = network_->hidden_dim;
  norm_input(pass, row, norm, pass.rows[row].wants_logits && reads_q8(network_->lm_head()));
  std::memcpy(ws_.output_hidden + size_t{row} * hidden_dim,
              keep_normed ? ws_.input.row(row) : ws_.hidden + size_t{row} * hidden_dim,
              hidden_dim * sizeof(float));
}

// A row of it for each row.
void Decoder::count_embedding(Pass& pass) const {
  if (pass.ledger == nullptr) return;
  pass.ledger->head_bytes +=
      pass.n_rows() * (network_->token_embedding.group_bytes / kRowsPerGroup);
}

void Decoder::project_logits(Pass& pass, Stage input, uint32_t n_logit_rows) {
  PackedMatrix head = network_->lm_head();
  head.n_rows = pass.n_logits;
  head.n_groups = (head.n_rows + kRowsPerGroup - 1) / kRowsPerGroup;
  project(pass, {input},
          {{head, ws_.input.rows(), n_logit_rows, ws_.logits, head.n_rows, kHeadClass, nullptr,
            ws_.logit_rows}});
}

void Decoder::walk_trunk(Pass& pass, uint32_t n_logit_rows) {
  const std::vector<Layer>& layers = network_->layers;
  const uint32_t n_layers = network_->n_trunk_layers;
  count_embedding(pass);
  Stage input = each_row(pass, {}, [&](uint32_t row) {
    embed(pass.rows[row].token, hidden_of(row));
    rotate_row(pass, row);
    norm_input(pass, row, layers[0].attention_norm, layers[0].attention->input_reads_q8());
  });
  for (uint32_t i = 0; i < n_layers; ++i) {
    const Stage outputs = run_layer(pass, input, i);
    const bool last = i + 1 == n_layers;
    const bool quantize = !last && layers[i + 1].attention->input_reads_q8();
    input = each_row(pass, {outputs}, [&](uint32_t row) {
      layers[i].ffn->add_row(pass, row, hidden_of(row));
      tap(i, row);
      if (last) {
        finish_row(pass, row, network_->output_norm, true);
      } else {
        norm_input(pass, row, layers[i + 1].attention_norm, quantize);
      }
    });
  }
  project_logits(pass, input, n_logit_rows);
}

// To ws.hidden.
Stage Decoder::join_mtp(Pass& pass, const float* previous_hidden) {
  const MtpHead& mtp = *network_->mtp;
  const uint32_t hidden_dim = network_->hidden_dim;
  const float eps = network_->rms_eps;
  count_embedding(pass);
  const Stage normed = each_row(pass, {}, [&](uint32_t row) {
    float* embedding = ws_.branch + size_t{row} * hidden_dim;
    float* both = ws_.joined_input.row(row);
    embed(pass.rows[row].token, embedding);
    pass.kernels.rms_norm(embedding, mtp.embedding_norm, eps, both, hidden_dim);
    pass.kernels.rms_norm(previous_hidden + size_t{row} * hidden_dim, mtp.hidden_norm, eps,
                          both + hidden_dim, hidden_dim);
    if (reads_q8(mtp.eh_proj)) ws_.joined_input.quantize(pass.kernels, row);
  });
  return project(
      pass, {normed},
      {{mtp.eh_proj, ws_.joined_input.rows(), pass.n_rows(), ws_.hidden, hidden_dim, kDraftClass}});
}

Stage Decoder::norm_mtp_input(Pass& pass, Stages joined) {
  const Layer& layer = network_->layers[network_->n_trunk_layers];
  const bool quantize = layer.attention->input_reads_q8();
  return each_row(pass, joined, [&](uint32_t row) {
    rotate_row(pass, row);
    norm_input(pass, row, layer.attention_norm, quantize);
  });
}

void Decoder::cache_mtp(Pass& pass, Stages joined) {
  const uint32_t index = network_->n_trunk_layers;
  const Stage input = norm_mtp_input(pass, joined);
  network_->layers[index].attention->cache(pass, input, ws_.input.rows(), index);
}

void Decoder::finish_mtp(Pass& pass, Stages joined, uint32_t n_logit_rows) {
  const MtpHead& mtp = *network_->mtp;
  const uint32_t index = network_->n_trunk_layers;
  const Stage outputs = run_layer(pass, norm_mtp_input(pass, joined), index);
  const Stage finished = each_row(pass, {outputs}, [&](uint32_t row) {
    network_->layers[index].ffn->add_row(pass, row, hidden_of(row));
    finish_row(pass, row, mtp.output_norm, mtp.feeds_normed_hidden);
  });
  project_logits(pass, finished, n_logit_rows);
}

}  // namespace floe
