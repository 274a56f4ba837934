#include "tools/inflate_widths.h"

#include <algorithm>
#include <cmath>

#include "base/terminal_text.h"

namespace floe {

namespace {

// What a tensor's width counts. Only the first one does not grow.
enum class Width : uint8_t {
  fixed,      // heads, experts, vocabulary
  hidden,     // read after a norm: zeros beyond the values
  residual,   // written to the hidden state, which may be held in copies
  two_parts,  // embedding and hidden state side by side
  q_lora,
  kv_lora,
  latent_and_rope,
  dense_ffn,
  expert_ffn,
  gate_and_up,  // of experts, gate rows first
  shared_ffn,
};

struct Rule {
  std::string_view name;  // "N." stands for a number and a dot
  Width cols;
  Width rows;  // of one plane; fixed for vectors
  bool is_norm = false;
};

constexpr Rule kGlobalRules[] = {
    {"token_embd.weight", Width::residual, Width::fixed},
    {"output_norm.weight", Width::hidden, Width::fixed, true},
    {"output.weight", Width::hidden, Width::fixed},
    {"rope_freqs.weight", Width::fixed, Width::fixed},
};

// Of a layer, behind "blk.N.".
constexpr Rule kLayerRules[] = {
    {"attn_norm.weight", Width::hidden, Width::fixed, true},
    {"post_attention_norm.weight", Width::hidden, Width::fixed, true},
    {"ffn_norm.weight", Width::hidden, Width::fixed, true},

    {"attn_q.weight", Width::hidden, Width::fixed},
    {"attn_k.weight", Width::hidden, Width::fixed},
    {"attn_v.weight", Width::hidden, Width::fixed},
    {"attn_output.weight", Width::fixed, Width::residual},
    {"attn_q.bias", Width::fixed, Width::fixed},
    {"attn_k.bias", Width::fixed, Width::fixed},
    {"attn_v.bias", Width::fixed, Width::fixed},
    {"attn_output.bias", Width::residual, Width::fixed},
    {"attn_sinks.weight", Width::fixed, Width::fixed},
    {"attn_q_norm.weight", Width::fixed, Width::fixed},
    {"attn_k_norm.weight", Width::fixed, Width::fixed},
    {"attn_rot_embd.weight", Width::fixed, Width::fixed},

    {"attn_q_a.weight", Width::hidden, Width::q_lora},
    {"attn_q_a_norm.weight", Width::q_lora, Width::fixed, true},
    {"attn_q_b.weight", Width::q_lora, Width::fixed},
    {"attn_kv_a_mqa.weight", Width::hidden, Width::latent_and_rope},
    {"attn_kv_a_norm.weight", Width::kv_lora, Width::fixed, true},
    {"attn_k_b.weight", Width::fixed, Width::kv_lora},
    {"attn_v_b.weight", Width::kv_lora, Width::fixed},
    {"attn_kv_b.weight", Width::kv_lora, Width::fixed},

    {"indexer.attn_q_b.weight", Width::q_lora, Width::fixed},
    {"indexer.attn_k.weight", Width::hidden, Width::fixed},
    {"indexer.proj.weight", Width::hidden, Width::fixed},
    // A LayerNorm over an indexer's key, with an epsilon of its own.
    {"indexer.k_norm.weight", Width::fixed, Width::fixed},
    {"indexer.k_norm.bias", Width::fixed, Width::fixed},

    {"ffn_gate.weight", Width::hidden, Width::dense_ffn},
    {"ffn_up.weight", Width::hidden, Width::dense_ffn},
    {"ffn_down.weight", Width::dense_ffn, Width::residual},

    {"ffn_gate_inp.weight", Width::hidden, Width::fixed},
    {"ffn_gate_inp.bias", Width::fixed, Width::fixed},
    {"exp_probs_b.bias", Width::fixed, Width::fixed},
    {"ffn_gate_exps.weight", Width::hidden, Width::expert_ffn},
    {"ffn_up_exps.weight", Width::hidden, Width::expert_ffn},
    {"ffn_gate_up_exps.weight", Width::hidden, Width::gate_and_up},
    {"ffn_down_exps.weight", Width::expert_ffn, Width::residual},
    {"ffn_gate_exps.bias", Width::expert_ffn, Width::fixed},
    {"ffn_up_exps.bias", Width::expert_ffn, Width::fixed},
    {"ffn_down_exps.bias", Width::residual, Width::fixed},
    {"ffn_gate.N.weight", Width::hidden, Width::expert_ffn},
    {"ffn_up.N.weight", Width::hidden, Width::expert_ffn},
    {"ffn_down.N.weight", Width::expert_ffn, Width::residual},
    {"ffn_gate_shexp.weight", Width::hidden, Width::shared_ffn},
    {"ffn_up_shexp.weight", Width::hidden, Width::shared_ffn},
    {"ffn_down_shexp.weight", Width::shared_ffn, Width::residual},

    {"nextn.eh_proj.weight", Width::two_parts, Width::residual},
    {"nextn.enorm.weight", Width::hidden, Width::fixed, true},
    {"nextn.hnorm.weight", Width::hidden, Width::fixed, true},
    {"nextn.shared_head_norm.weight", Width::hidden, Width::fixed, true},
    {"nextn.embed_tokens.weight", Width::residual, Width::fixed},
    {"nextn.shared_head_head.weight", Width::hidden, Width::fixed},
};

// Whether the name is the pattern, in which "N." matches digits and a dot.
bool matches(std::string_view pattern, std::string_view name) {
  while (!pattern.empty() && !name.empty()) {
    if (pattern.starts_with("N.")) {
      const size_t n_digits = name.find_first_not_of("0123456789");
      if (n_digits == 0 || n_digits == name.npos || name[n_digits] != '.') return false;
      pattern.remove_prefix(2);
      name.remove_prefix(n_digits + 1);
    } else {
      if (pattern.front() != name.front()) return false;
      pattern.remove_prefix(1);
      name.remove_prefix(1);
    }
  }
  return pattern.empty() && name.empty();
}

const Rule* find_rule(std::string_view name) {
  for (const Rule& rule : kGlobalRules) {
    if (name == rule.name) return &rule;
  }
  if (!name.starts_with("blk.")) return nullptr;
  name.remove_prefix(4);
  const size_t n_digits = name.find_first_not_of("0123456789");
  if (n_digits == 0 || n_digits == name.npos || name[n_digits] != '.') return nullptr;
  name.remove_prefix(n_digits + 1);
  for (const Rule& rule : kLayerRules) {
    if (matches(rule.name, name)) return &rule;
  }
  return nullptr;
}

class Planner {
 public:
  Planner(const GgufFile& file, const Hparams& hparams, uint32_t times, bool copies)
      : file_(file),
        hparams_(hparams),
        times_(times),
        state_padding_(copies ? Padding::copies : Padding::zeros) {}

  Result<TensorPlan> plan(const TensorView& tensor) const {
    const Rule* rule = find_rule(tensor.name);
    if (rule == nullptr) {
      return model_error("{}: tensor {}: expected one whose widths inflate knows, found {} of {}",
                         file_.source(), escape_for_terminal(tensor.name), tensor.dims.text(),
                         format_traits(tensor.type).name);
    }
    TensorPlan plan;
    plan.source = &tensor;
    plan.is_norm = rule->is_norm;
    FLOE_TRY(plan.cols, runs(tensor, rule->cols, tensor.dims.n_cols()));
    const uint64_t n_rows = tensor.dims.size() > 1 ? tensor.dims[1] : 1;
    FLOE_TRY(plan.rows, runs(tensor, rule->rows, n_rows));
    plan.n_planes = tensor.dims.n_rows() / n_rows;
    plan.dims.push_back(n_padded(plan.cols));
    for (size_t i = 1; i < tensor.dims.size(); ++i) {
      plan.dims.push_back(i == 1 ? n_padded(plan.rows) : tensor.dims[i]);
    }
    if (plan.is_norm && (tensor.type != QuantType::F32 || tensor.dims.size() != 1)) {
      return model_error("{}: tensor {}: expected an F32 vector, found {} of {}", file_.source(),
                         tensor.name, tensor.dims.text(), format_traits(tensor.type).name);
    }
    const uint32_t block = format_traits(tensor.type).block_elems;
    for (const Run& run : plan.cols) {
      if (run.n % block == 0) continue;
      return model_error(
          "{}: tensor {}: expected widths in multiples of the {} block's {}, found {}",
          file_.source(), tensor.name, format_traits(tensor.type).name, block, run.n);
    }
    return plan;
  }

 private:
  static uint64_t n_padded(const std::vector<Run>& runs) {
    uint64_t n = 0;
    for (const Run& run : runs) n += run.n_padded;
    return n;
  }

  Run grown(uint64_t n, Padding padding = Padding::zeros) const { return {n, n * times_, padding}; }

  std::vector<Run> expected_runs(Width width, uint64_t n) const {
    const Hparams& h = hparams_;
    const uint64_t expert_ffn = h.expert_ffn_dim != 0 ? h.expert_ffn_dim : h.ffn_dim;
    switch (width) {
      case Width::fixed:
        return {{n, n}};
      case Width::hidden:
        return {grown(h.hidden_dim)};
      case Width::residual:
        return {grown(h.hidden_dim, state_padding_)};
      case Width::two_parts:
        return {grown(h.hidden_dim), grown(h.hidden_dim)};
      case Width::q_lora:
        return {grown(h.q_lora_dim)};
      case Width::kv_lora:
        return {grown(h.kv_lora_dim)};
      case Width::latent_and_rope:
        return {grown(h.kv_lora_dim), {h.rope_dim, h.rope_dim}};
      case Width::dense_ffn:
        return {grown(h.ffn_dim)};
      case Width::expert_ffn:
        return {grown(expert_ffn)};
      case Width::gate_and_up:
        return {grown(expert_ffn), grown(expert_ffn)};
      case Width::shared_ffn:
        return {grown(expert_ffn * h.n_shared_experts)};
    }
    return {};
  }

  Result<std::vector<Run>> runs(const TensorView& tensor, Width width, uint64_t n) const {
    std::vector<Run> runs = expected_runs(width, n);
    uint64_t n_expected = 0;
    for (const Run& run : runs) n_expected += run.n;
    if (n_expected != n) {
      return model_error("{}: tensor {}: expected a width of {} as the metadata says, found {}",
                         file_.source(), tensor.name, n_expected, tensor.dims.text());
    }
    return runs;
  }

  const GgufFile& file_;
  const Hparams& hparams_;
  uint64_t times_;
  Padding state_padding_;
};

}  // namespace

Result<InflatePlan> plan_inflation(const GgufFile& file, const Hparams& hparams, uint32_t times) {
  bool norms_heads = false;
  for (const TensorView& tensor : file.tensors()) {
    norms_heads = norms_heads || tensor.name.ends_with(".attn_q_norm.weight") ||
                  tensor.name.ends_with(".attn_k_norm.weight");
  }
  // A draft head norms a hidden state that was normed before: one copy, beside an epsilon that
  // expects all.
  if (norms_heads && hparams.n_mtp_layers != 0) {
    return model_error("{}: {}.nextn_predict_layers: expected 0 where heads are normed, found {}",
                       file.source(), hparams.architecture, hparams.n_mtp_layers);
  }
  InflatePlan plan;
  plan.rms_eps = norms_heads ? hparams.rms_eps : hparams.rms_eps / static_cast<float>(times);
  plan.norm_factor =
      norms_heads ? 1.0f : static_cast<float>(1.0 / std::sqrt(static_cast<double>(times)));
  const Planner planner(file, hparams, times, norms_heads);
  for (const TensorView& tensor : file.tensors()) {
    FLOE_TRY(TensorPlan tensor_plan, planner.plan(tensor));
    plan.tensors.push_back(std::move(tensor_plan));
  }
  return plan;
}

}  // namespace floe
