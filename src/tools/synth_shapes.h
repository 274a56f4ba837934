#pragma once
// Published model shapes, from their public configurations, as synth reproduces them.
#include <cstdint>
#include <span>
#include <string_view>

namespace floe {

enum class AttentionKind : uint8_t { gqa, mla };

// Widths in values. Zero: the model has no such part.
struct SynthShape {
  std::string_view name;
  std::string_view architecture;  // GGUF's general.architecture
  AttentionKind attention;
  uint32_t n_layers, n_dense, hidden_dim, n_vocab, context_length;
  uint32_t n_heads, n_kv_heads, head_dim;                           // GQA
  uint32_t q_lora_dim, kv_lora_dim, nope_dim, rope_dim, value_dim;  // MLA
  uint32_t dense_ffn_dim, expert_ffn_dim, n_experts, n_active, n_shared;
  uint32_t n_groups, n_active_groups;                    // expert groups of the router
  uint32_t n_indexer_heads, indexer_dim, indexer_top_k;  // DSA
  float rms_eps, rope_base, expert_scale;
  float yarn_factor;  // 0: no scaling
  bool qk_norm, biases_and_sinks;
  uint32_t sliding_window;
};

std::span<const SynthShape> synth_shape_table();

}  // namespace floe
