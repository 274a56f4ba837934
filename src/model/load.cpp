#include <filesystem>

#include "base/terminal_text.h"
#include "model/architecture.h"
#include "model/decoder.h"
#include "model/model.h"

namespace floe {

namespace {

ModelInfo describe(const std::string& path, const GgufFile& file, const Hparams& hparams,
                   const WeightLoader& loader, const Network& network) {
  ModelInfo info;
  info.architecture = hparams.architecture;
  info.name = std::filesystem::path(path).stem().string();
  if (auto name = file.optional_string("general.name"); name.ok() && name->has_value()) {
    info.name = escape_for_terminal(**name);
  }
  info.format = format_traits(loader.main_format()).name;
  info.n_layers = network.n_trunk_layers;
  info.hidden_dim = network.hidden_dim;
  info.n_vocab = network.n_vocab;
  info.context_length = hparams.context_length;
  for (uint32_t i = 0; i < network.n_trunk_layers; ++i) {
    if (const auto* moe = std::get_if<MoeFfn>(&network.layers[i].ffn)) {
      info.n_experts = std::max(info.n_experts, moe->rules.n_experts);
      info.n_active_experts = moe->rules.n_active;
    }
  }
  info.has_mtp = network.mtp.has_value();
  info.n_params = loader.n_params();
  info.file_bytes = file.size_bytes();
  return info;
}

}  // namespace

Result<std::unique_ptr<Model>> load_model(const std::string& path, const ModelOptions& options,
                                          ThreadPool& pool) {
  FLOE_TRY(GgufFile file, GgufFile::open(path));
  FLOE_TRY(const std::string_view name, file.require_string("general.architecture"));
  const Architecture* architecture = find_architecture(name);
  if (architecture == nullptr) {
    return model_error("{}: general.architecture: expected one of {}, found {}", file.source(),
                       supported_architectures(), escape_for_terminal(name));
  }
  FLOE_TRY(const Hparams hparams,
           read_hparams(file, architecture->name, architecture->required_keys));
  WeightLoader loader(file);
  auto network = std::make_unique<Network>();
  FLOE_TRY_VOID(architecture->build(hparams, loader, *network));
  FLOE_TRY_VOID(loader.check_complete());
  ModelInfo info = describe(path, file, hparams, loader, *network);
  FLOE_TRY(HugeBuffer weights, loader.pack(pool, options.show_progress));
  info.weight_bytes = weights.size_bytes();
  const KernelTable& table = options.kernels != nullptr ? *options.kernels : kernels();
  return std::unique_ptr<Model>(std::make_unique<Decoder>(std::move(info), std::move(network),
                                                          std::move(weights), pool, table));
}

}  // namespace floe
