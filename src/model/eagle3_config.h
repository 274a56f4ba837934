#pragma once
// The config.json of an EAGLE-3 head, as published. Errors are ErrorKind::model and name the file,
// the field, the expected and the found.
#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "model/model.h"

namespace floe {

struct Eagle3Config {
  Json json;           // the whole file
  std::string source;  // its path, for messages
  uint32_t hidden_dim = 0;
  std::optional<uint32_t> trunk_hidden_dim;  // absent: not said
  uint32_t ffn_dim = 0;
  uint32_t n_heads = 0;
  uint32_t n_kv_heads = 0;
  uint32_t head_dim = 0;
  float rms_eps = 0.0f;
  float rope_base = 0.0f;
  bool norms_residual = false;
};

// At most 1 MiB of folder/config.json.
Result<Eagle3Config> read_eagle3_config(const std::string& folder);

// The layers of a trunk of n_layers whose outputs the head reads.
Result<TapLayers> read_tap_layers(const Eagle3Config& config, uint32_t n_layers);

}  // namespace floe
