#pragma once
// Hyperparameters of a GGUF model. All of them are read through one table (hparam_table) that
// declares for each key its type, its range and whether a file may leave it out: nothing else in
// this room asks the metadata for a number.
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "store/gguf_metadata.h"

namespace floe {

// Wider ones are refused, in a model or a draft head: of a hidden state or a feed-forward layer, of
// an attention head.
inline constexpr uint32_t kMaxDim = 1u << 20;
inline constexpr uint32_t kMaxHeadDim = 8192;

// The values as the file gives them; 0 or the initialiser where an optional key is absent. Keys are
// listed in hparam_table() in the same order.
struct Hparams {
  std::string architecture;
  std::string source;  // the file, for messages

  uint32_t n_blocks = 0;  // trunk layers and MTP layers together
  uint32_t context_length = 0;
  uint32_t hidden_dim = 0;
  uint32_t ffn_dim = 0;  // of dense layers
  uint32_t n_vocab = 0;  // 0: as many as the token embedding has rows

  uint32_t n_heads = 0;
  uint32_t n_kv_heads = 0;  // 0: n_heads
  uint32_t key_dim = 0;     // per head; 0: hidden_dim / n_heads
  uint32_t value_dim = 0;
  float rms_eps = 0.0f;
  uint32_t sliding_window = 0;  // positions that a windowed layer reads; 0: absent

  uint32_t rope_dim = 0;  // rotated values per head; 0: key_dim
  float rope_base = 10000.0f;
  std::string rope_scaling = "none";
  float rope_factor = 1.0f;
  uint32_t rope_original_context = 0;  // 0: context_length
  float yarn_log_multiplier = 0.0f;    // 0: absent
  float yarn_beta_fast = 32.0f;
  float yarn_beta_slow = 1.0f;
  float rope_attention_factor = 1.0f;

  uint32_t n_experts = 0;
  uint32_t n_active_experts = 0;
  uint32_t expert_ffn_dim = 0;
  uint32_t n_shared_experts = 0;
  float expert_scale = 1.0f;  // 0 counts as 1
  bool normalise_expert_weights = false;
  uint32_t expert_gating = 0;  // 1 softmax, 2 sigmoid, 3 softmax over the selected; 0: absent
  uint32_t n_expert_groups = 1;
  uint32_t n_active_expert_groups = 1;
  uint32_t n_leading_dense = 0;
  uint32_t n_mtp_layers = 0;

  uint32_t q_lora_dim = 0;
  uint32_t kv_lora_dim = 0;
  uint32_t key_mla_dim = 0;  // nope + rope; 0: key_dim
  uint32_t value_mla_dim = 0;
  uint32_t n_indexer_heads = 0;
  uint32_t indexer_dim = 0;
  uint32_t indexer_top_k = 0;
  std::vector<uint8_t> indexer_types;  // per layer, 1 full, 0 shared; empty: absent
};

// A row of the table. The field's type is the key's type; numbers must lie in [min, max].
struct HparamSpec {
  const char* key;  // without the architecture prefix
  std::variant<uint32_t Hparams::*, float Hparams::*, bool Hparams::*, std::string Hparams::*,
               std::vector<uint8_t> Hparams::*>
      field;
  double min;
  double max;
  bool required;  // of every architecture; an architecture may require more
};

std::span<const HparamSpec> hparam_table();

// Reads every key of the table. required_keys: further keys of the table that this architecture
// cannot do without. Errors name the file, the key, what was expected and what was found.
Result<Hparams> read_hparams(const GgufMetadata& metadata, const std::string& architecture,
                             std::span<const char* const> required_keys);

// "FILE: ARCH.KEY: expected EXPECTED, found FOUND", for rules between two keys.
Error hparam_error(const Hparams& hparams, const char* key, const std::string& expected,
                   const std::string& found);

}  // namespace floe
