#pragma once
// A mixture-of-experts layer: every row goes to a few routed experts and, in some models, to a
// shared one.
//
// Rows are grouped by expert, so that an expert's weights leave memory once per forward however
// many rows chose it. Each (row, expert) pair has an output of its own; a row's outputs are summed
// in the rank order of its experts, so its bits do not depend on who else is in the batch.
#include <cstdint>
#include <string>

#include "model/ffn.h"
#include "model/hparams.h"
#include "model/pass.h"
#include "model/router.h"
#include "model/weights.h"

namespace floe {

struct MoeFfn {
  RouterRules rules;
  PackedMatrix router;                 // [n_experts][hidden_dim], F32
  const float* router_bias = nullptr;  // [n_experts], part of the logits; null: none
  GatedFfn experts;                    // one plane per expert
  bool has_shared = false;
  GatedFfn shared;

  bool input_reads_q8() const {
    return experts.input_reads_q8() || reads_q8(router) || (has_shared && shared.input_reads_q8());
  }
};

// How the hyperparameters' experts route where the file does not say.
struct RouterDefaults {
  Gating gating = Gating::softmax;
  bool normalise = false;  // even where expert_weights_norm is absent
};

// Tensors PREFIX.ffn_gate_inp, ffn_*_exps, exp_probs_b.bias (if there), ffn_*_shexp (where
// expert_shared_count is not 0). The number of experts is the router's number of rows.
Result<void> load_moe(const Hparams& hparams, const std::string& prefix, uint32_t expert_ffn_dim,
                      const RouterDefaults& defaults, WeightLoader& loader, MoeFfn& moe);

// From ws.input, complete after `input`, to ws.pair_outputs and ws.shared_outputs, complete after
// the stage returned.
Stage run_moe(Pass& pass, Stage input, const MoeFfn& moe);

// After that: adds the row's weighted expert outputs, and the shared expert's, to
// out[hidden_dim]. ws.branch row `row` is scratch.
void add_moe_row(Pass& pass, const MoeFfn& moe, uint32_t row, float* out);

}  // namespace floe
