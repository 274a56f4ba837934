#pragma once
// A mixture-of-experts layer: every row goes to a few routed experts and, in some models, to a
// shared one.
//
// Rows are grouped by expert, so that an expert's weights are read from memory once per forward,
// however many rows chose it. Each (row, expert) pair has an output of its own, and a row's outputs
// are summed from the expert with the highest score down, so that its bits do not depend on the
// other rows of the batch.
#include <cstdint>
#include <memory>
#include <string>

#include "model/experts.h"
#include "model/gated_ffn.h"
#include "model/hparams.h"
#include "model/network.h"
#include "model/router.h"
#include "model/weights.h"

namespace floe {

struct MoeFfn final : Ffn {
  RouterRules rules;
  PackedMatrix router;                 // [n_experts][hidden_dim], F32
  const float* router_bias = nullptr;  // [n_experts], part of the logits; null: none
  std::unique_ptr<RoutedExperts> experts;
  bool has_shared = false;
  GatedFfn shared;

  bool input_reads_q8() const override;
  void visit_matrices(const MatrixVisitor& visit) const override;
  void plan(LayerScratches& scratches) const override;
  Routing routing() const override { return {rules.n_experts, rules.n_active}; }
  Stage run(Pass& pass, Stage input) const override;
  void add_row(Pass& pass, uint32_t row, float* out) const override;
};

// How the hyperparameters' experts route where the file does not say.
struct RouterDefaults {
  Gating gating = Gating::softmax;
  bool normalise = false;  // even where expert_weights_norm is absent
};

// Tensors PREFIX.ffn_gate_inp, ffn_*_exps, exp_probs_b.bias (if there), ffn_*_shexp (where
// expert_shared_count is not 0). The number of experts is the router's number of rows. Returns the
// experts, which moe owns.
Result<ResidentExperts*> load_moe(const Hparams& hparams, const std::string& prefix,
                                  uint32_t expert_ffn_dim, const RouterDefaults& defaults,
                                  WeightLoader& loader, MoeFfn& moe);

// The network of layer `index`: dense where the model has no experts and in its first
// n_leading_dense layers, else experts of expert_ffn_dim.
Result<void> load_dense_or_moe(const Hparams& hparams, uint32_t index,
                               const RouterDefaults& defaults, WeightLoader& loader, Layer& layer);

// The (row, chosen expert) pairs of a layer, sorted by expert, rows ascending within an expert.
struct SortedPairs {
  const uint32_t* chosen;        // u32 [R][n_active], experts in rank order
  const uint32_t* pair_of;       // u32 [R][n_active], position among the sorted pairs
  const uint32_t* expert_begin;  // u32 [n_experts + 1], first sorted pair of each expert
  const uint32_t* used_experts;  // u32 [n_used], experts with pairs, ascending
};
// The sorted pairs [first_pair, first_pair + n_pairs) that one read of an expert's weights serves.
struct ExpertRead {
  uint32_t expert, first_pair, n_pairs;
};
// How the pairs are shared out over reads: each expert is read once for all its pairs, unless an
// experiment (bench/experiments) has set something else before the first forward.
struct ExpertReads {
  uint32_t (*count)(uint32_t n_used, uint32_t n_pairs);
  ExpertRead (*at)(const SortedPairs& pairs, uint32_t index);  // index below count()
};
void set_expert_reads(const ExpertReads& reads);

}  // namespace floe
