#pragma once
// The gated feed-forward network: down( silu(gate x) * up x ), in some models with biases and
// another activation. Dense layers, shared experts and routed experts are all made of these two
// steps.
#include <cstdint>
#include <string>

#include "model/ffn.h"
#include "model/weights.h"

namespace floe {

enum class Activation : uint8_t {
  swiglu,          // silu(gate) * up
  swiglu_clamped,  // KernelTable::swiglu_clamped
};

struct GatedFfn {
  PackedMatrix gate;  // [ffn_dim][hidden_dim]
  PackedMatrix up;    // [ffn_dim][hidden_dim]
  PackedMatrix down;  // [hidden_dim][ffn_dim]
  // Null: none.
  const float* gate_bias = nullptr;  // [ffn_dim]
  const float* up_bias = nullptr;    // [ffn_dim]
  const float* down_bias = nullptr;  // [hidden_dim]
  Activation activation = Activation::swiglu;

  uint32_t ffn_dim() const { return gate.n_rows; }
  bool input_reads_q8() const { return reads_q8(gate) || reads_q8(up); }
};

// A layer that is one such network.
struct DenseFfn final : Ffn {
  GatedFfn ffn;

  bool input_reads_q8() const override { return ffn.input_reads_q8(); }
  void visit_matrices(const MatrixVisitor& visit) const override;
  void plan(LayerScratches& scratches) const override;
  Stage run(Pass& pass, Stage input) const override;
  void add_row(Pass& pass, uint32_t row, float* out) const override;
};

// Tensors PREFIX.ffn_{gate,up,down}SUFFIX.weight.
Result<void> load_gated_ffn(const std::string& prefix, const std::string& suffix,
                            uint32_t hidden_dim, uint32_t ffn_dim, WeightLoader& loader,
                            GatedFfn& ffn);

// Row groups of gate and up that one item takes: whole 32-column blocks of the inner vector, which
// the item quantises itself.
uint32_t inner_groups_per_item(const GatedFfn& ffn, uint32_t n_workers);

// Asks for the memory that gate_up_item() works in.
void plan_gate_up(const GatedFfn& ffn, LayerScratches& scratches);

// One stage: the inner rows for all rows of x. `kind` is what the weights count as.
Stage gate_up(Pass& pass, Stages after, const GatedFfn& ffn, const ActivationRows& x,
              const ActivationBuffer& inner, LedgerClass kind);

// inner rows [inner_begin, inner_begin + n) <- activation of gate x and up x for the columns of row
// groups [group_begin, group_end); input row i is ids[i], or i where ids is null.
void gate_up_item(Pass& pass, const GatedFfn& ffn, uint32_t group_begin, uint32_t group_end,
                  const ActivationRows& x, const uint32_t* ids, uint32_t n,
                  const ActivationBuffer& inner, size_t inner_begin);

}  // namespace floe
