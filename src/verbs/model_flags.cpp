#include "verbs/model_flags.h"

#include <cstdio>

namespace floe {

void ModelFlags::add_to(OptionTable& table) {
  table.add("-m,--model", "FILE", &model_path, "GGUF model; any shard of a split set");
  table.add("-t,--threads", "N", &n_threads, 0, 1024, "threads; 0: one per physical core");
  table.add("--progress", &progress, "show progress on stderr");
  table.add_choice("-ctk,--cache-type-k", {"f16", "q8_0", "f32"}, &cache_type_k,
                   "type of cached keys; models with latent attention (MLA) cache nothing else");
  table.add_choice("-ctv,--cache-type-v", {"f16", "q8_0", "f32"}, &cache_type_v,
                   "type of cached values; models with latent attention (MLA) have none");
}

Result<LoadedModel> load(const ModelFlags& flags, const std::string& mtp_path) {
  if (flags.model_path.empty()) return usage_error("-m: expected a model file");
  LoadedModel loaded;
  loaded.pool = std::make_unique<ThreadPool>(static_cast<uint32_t>(flags.n_threads));
  ModelOptions options;
  options.show_progress = flags.progress;
  options.mtp_path = mtp_path;
  FLOE_TRY(loaded.model, load_model(flags.model_path, options, *loaded.pool));
  return loaded;
}

bool printed_help(const OptionTable& table) {
  if (!table.help_requested()) return false;
  std::fputs(table.help().c_str(), stdout);
  return true;
}

Result<void> no_positionals(const OptionTable& table) {
  if (table.positional().empty()) return {};
  return usage_error("unexpected argument '{}'", table.positional().front());
}

}  // namespace floe
