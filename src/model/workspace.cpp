#include "model/workspace.h"

#include <cstring>

#include "model/network.h"

namespace floe {

namespace {

uint64_t carve(const Network& network, std::byte* base, Workspace& ws) {
  Carver carver(base);
  const uint64_t n_rows = ws.limits.max_rows;
  const uint64_t hidden_dim = network.hidden_dim;
  carver.array(ws.hidden, n_rows * hidden_dim);
  carver.array(ws.branch, n_rows * hidden_dim);
  carver.array(ws.cos_sin, n_rows * network.rope.n_pairs() * 2);
  carver.activations(ws.input, n_rows, network.hidden_dim);
  ws.scratches.carve(carver, ws.limits);
  if (network.mtp || network.eagle3) {
    carver.activations(ws.joined_input, n_rows, 2 * network.hidden_dim);
  }
  if (network.eagle3) carver.activations(ws.fused_taps, n_rows, network.eagle3->fc.n_cols);
  if (ws.tap_layers) carver.array(ws.taps, n_rows * kTaps * hidden_dim);
  carver.array(ws.logit_rows, ws.limits.max_logit_rows);
  carver.array(ws.logits, uint64_t{ws.limits.max_logit_rows} * network.n_vocab);
  carver.array(ws.output_hidden, n_rows * hidden_dim);
  return carver.size_bytes();
}

constexpr uint32_t kNoIndex = UINT32_MAX;

}  // namespace

void same_width(uint32_t& width, uint32_t layer_width) {
  FLOE_CHECK(width == 0 || layer_width == 0 || width == layer_width);
  widen(width, layer_width);
}

namespace {

// What the workspace will hold, but no memory for it.
Workspace planned(const Network& network, const ForwardLimits& limits, uint32_t n_workers) {
  Workspace ws;
  ws.limits = {limits.max_rows, limits.max_logit_rows, limits.max_context, n_workers,
               network.hidden_dim};
  ws.tap_layers = limits.tap_layers;
  for (const Layer& layer : network.layers) {
    layer.attention->plan(ws.scratches);
    layer.ffn->plan(ws.scratches);
  }
  return ws;
}

}  // namespace

uint64_t Workspace::bytes_of(const Network& network, const ForwardLimits& limits,
                             uint32_t n_workers) {
  Workspace ws = planned(network, limits, n_workers);
  return carve(network, nullptr, ws);
}

Result<Workspace> Workspace::create(const Network& network, const ForwardLimits& limits,
                                    uint32_t n_workers) {
  Workspace ws = planned(network, limits, n_workers);
  const uint64_t needed = carve(network, nullptr, ws);
  const uint64_t available = available_memory_bytes();
  if (available != 0 && needed > available) {
    return make_error(ErrorKind::memory,
                      "the workspace for {} rows and {} positions needs {:.1f} GB, {:.1f} GB are "
                      "available: lower -c or -ub",
                      limits.max_rows, limits.max_context, static_cast<double>(needed) / 1e9,
                      static_cast<double>(available) / 1e9);
  }
  FLOE_TRY(ws.buffer, HugeBuffer::allocate(needed));
  carve(network, ws.buffer.data(), ws);
  ws.row_blocks.reserve(limits.max_rows);
  ws.last_rows.reserve(limits.max_rows);
  ws.first_rows.reserve(limits.max_rows);
  ws.index_of_sequence.reserve(limits.max_rows);
  ws.wanted_rows.reserve(limits.max_logit_rows);
  return ws;
}

uint32_t Workspace::prepare(const ForwardBatch& batch, uint32_t n_vocab) {
  FLOE_CHECK(batch.rows.size() <= limits.max_rows);
  for (const ForwardRow& row : batch.rows) FLOE_CHECK(row.sequence < batch.sequences.size());
  row_blocks.group(batch.rows, batch.sequences.size());
  // The first and the last row of each sequence say how much of its cache this forward reads.
  last_rows.clear();
  first_rows.clear();
  index_of_sequence.assign(batch.sequences.size(), kNoIndex);
  for (size_t i = batch.rows.size(); i-- > 0;) {
    const ForwardRow& row = batch.rows[i];
    FLOE_CHECK(row.position < limits.max_context);
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
    FLOE_CHECK(n_logit_rows < limits.max_logit_rows);
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
      std::memcpy(hidden + to * limits.hidden_dim, hidden + size_t{i} * limits.hidden_dim,
                  limits.hidden_dim * sizeof(float));
    }
    wanted_rows.push_back(batch.rows[i]);
  }
  const ForwardBatch wanted{wanted_rows, batch.sequences, batch.cache, batch.n_logits};
  prepare(wanted, n_vocab);
  return wanted;
}

}  // namespace floe
