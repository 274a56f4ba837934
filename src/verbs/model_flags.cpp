#include "verbs/model_flags.h"

#include <cstdio>

#include "base/memory.h"
#include "base/terminal_text.h"
#include "kv/prefix_cache.h"
#include "model/model_needs.h"
#include "verbs/device_flag.h"
#include "verbs/llama_options.h"

namespace floe {

void ModelFlags::add_to(OptionTable& table) {
  table.add("-m,--model", "FILE", &model_path, "GGUF model; any shard of a split set");
  table.add("-t,--threads", "N", &n_threads, 0, 1024, "threads; 0: one per physical core");
  add_device_flag(table, &device);
  table.add("--mem", "GB", &mem_gb, 0, 1e6,
            "memory to use at most, for weights, KV cache and workspace; 0: what the machine has "
            "left");
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

namespace {

// Of the program itself: vocabulary, requests, threads.
constexpr uint64_t kOtherBytes = uint64_t{200} << 20;

MemoryNeeds needs_of(const ModelFlags& flags, const ModelNeeds& model,
                     std::span<const DrafterNeeds> drafters, const Workload& workload,
                     uint32_t n_threads) {
  MemoryNeeds needs;
  const KvCacheBytes cache = model.cache_bytes(flags.kv_types());
  constexpr uint64_t kFindingBytes = PrefixCache::kBytesPerBlock / kKvBlockTokens;
  needs.weight_bytes = model.info().weight_bytes;
  needs.slot_bytes = cache.per_slot + kFindingBytes;
  needs.slot_bytes_q8_0 = model.cache_bytes(KvType::Q8_0).per_slot + kFindingBytes;
  needs.sequence_bytes = cache.per_state;
  needs.model_context = model.info().context_length;
  for (const DrafterNeeds& drafter : drafters) {
    needs.drafter_bytes += drafter.weight_bytes;
    needs.slot_bytes += drafter.slot_bytes;
    needs.slot_bytes_q8_0 += drafter.slot_bytes_q8_0;
  }
  needs.workspace_bytes = [&model, drafters, &workload, n_threads](uint32_t context) {
    const ForwardLimits limits = workload.limits(context);
    uint64_t n_bytes = kOtherBytes + model.workspace_bytes(limits, n_threads);
    for (const DrafterNeeds& drafter : drafters) {
      if (drafter.workspace_bytes) n_bytes += drafter.workspace_bytes(limits, n_threads);
    }
    return n_bytes;
  };
  return needs;
}

}  // namespace

Result<LoadedModel> load(const ModelFlags& flags, const Workload& workload,
                         const std::string& mtp_path, std::span<const DrafterNeeds> drafters) {
  if (flags.model_path.empty()) return usage_error("-m: expected a model file");
  const size_t n_cores = physical_cpus().size();
  if (static_cast<uint64_t>(flags.n_threads) > n_cores) {
    fmt::print(stderr,
               "floe: -t {}: this process may use {} physical core{}; more threads than cores wait "
               "for each other\n",
               flags.n_threads, n_cores, n_cores == 1 ? "" : "s");
  }
  ModelOptions options;
  options.show_progress = flags.progress;
  options.mtp_path = mtp_path;
  LoadedModel loaded;
  loaded.pool = std::make_unique<ThreadPool>(static_cast<uint32_t>(flags.n_threads));
  FLOE_TRY(const ModelNeeds model, ModelNeeds::of(flags.model_path, options));
  MemoryBudget budget;
  const uint64_t card_bytes = free_card_bytes(flags.device, model.info().weight_bytes);
  budget.available_bytes = card_bytes != 0 ? card_bytes : available_memory_bytes();
  budget.mem_bytes = static_cast<uint64_t>(flags.mem_gb * 1e9);
  auto plan = plan_memory(needs_of(flags, model, drafters, workload, loaded.pool->size()),
                          workload.memory, budget);
  if (!plan.ok()) {
    return make_error(plan.error().kind, "{}: {}", escape_for_terminal(flags.model_path, 1024),
                      plan.error().message);
  }
  loaded.plan = *std::move(plan);
  if (!loaded.plan.note.empty()) fmt::print(stderr, "floe: {}\n", loaded.plan.note);
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
