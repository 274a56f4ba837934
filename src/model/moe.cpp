#include "model/moe.h"

#include <cstring>

namespace floe {

namespace {

void route_row(Pass& pass, const MoeFfn& moe, uint32_t row) {
  Workspace& ws = pass.ws;
  const uint32_t k = moe.rules.n_active;
  choose_experts(pass.kernels, moe.rules, ws.router_logits + size_t{row} * moe.rules.n_experts,
                 ws.chosen + size_t{row} * k, ws.chosen_weights + size_t{row} * k,
                 ws.router_scratch + size_t{pass.worker.index()} * 3 * ws.router_stride);
}

// Counting sort of the (row, chosen expert) pairs by expert; rows ascend within an expert. Returns
// the number of experts that have pairs.
uint32_t sort_pairs(Pass& pass, const MoeFfn& moe) {
  Workspace& ws = pass.ws;
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

// What one read of an expert's weights serves: the rows that chose it.
struct ExpertRead {
  uint32_t expert, first_pair, n_pairs;
};

#if defined(FLOE_PER_ROW_EXPERTS)
// The experiment: every pair reads for itself, rows ascending.
uint32_t count_reads(const Pass& pass, const MoeFfn& moe, uint32_t) {
  return pass.n_rows() * moe.rules.n_active;
}
ExpertRead expert_read(const Workspace& ws, uint32_t index) {
  return {ws.chosen[index], ws.pair_of[index], 1};
}
#else
uint32_t count_reads(const Pass&, const MoeFfn&, uint32_t n_used) {
  return n_used;
}
ExpertRead expert_read(const Workspace& ws, uint32_t index) {
  const uint32_t expert = ws.used_experts[index];
  const uint32_t first = ws.expert_begin[expert];
  return {expert, first, ws.expert_begin[expert + 1] - first};
}
#endif

void count_experts(Pass& pass, const MoeFfn& moe, uint64_t n_used, uint64_t n_reads) {
  ByteLedger& ledger = *pass.ledger;
  const GatedFfn& experts = moe.experts;
  ledger.routed_bytes += n_reads * (experts.gate.plane_bytes() + experts.up.plane_bytes() +
                                    experts.down.plane_bytes());
  ledger.routed_macs +=
      uint64_t{pass.n_rows()} * moe.rules.n_active * 3 * experts.ffn_dim() * experts.gate.n_cols;
  ledger.experts_union += n_used;
  ledger.n_moe_layers += 1;
}

}  // namespace

Result<void> load_moe(const Hparams& hparams, const std::string& prefix, uint32_t expert_ffn_dim,
                      const RouterDefaults& defaults, WeightLoader& loader, MoeFfn& moe) {
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
  FLOE_TRY_VOID(
      loader.experts(prefix, "gate", hidden_dim, expert_ffn_dim, n_experts, moe.experts.gate));
  FLOE_TRY_VOID(
      loader.experts(prefix, "up", hidden_dim, expert_ffn_dim, n_experts, moe.experts.up));
  FLOE_TRY_VOID(
      loader.experts(prefix, "down", expert_ffn_dim, hidden_dim, n_experts, moe.experts.down));
  moe.has_shared = hparams.n_shared_experts != 0;
  if (!moe.has_shared) return {};
  return load_gated_ffn(prefix, "_shexp", hidden_dim, hparams.n_shared_experts * expert_ffn_dim,
                        loader, moe.shared);
}

Stage run_moe(Pass& pass, Stage input, const MoeFfn& moe) {
  Workspace& ws = pass.ws;
  Worker& worker = pass.worker;
  const uint32_t n_rows = pass.n_rows();
  const ActivationRows x = ws.input.rows();
  const GatedFfn& experts = moe.experts;
  const uint32_t hidden_dim = experts.down.n_rows;

  const Stage logits = project(pass, {input},
                               {{moe.router, x, n_rows, ws.router_logits, moe.rules.n_experts,
                                 kDenseClass, moe.router_bias}});
  const Stage routed = each_row(pass, {logits}, [&](uint32_t row) { route_row(pass, moe, row); });
  const Stage sorted = worker.compute({routed}, [&] {
    if (pass.routing_log != nullptr) {
      pass.routing_log->insert(pass.routing_log->end(), ws.chosen,
                               ws.chosen + size_t{n_rows} * moe.rules.n_active);
    }
    return sort_pairs(pass, moe);
  });
  // The shared expert needs no routing: its first half runs while one worker sorts.
  Stage shared_inner = input;
  if (moe.has_shared) {
    shared_inner = gate_up(pass, {input}, moe.shared, x, ws.shared_inner, kSharedClass);
  }

  // One queue over (expert, tile of gate and up), then one over (expert, tile of down). Slower
  // workers may come here when the next layer is sorting: nothing of this layer's sort is read
  // without an item in hand.
  const uint32_t n_used = worker.value(sorted);
  const uint32_t n_reads = count_reads(pass, moe, n_used);
  struct Item {
    uint32_t expert, begin, end, first_pair, n_pairs;
  };
  const auto item_of = [&](uint32_t item, const PackedMatrix& matrix, uint32_t step) {
    const uint32_t n_tiles = (matrix.n_groups + step - 1) / step;
    const ExpertRead read = expert_read(ws, item / n_tiles);
    const uint32_t begin = item % n_tiles * step;
    return Item{read.expert, begin, std::min(begin + step, matrix.n_groups), read.first_pair,
                read.n_pairs};
  };
  const uint32_t inner_step = inner_groups_per_item(experts, worker.count());
  const uint32_t n_inner_tiles = (experts.gate.n_groups + inner_step - 1) / inner_step;
  const Stage inner = worker.chunks(n_reads * n_inner_tiles, 1, [&](uint32_t index, uint32_t) {
    const Item item = item_of(index, experts.gate, inner_step);
    gate_up_item(pass, experts, item.expert, item.begin, item.end, x,
                 ws.pair_rows + item.first_pair, item.n_pairs, ws.routed_inner, item.first_pair);
  });
  Stage shared_outputs = inner;
  if (moe.has_shared) {
    shared_outputs = project(pass, {shared_inner},
                             {{moe.shared.down, ws.shared_inner.rows(), n_rows, ws.shared_outputs,
                               hidden_dim, kSharedClass, moe.shared.down_bias}});
  }
  const uint32_t down_step = groups_per_item(experts.down, worker.count());
  const uint32_t n_down_tiles = (experts.down.n_groups + down_step - 1) / down_step;
  const Stage outputs = worker.chunks(
      {inner, shared_outputs}, n_reads * n_down_tiles, 1,
      [&](uint32_t index, uint32_t) {
        const Item item = item_of(index, experts.down, down_step);
        float* out = ws.pair_outputs + size_t{item.first_pair} * hidden_dim;
        pass.kernels.matmul(experts.down, item.expert, item.begin, item.end,
                            ws.routed_inner.rows(item.first_pair), nullptr, item.n_pairs, out,
                            hidden_dim);
        add_bias(pass, experts.down, plane_bias(experts.down_bias, item.expert, hidden_dim),
                 item.begin, item.end, item.n_pairs, out, hidden_dim);
      },
      [&](uint32_t index, uint32_t, uint32_t k) {
        const Item item = item_of(index, experts.down, down_step);
        return fetch_ahead(experts.down, item.expert, item.begin, item.end, k);
      });
  if (pass.ledger != nullptr) count_experts(pass, moe, n_used, n_reads);
  return outputs;
}

void add_moe_row(Pass& pass, const MoeFfn& moe, uint32_t row, float* out) {
  const Workspace& ws = pass.ws;
  const uint32_t hidden_dim = moe.experts.down.n_rows;
  const uint32_t k = moe.rules.n_active;
  float* sum = ws.branch + size_t{row} * hidden_dim;
  std::memset(sum, 0, hidden_dim * sizeof(float));
  for (uint32_t j = 0; j < k; ++j) {
    const size_t pair = ws.pair_of[size_t{row} * k + j];
    pass.kernels.axpy(ws.chosen_weights[size_t{row} * k + j], ws.pair_outputs + pair * hidden_dim,
                      sum, hidden_dim);
  }
  if (moe.has_shared) {
    pass.kernels.add(ws.shared_outputs + size_t{row} * hidden_dim, sum, hidden_dim);
  }
  pass.kernels.add(sum, out, hidden_dim);
}

}  // namespace floe
