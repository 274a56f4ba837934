#include "model/moe.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "model/architecture.h"

namespace floe {

namespace {

struct MoeScratch final : LayerScratch {
  uint32_t shared_dim = 0;
  uint32_t expert_dim = 0;
  uint32_t n_experts = 0;  // of the widest layer, as n_active
  uint32_t n_active = 0;
  ActivationBuffer shared_inner;     // [R][shared ffn_dim]
  ActivationBuffer routed_inner;     // [R * n_active][expert ffn_dim]
  float* router_logits = nullptr;    // f32 [R][n_experts]
  float* router_scratch = nullptr;   // f32 [worker][3][n_experts]
  uint32_t* chosen = nullptr;        // as in SortedPairs
  float* chosen_weights = nullptr;   // f32 [R][n_active]
  uint32_t* pair_of = nullptr;       // as in SortedPairs
  uint32_t* pair_rows = nullptr;     // u32 [R * n_active], row of a sorted pair
  uint32_t* expert_begin = nullptr;  // as in SortedPairs
  uint32_t* used_experts = nullptr;  // as in SortedPairs, [n_experts]
  float* pair_outputs = nullptr;     // f32 [R * n_active][hidden_dim]
  float* shared_outputs = nullptr;   // f32 [R][hidden_dim]

  SortedPairs pairs() const { return {chosen, pair_of, expert_begin, used_experts}; }

  void carve(Carver& carver, const WorkspaceLimits& limits) override {
    const uint64_t n_rows = limits.max_rows;
    const uint64_t n_pairs = n_rows * n_active;
    carver.activations(shared_inner, n_rows, shared_dim);
    carver.activations(routed_inner, n_pairs, expert_dim);
    carver.array(router_logits, n_rows * n_experts);
    carver.array(router_scratch, uint64_t{limits.n_workers} * 3 * n_experts);
    carver.array(chosen, n_pairs);
    carver.array(chosen_weights, n_pairs);
    carver.array(pair_of, n_pairs);
    carver.array(pair_rows, n_pairs);
    carver.array(expert_begin, n_experts + 1);
    carver.array(used_experts, n_experts);
    carver.array(pair_outputs, n_pairs * limits.hidden_dim);
    carver.array(shared_outputs, shared_dim != 0 ? n_rows * limits.hidden_dim : 0);
  }
};

MoeScratch& scratch_of(const Pass& pass) {
  return pass.ws.scratches.get<MoeScratch>();
}

void route_row(Pass& pass, const MoeFfn& moe, uint32_t row) {
  const MoeScratch& ws = scratch_of(pass);
  const uint32_t k = moe.rules.n_active;
  choose_experts(pass.kernels, moe.rules, ws.router_logits + size_t{row} * moe.rules.n_experts,
                 ws.chosen + size_t{row} * k, ws.chosen_weights + size_t{row} * k,
                 ws.router_scratch + size_t{pass.worker.index()} * 3 * ws.n_experts);
}

// Counting sort of the (row, chosen expert) pairs by expert; rows ascend within an expert. Returns
// the number of experts that have pairs.
uint32_t sort_pairs(Pass& pass, const MoeFfn& moe) {
  const MoeScratch& ws = scratch_of(pass);
  const uint32_t n_experts = moe.rules.n_experts;
  const uint32_t k = moe.rules.n_active;
  const uint32_t n_pairs = pass.n_rows() * k;
  uint32_t* begin = ws.expert_begin;
  std::memset(begin, 0, (n_experts + 1) * sizeof(uint32_t));
  for (uint32_t i = 0; i < n_pairs; ++i) ++begin[ws.chosen[i] + 1];
  uint32_t n_used = 0;
  for (uint32_t e = 0; e < n_experts; ++e) {
    if (begin[e + 1] != 0) ws.used_experts[n_used++] = e;
    begin[e + 1] += begin[e];
  }
  // begin[e] serves as the next free place of expert e, and is moved back by one expert afterwards.
  for (uint32_t i = 0; i < n_pairs; ++i) {
    const uint32_t place = begin[ws.chosen[i]]++;
    ws.pair_of[i] = place;
    ws.pair_rows[place] = i / k;
  }
  for (uint32_t e = n_experts; e > 0; --e) begin[e] = begin[e - 1];
  begin[0] = 0;
  return n_used;
}

constinit ExpertReads expert_reads{
    [](uint32_t n_used, uint32_t) { return n_used; },
    [](const SortedPairs& pairs, uint32_t index) {
      const uint32_t expert = pairs.used_experts[index];
      const uint32_t first = pairs.expert_begin[expert];
      return ExpertRead{expert, first, pairs.expert_begin[expert + 1] - first};
    }};

void count_experts(Pass& pass, const MoeFfn& moe, const GatedFfn& experts, uint64_t n_used,
                   uint64_t n_reads) {
  ByteLedger& ledger = *pass.ledger;
  ledger.routed_bytes += n_reads * (experts.gate.plane_bytes() + experts.up.plane_bytes() +
                                    experts.down.plane_bytes());
  ledger.routed_macs +=
      uint64_t{pass.n_rows()} * moe.rules.n_active * 3 * experts.ffn_dim() * experts.gate.n_cols;
  ledger.experts_union += n_used;
  ledger.n_moe_layers += 1;
}

}  // namespace

void set_expert_reads(const ExpertReads& reads) {
  expert_reads = reads;
}

Result<ResidentExperts*> load_moe(const Hparams& hparams, const std::string& prefix,
                                  uint32_t expert_ffn_dim, const RouterDefaults& defaults,
                                  WeightLoader& loader, MoeFfn& moe) {
  if (expert_ffn_dim == 0) {
    return hparam_error(hparams, "expert_feed_forward_length", "a value", "no such key");
  }
  const uint32_t hidden_dim = hparams.hidden_dim;
  const std::string router_name = prefix + "ffn_gate_inp.weight";
  FLOE_TRY(const uint32_t n_experts, loader.count_rows(router_name, hidden_dim));
  if (n_experts < hparams.n_active_experts) {
    return model_error("{}: tensor {}: expected at least expert_used_count {} rows, found {}",
                       loader.file_of(router_name).source(), router_name, hparams.n_active_experts,
                       n_experts);
  }
  RouterRules& rules = moe.rules;
  rules.n_experts = n_experts;
  rules.n_active = hparams.n_active_experts;
  rules.gating = hparams.expert_gating == 0   ? defaults.gating
                 : hparams.expert_gating == 1 ? Gating::softmax
                 : hparams.expert_gating == 2 ? Gating::sigmoid
                                              : Gating::softmax_selected;
  rules.normalise = defaults.normalise || hparams.normalise_expert_weights;
  rules.scale = hparams.expert_scale;
  rules.n_groups = hparams.n_expert_groups;
  rules.n_active_groups = hparams.n_active_expert_groups;
  if (n_experts % rules.n_groups != 0) {
    return hparam_error(hparams, "expert_group_count",
                        fmt::format("a divisor of the {} experts of {}", n_experts, router_name),
                        fmt::format("{}", rules.n_groups));
  }
  if (rules.n_active > n_experts / rules.n_groups * rules.n_active_groups) {
    return hparam_error(hparams, "expert_group_used_count",
                        fmt::format("enough groups of {} for {} active experts",
                                    n_experts / rules.n_groups, rules.n_active),
                        fmt::format("{}", rules.n_active_groups));
  }
  FLOE_TRY_VOID(loader.matrix(router_name, hidden_dim, n_experts, moe.router, KeepAs::f32));
  if (loader.has(prefix + "exp_probs_b.bias")) {
    FLOE_TRY_VOID(loader.vector(prefix + "exp_probs_b.bias", n_experts, rules.correction_bias));
  }
  auto made = std::make_unique<ResidentExperts>();
  ResidentExperts* experts = made.get();
  moe.experts = std::move(made);
  experts->n_experts = n_experts;
  FLOE_TRY_VOID(
      loader.experts(prefix, "gate", hidden_dim, expert_ffn_dim, n_experts, experts->gate));
  FLOE_TRY_VOID(loader.experts(prefix, "up", hidden_dim, expert_ffn_dim, n_experts, experts->up));
  FLOE_TRY_VOID(
      loader.experts(prefix, "down", expert_ffn_dim, hidden_dim, n_experts, experts->down));
  moe.has_shared = hparams.n_shared_experts != 0;
  if (moe.has_shared) {
    FLOE_TRY_VOID(load_gated_ffn(prefix, "_shexp", hidden_dim,
                                 hparams.n_shared_experts * expert_ffn_dim, loader, moe.shared));
  }
  return experts;
}

Result<void> load_dense_or_moe(const Hparams& hparams, uint32_t index,
                               const RouterDefaults& defaults, WeightLoader& loader, Layer& layer) {
  const std::string prefix = layer_prefix(index);
  if (hparams.n_experts == 0 || index < hparams.n_leading_dense) {
    return load_gated_ffn(prefix, "", hparams.hidden_dim, hparams.ffn_dim, loader,
                          layer.make_ffn<DenseFfn>().ffn);
  }
  FLOE_TRY_VOID(load_moe(hparams, prefix, hparams.expert_ffn_dim, defaults, loader,
                         layer.make_ffn<MoeFfn>()));
  return {};
}

bool MoeFfn::input_reads_q8() const {
  return experts->shape().input_reads_q8() || reads_q8(router) ||
         (has_shared && shared.input_reads_q8());
}

void MoeFfn::visit_matrices(const MatrixVisitor& visit) const {
  visit(router, kDenseClass);
  experts->visit_matrices(visit);
  if (!has_shared) return;
  for (const PackedMatrix* matrix : {&shared.gate, &shared.up, &shared.down}) {
    visit(*matrix, kSharedClass);
  }
}

void MoeFfn::plan(LayerScratches& scratches) const {
  auto& scratch = scratches.add<MoeScratch>();
  const GatedFfn expert = experts->shape();
  same_width(scratch.expert_dim, expert.ffn_dim());
  widen(scratch.n_experts, rules.n_experts);
  widen(scratch.n_active, rules.n_active);
  plan_gate_up(expert, scratches);
  if (!has_shared) return;
  same_width(scratch.shared_dim, shared.ffn_dim());
  plan_gate_up(shared, scratches);
}

Stage MoeFfn::run(Pass& pass, Stage input) const {
  const MoeScratch& ws = scratch_of(pass);
  Worker& worker = pass.worker;
  const uint32_t n_rows = pass.n_rows();
  const ActivationRows x = pass.ws.input.rows();
  const GatedFfn shape = experts->shape();
  const uint32_t hidden_dim = shape.down.n_rows;

  const Stage logits =
      project(pass, {input},
              {{router, x, n_rows, ws.router_logits, rules.n_experts, kDenseClass, router_bias}});
  const Stage routed = each_row(pass, {logits}, [&](uint32_t row) { route_row(pass, *this, row); });
  const Stage sorted = worker.compute({routed}, [&] {
    if (pass.routing_log != nullptr) {
      pass.routing_log->insert(pass.routing_log->end(), ws.chosen,
                               ws.chosen + size_t{n_rows} * rules.n_active);
    }
    return sort_pairs(pass, *this);
  });
  // The shared expert needs no routing: its first half runs while one worker sorts.
  Stage shared_inner = input;
  if (has_shared) shared_inner = gate_up(pass, {input}, shared, x, ws.shared_inner, kSharedClass);

  // One queue over (expert, tile of gate and up), then one over (expert, tile of down). Slower
  // workers may come here when the next layer is sorting: nothing of this layer's sort is read
  // without an item in hand.
  const uint32_t n_used = worker.value(sorted);
  worker.wait(experts->arrive(pass, sorted, ws.used_experts, n_used));
  const uint32_t n_reads = expert_reads.count(n_used, n_rows * rules.n_active);
  struct Item {
    uint32_t expert, begin, end, first_pair, n_pairs;
  };
  const auto item_of = [&](uint32_t item, const PackedMatrix& matrix, uint32_t step) {
    const uint32_t n_tiles = (matrix.n_groups + step - 1) / step;
    const ExpertRead read = expert_reads.at(ws.pairs(), item / n_tiles);
    const uint32_t begin = item % n_tiles * step;
    return Item{read.expert, begin, std::min(begin + step, matrix.n_groups), read.first_pair,
                read.n_pairs};
  };
  const uint32_t inner_step = inner_groups_per_item(shape, worker.count());
  const uint32_t n_inner_tiles = (shape.gate.n_groups + inner_step - 1) / inner_step;
  const Stage inner = worker.chunks(n_reads * n_inner_tiles, 1, [&](uint32_t index, uint32_t) {
    const Item item = item_of(index, shape.gate, inner_step);
    gate_up_item(pass, experts->expert(item.expert), item.begin, item.end, x,
                 ws.pair_rows + item.first_pair, item.n_pairs, ws.routed_inner, item.first_pair);
  });
  Stage shared_outputs = inner;
  if (has_shared) {
    shared_outputs = project(pass, {shared_inner},
                             {{shared.down, ws.shared_inner.rows(), n_rows, ws.shared_outputs,
                               hidden_dim, kSharedClass, shared.down_bias}});
  }
  const uint32_t down_step = groups_per_item(shape.down, worker.count());
  const uint32_t n_down_tiles = (shape.down.n_groups + down_step - 1) / down_step;
  const Stage outputs = worker.chunks(
      {inner, shared_outputs}, n_reads * n_down_tiles, 1,
      [&](uint32_t index, uint32_t) {
        const Item item = item_of(index, shape.down, down_step);
        const GatedFfn expert = experts->expert(item.expert);
        float* out = ws.pair_outputs + size_t{item.first_pair} * hidden_dim;
        pass.kernels.matmul(expert.down, 0, item.begin, item.end,
                            ws.routed_inner.rows(item.first_pair), nullptr, item.n_pairs, out,
                            hidden_dim);
        add_bias(pass, expert.down, expert.down_bias, item.begin, item.end, item.n_pairs, out,
                 hidden_dim);
      },
      [&](uint32_t index, uint32_t, uint32_t k) {
        const Item item = item_of(index, shape.down, down_step);
        return fetch_ahead(experts->expert(item.expert).down, 0, item.begin, item.end, k);
      });
  if (pass.ledger != nullptr) count_experts(pass, *this, shape, n_used, n_reads);
  return outputs;
}

void MoeFfn::add_row(Pass& pass, uint32_t row, float* out) const {
  const MoeScratch& ws = scratch_of(pass);
  const uint32_t hidden_dim = pass.ws.limits.hidden_dim;
  const uint32_t k = rules.n_active;
  float* sum = pass.ws.branch + size_t{row} * hidden_dim;
  std::memset(sum, 0, hidden_dim * sizeof(float));
  for (uint32_t j = 0; j < k; ++j) {
    const size_t pair = ws.pair_of[size_t{row} * k + j];
    pass.kernels.axpy(ws.chosen_weights[size_t{row} * k + j], ws.pair_outputs + pair * hidden_dim,
                      sum, hidden_dim);
  }
  if (has_shared) {
    pass.kernels.add(ws.shared_outputs + size_t{row} * hidden_dim, sum, hidden_dim);
  }
  pass.kernels.add(sum, out, hidden_dim);
}

}  // namespace floe
