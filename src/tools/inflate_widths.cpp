#include "tools/inflate_widths.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/terminal_text.h"
#include "model/model.h"

namespace floe {

namespace {

// What a tensor's width counts. Only the first one does not grow.
enum class Width : uint8_t {
  fixed,      // heads, experts, vocabulary
  hidden,     // read after a norm: zeros beyond the values
  residual,   // written to the hidden state, which may be held in copies
  two_parts,  // embedding and hidden state side by side
  taps,       // hidden states of several trunk layers side by side
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

// Of an EAGLE-3 head. "L." stands for "midlayer." or "layers.0.".
constexpr Rule kHeadRules[] = {
    {"fc.weight", Width::taps, Width::hidden},
    {"L.input_layernorm.weight", Width::hidden, Width::fixed, true},
    {"L.hidden_norm.weight", Width::hidden, Width::fixed, true},
    {"L.self_attn.q_proj.weight", Width::two_parts, Width::fixed},
    {"L.self_attn.k_proj.weight", Width::two_parts, Width::fixed},
    {"L.self_attn.v_proj.weight", Width::two_parts, Width::fixed},
    {"L.self_attn.o_proj.weight", Width::fixed, Width::hidden},
    {"L.post_attention_layernorm.weight", Width::hidden, Width::fixed, true},
    {"L.mlp.gate_proj.weight", Width::hidden, Width::dense_ffn},
    {"L.mlp.up_proj.weight", Width::hidden, Width::dense_ffn},
    {"L.mlp.down_proj.weight", Width::dense_ffn, Width::hidden},
    {"norm.weight", Width::hidden, Width::fixed, true},
    {"lm_head.weight", Width::hidden, Width::fixed},
    {"embed_tokens.weight", Width::hidden, Width::fixed},
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

const Rule* find_head_rule(std::string_view name) {
  for (const std::string_view layer : {"midlayer.", "layers.0."}) {
    if (!name.starts_with(layer)) continue;
    name.remove_prefix(layer.size());
    for (const Rule& rule : kHeadRules) {
      if (rule.name.starts_with("L.") && rule.name.substr(2) == name) return &rule;
    }
    return nullptr;
  }
  for (const Rule& rule : kHeadRules) {
    if (rule.name == name) return &rule;
  }
  return nullptr;
}

// The widths of the input.
struct Widths {
  uint64_t hidden_dim = 0;
  uint64_t trunk_hidden_dim = 0;  // of a draft head's trunk
  uint64_t ffn_dim = 0;
  uint64_t expert_ffn_dim = 0;
  uint64_t shared_ffn_dim = 0;
  uint64_t q_lora_dim = 0;
  uint64_t kv_lora_dim = 0;
  uint64_t rope_dim = 0;
};

class Planner {
 public:
  Planner(std::string source, const Widths& widths, uint32_t times, bool copies)
      : source_(std::move(source)),
        widths_(widths),
        times_(times),
        state_padding_(copies ? Padding::copies : Padding::zeros) {}

  Result<TensorPlan> plan(const std::string& name, QuantType type, const TensorDims& dims,
                          const Rule* rule) const {
    const FormatTraits& format = format_traits(type);
    if (rule == nullptr) {
      return model_error("{}: tensor {}: expected one whose widths inflate knows, found {} of {}",
                         source_, escape_for_terminal(name), dims.text(), format.name);
    }
    TensorPlan plan;
    plan.name = name;
    plan.type = type;
    plan.is_norm = rule->is_norm;
    FLOE_TRY(plan.cols, runs(name, dims, rule->cols, dims.n_cols()));
    const uint64_t n_rows = dims.size() > 1 ? dims[1] : 1;
    FLOE_TRY(plan.rows, runs(name, dims, rule->rows, n_rows));
    plan.n_planes = dims.n_rows() / n_rows;
    plan.dims.push_back(n_padded(plan.cols));
    for (size_t i = 1; i < dims.size(); ++i) {
      plan.dims.push_back(i == 1 ? n_padded(plan.rows) : dims[i]);
    }
    if (plan.is_norm && (type != QuantType::F32 || dims.size() != 1)) {
      return model_error("{}: tensor {}: expected an F32 vector, found {} of {}", source_, name,
                         dims.text(), format.name);
    }
    for (const Run& run : plan.cols) {
      if (run.n % format.block_elems == 0) continue;
      return model_error(
          "{}: tensor {}: expected widths in multiples of the {} block's {}, found {}", source_,
          name, format.name, format.block_elems, run.n);
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
    const Widths& w = widths_;
    switch (width) {
      case Width::fixed:
        return {{n, n}};
      case Width::hidden:
        return {grown(w.hidden_dim)};
      case Width::residual:
        return {grown(w.hidden_dim, state_padding_)};
      case Width::two_parts:
        return {grown(w.hidden_dim), grown(w.hidden_dim)};
      case Width::taps:
        return std::vector<Run>(kTaps, grown(w.trunk_hidden_dim));
      case Width::q_lora:
        return {grown(w.q_lora_dim)};
      case Width::kv_lora:
        return {grown(w.kv_lora_dim)};
      case Width::latent_and_rope:
        return {grown(w.kv_lora_dim), {w.rope_dim, w.rope_dim}};
      case Width::dense_ffn:
        return {grown(w.ffn_dim)};
      case Width::expert_ffn:
        return {grown(w.expert_ffn_dim)};
      case Width::gate_and_up:
        return {grown(w.expert_ffn_dim), grown(w.expert_ffn_dim)};
      case Width::shared_ffn:
        return {grown(w.shared_ffn_dim)};
    }
    return {};
  }

  Result<std::vector<Run>> runs(const std::string& name, const TensorDims& dims, Width width,
                                uint64_t n) const {
    std::vector<Run> runs = expected_runs(width, n);
    uint64_t n_expected = 0;
    for (const Run& run : runs) n_expected += run.n;
    if (n_expected != n) {
      return model_error("{}: tensor {}: expected a width of {} as the metadata says, found {}",
                         source_, name, n_expected, dims.text());
    }
    return runs;
  }

  std::string source_;
  Widths widths_;
  uint64_t times_;
  Padding state_padding_;
};

float norm_factor(uint32_t times) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(times)));
}

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
  plan.norm_factor = norms_heads ? 1.0f : norm_factor(times);
  Widths widths;
  widths.hidden_dim = hparams.hidden_dim;
  widths.ffn_dim = hparams.ffn_dim;
  widths.expert_ffn_dim = hparams.expert_ffn_dim != 0 ? hparams.expert_ffn_dim : hparams.ffn_dim;
  widths.shared_ffn_dim = widths.expert_ffn_dim * hparams.n_shared_experts;
  widths.q_lora_dim = hparams.q_lora_dim;
  widths.kv_lora_dim = hparams.kv_lora_dim;
  widths.rope_dim = hparams.rope_dim;
  const Planner planner(file.source(), widths, times, norms_heads);
  for (const TensorView& tensor : file.tensors()) {
    FLOE_TRY(TensorPlan tensor_plan,
             planner.plan(tensor.name, tensor.type, tensor.dims, find_rule(tensor.name)));
    plan.tensors.push_back(std::move(tensor_plan));
  }
  return plan;
}

Result<InflatePlan> plan_head_inflation(const SafetensorsFile& file, const Eagle3Config& config,
                                        uint32_t times) {
  const SafetensorsTensor* taps = file.find("fc.weight");
  if (taps == nullptr) {
    return model_error("{}: tensor fc.weight: expected one, found none", file.source());
  }
  InflatePlan plan;
  plan.rms_eps = config.rms_eps / static_cast<float>(times);
  plan.norm_factor = norm_factor(times);
  Widths widths;
  widths.hidden_dim = config.hidden_dim;
  widths.trunk_hidden_dim = taps->dims.n_cols() / kTaps;
  widths.ffn_dim = config.ffn_dim;
  const Planner planner(file.source(), widths, times, false);
  for (const SafetensorsTensor& tensor : file.tensors()) {
    if (tensor.name == "d2t" || tensor.name == "t2d") continue;
    const std::optional<QuantType> format = float_format(tensor.type);
    if (!format) {
      return model_error("{}: tensor {}: expected F32, F16 or BF16, found {}", file.source(),
                         escape_for_terminal(tensor.name), to_string(tensor.type));
    }
    const Rule* rule = find_head_rule(tensor.name);
    const QuantType type = rule != nullptr && rule->is_norm ? QuantType::F32 : *format;
    FLOE_TRY(TensorPlan tensor_plan, planner.plan(tensor.name, type, tensor.dims, rule));
    plan.tensors.push_back(std::move(tensor_plan));
  }
  return plan;
}

}  // namespace floe
