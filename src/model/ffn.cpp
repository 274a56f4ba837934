#include "model/ffn.h"

namespace floe {

Result<void> load_gated_ffn(const std::string& prefix, const std::string& suffix,
                            uint32_t hidden_dim, uint32_t ffn_dim, WeightLoader& loader,
                            GatedFfn& ffn) {
  FLOE_TRY_VOID(
      loader.matrix(prefix + "ffn_gate" + suffix + ".weight", hidden_dim, ffn_dim, ffn.gate));
  FLOE_TRY_VOID(loader.matrix(prefix + "ffn_up" + suffix + ".weight", hidden_dim, ffn_dim, ffn.up));
  return loader.matrix(prefix + "ffn_down" + suffix + ".weight", ffn_dim, hidden_dim, ffn.down);
}

uint32_t inner_groups_per_item(const GatedFfn& ffn, uint32_t n_workers) {
  return groups_per_item(ffn.gate, n_workers, 32 / kRowsPerGroup);
}

void gate_up_item(Pass& pass, const GatedFfn& ffn, uint32_t plane, uint32_t group_begin,
                  uint32_t group_end, const ActivationRows& x, const uint32_t* ids, uint32_t n,
                  const ActivationBuffer& inner, size_t inner_begin) {
  const KernelTable& kernels = pass.kernels;
  const Workspace& ws = pass.ws;
  const uint32_t col_begin = group_begin * kRowsPerGroup;
  const uint32_t col_end = std::min(group_end * kRowsPerGroup, ffn.ffn_dim());
  const bool quantize = reads_q8(ffn.down);
  const float* gate_bias = plane_bias(ffn.gate_bias, plane, ffn.ffn_dim());
  const float* up_bias = plane_bias(ffn.up_bias, plane, ffn.ffn_dim());
  const auto activate =
      ffn.activation == Activation::swiglu ? kernels.swiglu : kernels.swiglu_clamped;
  float* up = ws.up + size_t{pass.worker.index()} * Workspace::kUpRows * ws.up_stride;
  // The tile of weights stays in cache while blocks of rows pass over it.
  for (uint32_t first = 0; first < n; first += Workspace::kUpRows) {
    const uint32_t n_block = std::min(Workspace::kUpRows, n - first);
    const ActivationRows rows = ids != nullptr ? x : x.from(first);
    const uint32_t* block_ids = ids != nullptr ? ids + first : nullptr;
    float* gate = inner.row(inner_begin + first);
    kernels.matmul(ffn.gate, plane, group_begin, group_end, rows, block_ids, n_block, gate,
                   inner.stride);
    add_bias(pass, ffn.gate, gate_bias, group_begin, group_end, n_block, gate, inner.stride);
    kernels.matmul(ffn.up, plane, group_begin, group_end, rows, block_ids, n_block, up,
                   ws.up_stride);
    add_bias(pass, ffn.up, up_bias, group_begin, group_end, n_block, up, ws.up_stride);
    for (uint32_t i = 0; i < n_block; ++i) {
      float* out = gate + size_t{i} * inner.stride + col_begin;
      activate(out, up + size_t{i} * ws.up_stride + col_begin, out, col_end - col_begin);
      if (quantize) inner.quantize(kernels, inner_begin + first + i, col_begin, col_end);
    }
  }
}

Stage gate_up(Pass& pass, Stages after, const GatedFfn& ffn, const ActivationRows& x,
              const ActivationBuffer& inner, LedgerClass kind) {
  const uint32_t n_rows = pass.n_rows();
  if (pass.ledger != nullptr) {
    count_matrix(pass, ffn.gate, n_rows, kind);
    count_matrix(pass, ffn.up, n_rows, kind);
  }
  return pass.worker.chunks(
      after, ffn.gate.n_groups, inner_groups_per_item(ffn, pass.worker.count()),
      [&](uint32_t begin, uint32_t end) {
        gate_up_item(pass, ffn, 0, begin, end, x, nullptr, n_rows, inner, 0);
      },
      [&](uint32_t begin, uint32_t end, uint32_t k) {
        return fetch_ahead(ffn.gate, 0, begin, end, k);
      });
}

Stage run_dense_ffn(Pass& pass, Stage input, const DenseFfn& dense) {
  const GatedFfn& ffn = dense.ffn;
  Workspace& ws = pass.ws;
  const Stage inner = gate_up(pass, {input}, ffn, ws.input.rows(), ws.dense_inner, kDenseClass);
  return project(pass, {inner},
                 {{ffn.down, ws.dense_inner.rows(), pass.n_rows(), ws.branch, ffn.down.n_rows,
                   kDenseClass, ffn.down_bias}});
}

}  // namespace floe
