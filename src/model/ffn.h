#pragma once
// The gated feed-forward network: down( silu(gate x) * up x ), in some models with biases and
// another activation. Dense layers, shared experts and routed experts are all made of these two
// steps.
#include <cstdint>
#include <string>

#include "model/pass.h"
#include "model/weights.h"

namespace floe {

enum class Activation : uint8_t {
  swiglu,          // silu(gate) * up
  swiglu_clamped,  // KernelTable::swiglu_clamped
};

// One FFN, or a stack of them (one plane per expert).
struct GatedFfn {
  PackedMatrix gate;  // planes x [ffn_dim][hidden_dim]
  PackedMatrix up;    // planes x [ffn_dim][hidden_dim]
  PackedMatrix down;  // planes x [hidden_dim][ffn_dim]
  // Null: none.
  const float* gate_bias = nullptr;  // [planes][ffn_dim]
  const float* up_bias = nullptr;    // [planes][ffn_dim]
  const float* down_bias = nullptr;  // [planes][hidden_dim]
  Activation activation = Activation::swiglu;

  uint32_t ffn_dim() const { return gate.n_rows; }
  bool input_reads_q8() const { return reads_q8(gate) || reads_q8(up); }
};

struct DenseFfn {
  GatedFfn ffn;
};

// Tensors PREFIX.ffn_{gate,up,down}SUFFIX.weight.
Result<void> load_gated_ffn(const std::string& prefix, const std::string& suffix,
                            uint32_t hidden_dim, uint32_t ffn_dim, WeightLoader& loader,
                            GatedFfn& ffn);

// Row groups of gate and up that one item takes: whole 32-column blocks of the inner vector, which
// the item quantises itself.
uint32_t inner_groups_per_item(const GatedFfn& ffn, uint32_t n_workers);

// One stage: the inner rows of a single FFN for all rows of x. `kind` is what the weights count as.
Stage gate_up(Pass& pass, Stages after, const GatedFfn& ffn, const ActivationRows& x,
              const ActivationBuffer& inner, LedgerClass kind);

// The bias of one plane of a stack of biases of n values each, null where there is none.
inline const float* plane_bias(const float* biases, uint32_t plane, uint32_t n) {
  return biases != nullptr ? biases + size_t{plane} * n : nullptr;
}

// inner rows [inner_begin, inner_begin + n) <- activation of gate x and up x for the columns of row
// groups [group_begin, group_end) of one plane; input row i is ids[i], or i where ids is null.
void gate_up_item(Pass& pass, const GatedFfn& ffn, uint32_t plane, uint32_t group_begin,
                  uint32_t group_end, const ActivationRows& x, const uint32_t* ids, uint32_t n,
                  const ActivationBuffer& inner, size_t inner_begin);

// From ws.input, complete after `input`, to ws.branch, complete after the stage returned.
Stage run_dense_ffn(Pass& pass, Stage input, const DenseFfn& dense);

}  // namespace floe
