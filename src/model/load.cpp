#include "model/load.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include "base/terminal_text.h"
#include "model/architecture.h"
#include "model/decoder.h"
#include "model/fingerprint.h"
#include "model/model.h"
#include "model/model_needs.h"

namespace floe {

namespace {

// The most frequent format of the matrices that each of kLedgerClasses counts; other_format where
// it counts none.
std::array<QuantType, kLedgerClassCount> class_formats(const Network& network,
                                                       QuantType other_format) {
  std::array<std::map<QuantType, uint64_t>, kLedgerClassCount> n_bytes;
  const auto add = [&](const PackedMatrix& matrix, const LedgerClass& kind) {
    const auto is_kind = [&](const LedgerClass& other) { return other.bytes == kind.bytes; };
    const auto at = std::find_if(std::begin(kLedgerClasses), std::end(kLedgerClasses), is_kind);
    n_bytes[at - std::begin(kLedgerClasses)][matrix.type] += matrix.size_bytes();
  };
  add(network.lm_head(), kHeadClass);
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const bool drafts = i >= network.n_trunk_layers;
    const auto visit = [&](const PackedMatrix& matrix, const LedgerClass& kind) {
      add(matrix, drafts ? kDraftClass : kind);
    };
    network.layers[i].attention->visit_matrices(visit);
    network.layers[i].ffn->visit_matrices(visit);
  }
  std::array<QuantType, kLedgerClassCount> formats;
  formats.fill(other_format);
  for (size_t i = 0; i < formats.size(); ++i) {
    uint64_t most = 0;
    for (const auto& [type, n] : n_bytes[i]) {
      if (n <= most) continue;
      most = n;
      formats[i] = type;
    }
  }
  return formats;
}

ModelInfo describe(const std::string& path, const GgufFile& file, const Hparams& hparams,
                   const WeightLoader& loader, const Network& network) {
  ModelInfo info;
  info.architecture = hparams.architecture;
  info.name = std::filesystem::path(path).stem().string();
  if (auto name = file.optional_string("general.name"); name.ok() && name->has_value()) {
    info.name = escape_for_terminal(**name);
  }
  info.format = format_traits(loader.main_format()).name;
  info.class_formats = class_formats(network, loader.main_format());
  info.n_layers = network.n_trunk_layers;
  info.hidden_dim = network.hidden_dim;
  info.n_vocab = network.n_vocab;
  info.context_length = hparams.context_length;
  for (uint32_t i = 0; i < network.n_trunk_layers; ++i) {
    const Ffn::Routing routing = network.layers[i].ffn->routing();
    if (routing.n_experts == 0) continue;
    info.n_experts = std::max(info.n_experts, routing.n_experts);
    info.n_active_experts = routing.n_active;
  }
  info.has_mtp = network.mtp.has_value();
  info.n_params = loader.n_params();
  info.file_bytes = file.size_bytes();
  return info;
}

// Whether a head's file is one of this model: the tensors' shapes do not tell all.
Result<void> check_head(const GgufFile& head, const GgufFile& trunk, const Hparams& hparams) {
  FLOE_TRY(const std::string_view name, head.require_string("general.architecture"));
  if (name != hparams.architecture) {
    return model_error("{}: general.architecture: expected {} as in {}, found {}", head.source(),
                       hparams.architecture, trunk.source(), escape_for_terminal(name));
  }
  const std::string key = hparams.architecture + ".embedding_length";
  FLOE_TRY(const uint64_t hidden_dim, head.require_uint(key, 0, UINT32_MAX));
  if (hidden_dim != hparams.hidden_dim) {
    return model_error("{}: {}: expected {} as in {}, found {}", head.source(), key,
                       hparams.hidden_dim, trunk.source(), hidden_dim);
  }
  constexpr const char* kTokens = "tokenizer.ggml.tokens";
  const MetadataEntry* expected = trunk.find(kTokens);
  const MetadataEntry* found = head.find(kTokens);
  if (expected != nullptr && found != nullptr) {
    const bool equal = found->value_bytes == expected->value_bytes &&
                       std::memcmp(found->value, expected->value, found->value_bytes) == 0;
    if (!equal) {
      return model_error("{}: {}: expected the {} tokens of {}, found {} that are not the same",
                         head.source(), kTokens, expected->n_elements(), trunk.source(),
                         found->n_elements());
    }
  }
  const std::string size_key = hparams.architecture + ".vocab_size";
  FLOE_TRY(const auto n_vocab, head.optional_uint(size_key, 0, UINT32_MAX));
  if (n_vocab && hparams.n_vocab != 0 && *n_vocab != hparams.n_vocab) {
    return model_error("{}: {}: expected {} as in {}, found {}", head.source(), size_key,
                       hparams.n_vocab, trunk.source(), *n_vocab);
  }
  return {};
}

Result<const Architecture*> architecture_of(const GgufMetadata& file) {
  FLOE_TRY(const std::string_view name, file.require_string("general.architecture"));
  const Architecture* architecture = find_architecture(name);
  if (architecture == nullptr) {
    return model_error("{}: general.architecture: expected one of {}, found {}", file.source(),
                       supported_architectures(), escape_for_terminal(name));
  }
  return architecture;
}

// A model whose files were checked and whose weights were asked for, but not read. In one place
// since the loader refers to the files, and to the network that it will fill.
struct OpenedModel {
  explicit OpenedModel(GgufFile opened) : file(std::move(opened)), loader(file) {}

  GgufFile file;
  std::optional<GgufFile> head;
  WeightLoader loader;
  Hparams hparams;
  std::unique_ptr<Network> network = std::make_unique<Network>();
  ModelInfo info;
};

Result<std::unique_ptr<OpenedModel>> open_model(const std::string& path,
                                                const ModelOptions& options) {
  FLOE_TRY(GgufFile file, GgufFile::open(path));
  FLOE_TRY(const Architecture* architecture, architecture_of(file));
  auto model = std::make_unique<OpenedModel>(std::move(file));
  FLOE_TRY(model->hparams,
           read_hparams(model->file, architecture->name, architecture->required_keys));
  const Hparams& hparams = model->hparams;
  if (!options.mtp_path.empty()) {
    FLOE_TRY(model->head, GgufFile::open(options.mtp_path));
    FLOE_TRY_VOID(check_head(*model->head, model->file, hparams));
    model->loader.take_from(*model->head, layer_prefix(hparams.n_blocks - hparams.n_mtp_layers));
  }
  FLOE_TRY_VOID(architecture->build(hparams, model->loader, *model->network));
  if (model->head && !model->network->mtp) {
    return model_error("{}: general.architecture: expected one with a draft head, found {}",
                       model->head->source(), hparams.architecture);
  }
  FLOE_TRY_VOID(model->loader.check_complete());
  model->info = describe(path, model->file, hparams, model->loader, *model->network);
  model->info.weight_bytes = model->loader.packed_bytes();
  if (model->head) model->info.file_bytes += model->head->size_bytes();
  return model;
}

}  // namespace

Result<void> check_supported(const GgufMetadata& file) {
  FLOE_TRY_VOID(architecture_of(file));
  return {};
}

Result<LoadedNetwork> load_network(const std::string& path, const ModelOptions& options,
                                   ThreadPool& pool) {
  FLOE_TRY(const std::unique_ptr<OpenedModel> model, open_model(path, options));
  LoadedNetwork loaded;
  FLOE_TRY(loaded.weights, model->loader.pack(pool, options.show_progress));
  loaded.info = std::move(model->info);
  loaded.network = std::move(model->network);
  // Of a head in a file of its own only tensors are read.
  loaded.hyperparameters_hash = hash_of_hyperparameters(model->file, model->hparams.architecture);
  return loaded;
}

Result<std::unique_ptr<Model>> load_model(const std::string& path, const ModelOptions& options,
                                          ThreadPool& pool) {
  FLOE_TRY(LoadedNetwork loaded, load_network(path, options, pool));
  const KernelTable& table = options.kernels != nullptr ? *options.kernels : kernels();
  return std::unique_ptr<Model>(std::make_unique<Decoder>(
      std::move(loaded.info), std::move(loaded.network), loaded.hyperparameters_hash,
      std::move(loaded.weights), pool, table));
}

ModelNeeds::ModelNeeds(ModelInfo info, std::unique_ptr<const Network> network)
    : info_(std::move(info)), network_(std::move(network)) {}
ModelNeeds::ModelNeeds(ModelNeeds&&) noexcept = default;
ModelNeeds::~ModelNeeds() = default;

Result<ModelNeeds> ModelNeeds::of(const std::string& path, const ModelOptions& options) {
  FLOE_TRY(const std::unique_ptr<OpenedModel> model, open_model(path, options));
  return ModelNeeds(std::move(model->info), std::move(model->network));
}

KvCacheBytes ModelNeeds::cache_bytes(KvTypes types) const {
  return HostKvCache::bytes_of(cache_layout(*network_), types);
}

uint64_t ModelNeeds::workspace_bytes(const ForwardLimits& limits, uint32_t n_threads) const {
  return Workspace::bytes_of(*network_, limits, n_threads);
}

}  // namespace floe
