#include "model/hparams.h"

#include <algorithm>
#include <cstring>

#include "base/terminal_text.h"

namespace floe {

namespace {

constexpr double kMaxContext = 1 << 24;

const HparamSpec kTable[] = {
    {"block_count", &Hparams::n_blocks, 1, 512, true},
    {"context_length", &Hparams::context_length, 1, kMaxContext, true},
    {"embedding_length", &Hparams::hidden_dim, 2, kMaxDim, true},
    {"feed_forward_length", &Hparams::ffn_dim, 1, kMaxDim, false},
    {"vocab_size", &Hparams::n_vocab, 1, 1 << 24, false},

    {"attention.head_count", &Hparams::n_heads, 1, 4096, true},
    {"attention.head_count_kv", &Hparams::n_kv_heads, 1, 4096, false},
    {"attention.key_length", &Hparams::key_dim, 2, kMaxHeadDim, false},
    {"attention.value_length", &Hparams::value_dim, 1, kMaxHeadDim, false},
    {"attention.layer_norm_rms_epsilon", &Hparams::rms_eps, 1e-12, 1, true},
    {"attention.sliding_window", &Hparams::sliding_window, 0, kMaxContext, false},

    {"rope.dimension_count", &Hparams::rope_dim, 2, kMaxHeadDim, false},
    {"rope.freq_base", &Hparams::rope_base, 1, 1e12, false},
    {"rope.scaling.type", &Hparams::rope_scaling, 0, 0, false},
    {"rope.scaling.factor", &Hparams::rope_factor, 1e-3, 65536, false},
    {"rope.scaling.original_context_length", &Hparams::rope_original_context, 1, kMaxContext,
     false},
    {"rope.scaling.yarn_log_multiplier", &Hparams::yarn_log_multiplier, 0, 100, false},
    {"rope.scaling.yarn_beta_fast", &Hparams::yarn_beta_fast, 1e-3, 65536, false},
    {"rope.scaling.yarn_beta_slow", &Hparams::yarn_beta_slow, 1e-3, 65536, false},
    {"rope.scaling.attn_factor", &Hparams::rope_attention_factor, 1e-3, 1000, false},

    {"expert_count", &Hparams::n_experts, 0, 65536, false},
    {"expert_used_count", &Hparams::n_active_experts, 0, 1024, false},
    {"expert_feed_forward_length", &Hparams::expert_ffn_dim, 1, kMaxDim, false},
    {"expert_shared_count", &Hparams::n_shared_experts, 0, 1024, false},
    {"expert_weights_scale", &Hparams::expert_scale, 0, 1e4, false},
    {"expert_weights_norm", &Hparams::normalise_expert_weights, 0, 1, false},
    {"expert_gating_func", &Hparams::expert_gating, 1, 3, false},
    {"expert_group_count", &Hparams::n_expert_groups, 1, 4096, false},
    {"expert_group_used_count", &Hparams::n_active_expert_groups, 1, 4096, false},
    {"leading_dense_block_count", &Hparams::n_leading_dense, 0, 512, false},
    {"nextn_predict_layers", &Hparams::n_mtp_layers, 0, 1, false},

    {"attention.q_lora_rank", &Hparams::q_lora_dim, 0, kMaxDim, false},
    {"attention.kv_lora_rank", &Hparams::kv_lora_dim, 1, kMaxDim, false},
    {"attention.key_length_mla", &Hparams::key_mla_dim, 2, kMaxHeadDim, false},
    {"attention.value_length_mla", &Hparams::value_mla_dim, 1, kMaxHeadDim, false},
    {"attention.indexer.head_count", &Hparams::n_indexer_heads, 1, 4096, false},
    {"attention.indexer.key_length", &Hparams::indexer_dim, 2, kMaxHeadDim, false},
    {"attention.indexer.top_k", &Hparams::indexer_top_k, 1, kMaxContext, false},
    {"attention.indexer.types", &Hparams::indexer_types, 0, 1, false},
};

// Reads one present key into its field.
struct FieldReader {
  const GgufMetadata& metadata;
  const std::string& key;
  const HparamSpec& spec;
  Hparams& hparams;

  Result<void> operator()(uint32_t Hparams::*field) const {
    FLOE_TRY(const uint64_t value, metadata.require_uint(key, static_cast<uint64_t>(spec.min),
                                                         static_cast<uint64_t>(spec.max)));
    hparams.*field = static_cast<uint32_t>(value);
    return {};
  }
  Result<void> operator()(float Hparams::*field) const {
    FLOE_TRY(hparams.*field, metadata.require_float(key, static_cast<float>(spec.min),
                                                    static_cast<float>(spec.max)));
    return {};
  }
  Result<void> operator()(bool Hparams::*field) const {
    FLOE_TRY(hparams.*field, metadata.require_bool(key));
    return {};
  }
  Result<void> operator()(std::string Hparams::*field) const {
    FLOE_TRY(const std::string_view value, metadata.require_string(key));
    hparams.*field = value;
    return {};
  }
  Result<void> operator()(std::vector<uint8_t> Hparams::*field) const {
    FLOE_TRY(
        const std::vector<int64_t> values,
        metadata.require_ints(key, static_cast<int64_t>(spec.min), static_cast<int64_t>(spec.max)));
    (hparams.*field).assign(values.begin(), values.end());
    return {};
  }
};

}  // namespace

std::span<const HparamSpec> hparam_table() {
  return kTable;
}

Error hparam_error(const Hparams& hparams, const char* key, const std::string& expected,
                   const std::string& found) {
  return model_error("{}: {}.{}: expected {}, found {}", hparams.source, hparams.architecture, key,
                     expected, found);
}

Result<Hparams> read_hparams(const GgufMetadata& metadata, const std::string& architecture,
                             std::span<const char* const> required_keys) {
  Hparams hparams;
  hparams.architecture = architecture;
  hparams.source = metadata.source();
  for (const char* wanted : required_keys) {
    FLOE_CHECK(std::any_of(std::begin(kTable), std::end(kTable), [&](const HparamSpec& spec) {
      return std::strcmp(spec.key, wanted) == 0;
    }));
  }
  for (const HparamSpec& spec : kTable) {
    const std::string key = architecture + "." + spec.key;
    if (!metadata.has(key)) {
      const bool required =
          spec.required ||
          std::any_of(required_keys.begin(), required_keys.end(),
                      [&](const char* wanted) { return std::strcmp(spec.key, wanted) == 0; });
      if (required) return hparam_error(hparams, spec.key, "a value", "no such key");
      continue;
    }
    FLOE_TRY_VOID(std::visit(FieldReader{metadata, key, spec, hparams}, spec.field));
  }

  if (hparams.rope_scaling != "none" && hparams.rope_scaling != "linear" &&
      hparams.rope_scaling != "yarn") {
    return hparam_error(hparams, "rope.scaling.type", "none, linear or yarn",
                        escape_for_terminal(hparams.rope_scaling));
  }
  if (hparams.n_kv_heads == 0) hparams.n_kv_heads = hparams.n_heads;
  if (hparams.n_heads % hparams.n_kv_heads != 0) {
    return hparam_error(hparams, "attention.head_count_kv",
                        fmt::format("a divisor of head_count {}", hparams.n_heads),
                        fmt::format("{}", hparams.n_kv_heads));
  }
  if (hparams.key_dim == 0) {
    if (hparams.hidden_dim % hparams.n_heads != 0) {
      return hparam_error(hparams, "attention.head_count",
                          fmt::format("a divisor of embedding_length {}", hparams.hidden_dim),
                          fmt::format("{}", hparams.n_heads));
    }
    hparams.key_dim = hparams.hidden_dim / hparams.n_heads;
  }
  if (hparams.value_dim == 0) hparams.value_dim = hparams.key_dim;
  if (hparams.key_mla_dim == 0) hparams.key_mla_dim = hparams.key_dim;
  if (hparams.value_mla_dim == 0) hparams.value_mla_dim = hparams.value_dim;
  if (hparams.rope_dim == 0) hparams.rope_dim = hparams.key_dim;
  if (hparams.rope_original_context == 0) hparams.rope_original_context = hparams.context_length;
  if (hparams.expert_scale == 0.0f) hparams.expert_scale = 1.0f;
  if (hparams.rope_dim % 2 != 0) {
    return hparam_error(hparams, "rope.dimension_count", "an even number",
                        fmt::format("{}", hparams.rope_dim));
  }
  if (hparams.rope_dim > hparams.key_mla_dim) {
    return hparam_error(hparams, "rope.dimension_count",
                        fmt::format("at most the head's key length {}", hparams.key_mla_dim),
                        fmt::format("{}", hparams.rope_dim));
  }
  if (hparams.n_experts != 0 &&
      (hparams.n_active_experts == 0 || hparams.n_active_experts > hparams.n_experts)) {
    return hparam_error(hparams, "expert_used_count",
                        fmt::format("1 to expert_count {}", hparams.n_experts),
                        fmt::format("{}", hparams.n_active_experts));
  }
  if (hparams.n_active_expert_groups > hparams.n_expert_groups) {
    return hparam_error(hparams, "expert_group_used_count",
                        fmt::format("at most expert_group_count {}", hparams.n_expert_groups),
                        fmt::format("{}", hparams.n_active_expert_groups));
  }
  if (hparams.n_mtp_layers >= hparams.n_blocks) {
    return hparam_error(hparams, "nextn_predict_layers",
                        fmt::format("less than block_count {}", hparams.n_blocks),
                        fmt::format("{}", hparams.n_mtp_layers));
  }
  return hparams;
}

}  // namespace floe
