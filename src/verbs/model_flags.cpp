#include "verbs/model_flags.h"

#include <cstdio>

#include "verbs/device_flag.h"
#include "verbs/llama_options.h"

namespace floe {

void ModelFlags::add_to(OptionTable& table) {
  table.add("-m,--model", "FILE", &model_path, "GGUF model; any shard of a split set");
  table.add("-t,--threads", "N", &n_threads, 0, 1024, "threads; 0: one per physical core");
  add_device_flag(table, &device);
  table.add("--progress", &progress, "show progress on stderr");
  table.add_choice("-ctk,--cache-type-k", {"f16", "q8_0", "f32"}, &cache_type_k,
                   "type of cached keys; models with latent attention (MLA) cache nothing else");
  table.add_choice("-ctv,--cache-type-v", {"f16", "q8_0", "f32"}, &cache_type_v,
                   "type of cached values; models with latent attention (MLA) have none");
}

Result<GgufFile> open_model_file(const std::string& path) {
  FLOE_TRY(GgufFile file, GgufFile::open(path));
  FLOE_TRY_VOID(check_supported(file));
  return file;
}

Result<LoadedModel> load(const ModelFlags& flags, const std::string& mtp_path) {
  if (flags.model_path.empty()) return usage_error("-m: expected a model file");
  const size_t n_cores = physical_cpus().size();
  if (static_cast<uint64_t>(flags.n_threads) > n_cores) {
    fmt::print(stderr,
               "floe: -t {}: this process may use {} physical core{}; more threads than cores wait "
               "for each other\n",
               flags.n_threads, n_cores, n_cores == 1 ? "" : "s");
  }
  LoadedModel loaded;
  loaded.pool = std::make_unique<ThreadPool>(static_cast<uint32_t>(flags.n_threads));
  ModelOptions options;
  options.show_progress = flags.progress;
  options.mtp_path = mtp_path;
  FLOE_TRY(loaded.model, load_model_on(flags.device, flags.model_path, options, *loaded.pool));
  return loaded;
}

Result<bool> parse_options(OptionTable& table, std::span<const std::string> arguments) {
  table.answer(llama_options());
  FLOE_TRY_VOID(table.parse(arguments));
  if (table.help_requested()) {
    std::fputs(table.help().c_str(), stdout);
    return true;
  }
  if (!table.positional().empty()) {
    return usage_error("unexpected argument '{}'", table.positional().front());
  }
  for (const std::string& note : table.notes()) fmt::print(stderr, "floe: {}\n", note);
  return false;
}

}  // namespace floe
