#include "model/gated_ffn.h"

namespace floe {

namespace {

constexpr uint32_t kTileRows = 32;  // FFN rows that share an unpacked tile of weights

struct GateUpScratch final : LayerScratch {
  uint32_t ffn_dim = 0;  // the widest
  float* up = nullptr;   // f32 [worker][kTileRows][ffn_dim]

  void carve(Carver& carver, const WorkspaceLimits& limits) override {
    carver.array(up, uint64_t{limits.n_workers} * kTileRows * ffn_dim);
  }
};

struct DenseScratch final : LayerScratch {
  uint32_t ffn_dim = 0;
  ActivationBuffer inner;  // [R][ffn_dim]

  void carve(Carver& carver, const WorkspaceLimits& limits) override {
    carver.activations(inner, limits.max_rows, ffn_dim);
  }
};

}  // namespace

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

void plan_gate_up(const GatedFfn& ffn, LayerScratches& scratches) {
  widen(scratches.add<GateUpScratch>().ffn_dim, ffn.ffn_dim());
}

void gate_up_item(Pass& pass, const GatedFfn& ffn, uint32_t group_begin, uint32_t group_end,
                  const ActivationRows& x, const uint32_t* ids, uint32_t n,
                  const ActivationBuffer& inner, size_t inner_begin) {
  const KernelTable& kernels = pass.kernels;
  const GateUpScratch& scratch = pass.ws.scratches.get<GateUpScratch>();
  const size_t up_stride = scratch.ffn_dim;
  const uint32_t col_begin = group_begin * kRowsPerGroup;
  const uint32_t col_end = std::min(group_end * kRowsPerGroup, ffn.ffn_dim());
  const bool quantize = reads_q8(ffn.down);
  const auto activate =
      ffn.activation == Activation::swiglu ? kernels.swiglu : kernels.swiglu_clamped;
  float* up = scratch.up + size_t{pass.worker.index()} * kTileRows * up_stride;
  // The tile of weights stays in cache while blocks of rows pass over it.
  for (uint32_t first = 0; first < n; first += kTileRows) {
    const uint32_t n_block = std::min(kTileRows, n - first);
    const ActivationRows rows = ids != nullptr ? x : x.from(first);
    const uint32_t* block_ids = ids != nullptr ? ids + first : nullptr;
    float* gate = inner.row(inner_begin + first);
    kernels.matmul(ffn.gate, 0, group_begin, group_end, rows, block_ids, n_block, gate,
                   inner.stride);
    add_bias(pass, ffn.gate, ffn.gate_bias, group_begin, group_end, n_block, gate, inner.stride);
    kernels.matmul(ffn.up, 0, group_begin, group_end, rows, block_ids, n_block, up, up_stride);
    add_bias(pass, ffn.up, ffn.up_bias, group_begin, group_end, n_block, up, up_stride);
    for (uint32_t i = 0; i < n_block; ++i) {
      float* out = gate + size_t{i} * inner.stride + col_begin;
      activate(out, up + size_t{i} * up_stride + col_begin, out, col_end - col_begin);
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
        gate_up_item(pass, ffn, begin, end, x, nullptr, n_rows, inner, 0);
      },
      [&](uint32_t begin, uint32_t end, uint32_t k) {
        return fetch_ahead(ffn.gate, 0, begin, end, k);
      });
}

void DenseFfn::visit_matrices(const MatrixVisitor& visit) const {
  for (const PackedMatrix* matrix : {&ffn.gate, &ffn.up, &ffn.down}) visit(*matrix, kDenseClass);
}

void DenseFfn::plan(LayerScratches& scratches) const {
  same_width(scratches.add<DenseScratch>().ffn_dim, ffn.ffn_dim());
  plan_gate_up(ffn, scratches);
}

Stage DenseFfn::run(Pass& pass, Stage input) const {
  const ActivationBuffer& inner = pass.ws.scratches.get<DenseScratch>().inner;
  const Stage activated = gate_up(pass, {input}, ffn, pass.ws.input.rows(), inner, kDenseClass);
  return project(pass, {activated},
                 {{ffn.down, inner.rows(), pass.n_rows(), pass.ws.branch, ffn.down.n_rows,
                   kDenseClass, ffn.down_bias}});
}

void DenseFfn::add_row(Pass& pass, uint32_t row, float* out) const {
  pass.kernels.add(pass.ws.branch + size_t{row} * ffn.down.n_rows, out, ffn.down.n_rows);
}

}  // namespace floe
