#include "model/eagle3_config.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/terminal_text.h"
#include "model/hparams.h"
#include "store/regular_file.h"

namespace floe {

namespace {

// The fields of config.json, each with what it must be.
class ConfigReader {
 public:
  ConfigReader(const Json& config, std::string source)
      : config_(config), source_(std::move(source)) {}

  const Json* find(const char* key) const {
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }
  Error wrong(const char* key, std::string_view expected, const Json* found) const {
    return model_error("{}: {}: expected {}, found {}", source_, key, expected,
                       found == nullptr ? "none" : escape_for_terminal(dump_json(*found), 128));
  }

  Result<uint32_t> count(const char* key, std::optional<uint32_t> absent = std::nullopt) const {
    const Json* value = find(key);
    if (value == nullptr && absent) return *absent;
    const bool good = value != nullptr && value->is_number_unsigned() &&
                      value->get<uint64_t>() >= 1 && value->get<uint64_t>() <= kMaxDim;
    if (!good) return wrong(key, fmt::format("1 to {}", kMaxDim), value);
    return value->get<uint32_t>();
  }
  Result<float> number(const Json* value, const char* key, double low, double high,
                       double absent) const {
    if (value == nullptr) return static_cast<float>(absent);
    const bool good =
        value->is_number() && value->get<double>() >= low && value->get<double>() <= high;
    if (!good) return wrong(key, fmt::format("{} to {}", low, high), value);
    return value->get<float>();
  }
  // Fails where the field is there and is another value.
  Result<void> only(const char* key, const Json& value) const {
    const Json* found = find(key);
    if (found == nullptr || *found == value) return {};
    return wrong(key, dump_json(value), found);
  }

 private:
  const Json& config_;
  std::string source_;
};

}  // namespace

Result<Eagle3Config> read_eagle3_config(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "config.json").string();
  FLOE_TRY(const RegularFile file, open_regular_file(path));
  const std::string& source = file.name;
  JsonLimits limits;
  limits.max_bytes = 1 << 20;
  limits.max_values = 1 << 16;
  if (file.size_bytes > limits.max_bytes) {
    return model_error("{}: expected at most {} bytes, found {}", source, limits.max_bytes,
                       file.size_bytes);
  }
  FLOE_TRY(const std::string text, read_text(file, 0, file.size_bytes));
  auto parsed = parse_json(text, limits);
  if (!parsed.ok()) return model_error("{}: {}", source, parsed.error().message);
  Eagle3Config config;
  config.json = std::move(parsed).value();
  config.source = source;
  const Json& json = config.json;
  if (!json.is_object()) return model_error("{}: expected an object", source);

  const ConfigReader reader(json, source);
  FLOE_TRY_VOID(reader.only("num_hidden_layers", 1));
  FLOE_TRY_VOID(reader.only("hidden_act", "silu"));
  FLOE_TRY_VOID(reader.only("attention_bias", false));
  FLOE_TRY_VOID(reader.only("mlp_bias", false));
  if (reader.find("target_hidden_size") != nullptr) {
    FLOE_TRY(config.trunk_hidden_dim, reader.count("target_hidden_size"));
  }
  FLOE_TRY(config.hidden_dim, reader.count("hidden_size"));
  FLOE_TRY(config.ffn_dim, reader.count("intermediate_size"));
  FLOE_TRY(config.n_heads, reader.count("num_attention_heads"));
  FLOE_TRY(config.n_kv_heads, reader.count("num_key_value_heads", config.n_heads));
  FLOE_TRY(config.head_dim,
           reader.count("head_dim", std::max(1u, config.hidden_dim / config.n_heads)));
  if (config.n_heads % config.n_kv_heads != 0) {
    return reader.wrong("num_key_value_heads",
                        fmt::format("a divisor of num_attention_heads {}", config.n_heads),
                        reader.find("num_key_value_heads"));
  }
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim ||
      uint64_t{config.n_heads} * config.head_dim > kMaxDim) {
    return reader.wrong(
        "head_dim",
        fmt::format("an even number up to {}, at most {} for all heads", kMaxHeadDim, kMaxDim),
        reader.find("head_dim"));
  }
  FLOE_TRY(config.rms_eps,
           reader.number(reader.find("rms_norm_eps"), "rms_norm_eps", 1e-12, 1.0, 1e-6));
  const Json* scaling = reader.find("rope_scaling");
  const Json* base = reader.find("rope_theta");
  if (const Json* rope = reader.find("rope_parameters"); rope != nullptr && rope->is_object()) {
    if (const auto theta = rope->find("rope_theta"); theta != rope->end()) base = &*theta;
    if (rope->value("rope_type", Json("default")) != Json("default")) scaling = rope;
  }
  if (scaling != nullptr) return reader.wrong("rope_scaling", "none", scaling);
  FLOE_TRY(config.rope_base, reader.number(base, "rope_theta", 1.0, 1e12, 10000.0));
  if (const Json* norms = reader.find("norm_before_residual"); norms != nullptr) {
    if (!norms->is_boolean()) return reader.wrong("norm_before_residual", "true or false", norms);
    config.norms_residual = norms->get<bool>();
  }
  return config;
}

// Published ids mean two things: inside eagle_config the layers themselves, at the top level the
// layer that reads the state, one higher. Without ids: near the bottom, the middle, near the top.
Result<TapLayers> read_tap_layers(const Eagle3Config& config, uint32_t n_layers) {
  const ConfigReader reader(config.json, config.source);
  constexpr const char* kKey = "eagle_aux_hidden_state_layer_ids";
  const Json* ids = nullptr;
  uint64_t first = 0;  // the number that stands for layer 0
  if (const Json* inner = reader.find("eagle_config"); inner != nullptr && inner->is_object()) {
    if (inner->value("use_aux_hidden_state", Json(true)) != Json(true)) {
      return reader.wrong("eagle_config", "a head that uses hidden states of three layers", inner);
    }
    if (const auto found = inner->find(kKey); found != inner->end() && !found->is_null()) {
      ids = &*found;
    }
  }
  if (ids == nullptr && reader.find(kKey) != nullptr) {
    ids = &config.json.at(kKey);
    first = 1;
  }
  TapLayers taps{1, n_layers / 2 - 1, n_layers - 4};
  const auto expected = fmt::format("three layers below {}", n_layers);
  if (ids == nullptr) {
    if (n_layers >= 5) return taps;
    return reader.wrong(kKey, expected, nullptr);
  }
  if (!ids->is_array() || ids->size() != kTaps) return reader.wrong(kKey, expected, ids);
  for (uint32_t i = 0; i < kTaps; ++i) {
    const Json& id = (*ids)[i];
    const bool good = id.is_number_unsigned() && id.get<uint64_t>() >= first &&
                      id.get<uint64_t>() - first < n_layers;
    if (!good) return reader.wrong(kKey, expected, ids);
    taps[i] = static_cast<uint32_t>(id.get<uint64_t>() - first);
  }
  return taps;
}

}  // namespace floe
