#include "verbs/spec_flags.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "lab/machine_rates.h"
#include "model/eagle3_config.h"
#include "model/model_needs.h"
#include "store/gguf.h"
#include "text/vocabulary.h"
#include "verbs/device_flag.h"

namespace floe {

namespace {

struct NamedSource {
  std::string_view name;
  DraftSource source;
};
constexpr NamedSource kSources[] = {
    {"ngram", DraftSource::prompt_lookup},
    {"mtp", DraftSource::mtp},
    {"draft", DraftSource::draft_model},
    {"eagle3", DraftSource::eagle3},
    // As llama.cpp has them.
    {"ngram-simple", DraftSource::prompt_lookup},
    {"draft-mtp", DraftSource::mtp},
    {"draft-simple", DraftSource::draft_model},
    {"draft-eagle3", DraftSource::eagle3},
};

Result<std::vector<DraftSource>> parse_types(std::string_view text) {
  std::vector<DraftSource> sources;
  if (text == "none") return sources;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view name = text.substr(begin, end - begin);
    begin = end + 1;
    const auto row = std::find_if(std::begin(kSources), std::end(kSources),
                                  [&](const NamedSource& s) { return s.name == name; });
    if (row == std::end(kSources)) {
      return usage_error(
          "--spec-type: expected auto, none or a list of ngram, mtp, draft, eagle3, found '{}'",
          name);
    }
    if (std::find(sources.begin(), sources.end(), row->source) != sources.end()) {
      return usage_error("--spec-type: '{}' comes twice", name);
    }
    sources.push_back(row->source);
  }
  return sources;
}

}  // namespace

void SpecFlags::add_to(OptionTable& table) {
  table.add(
      "--spec", "MODE", &spec,
      "speculation: off, on:K (K guesses a step), auto (as many as pay), report (decide as auto, "
      "verify none)");
  table.add("--spec-draft-n-max,--draft-max,--draft-n,--draft", "N", &max_draft_tokens, 0,
            kMaxDraftTokens, "most guesses of a sequence in one step; 0: no speculation");
  add_drafters_to(table);
}

void SpecFlags::add_drafters_to(OptionTable& table) {
  table.add("--spec-type", "LIST", &types,
            "drafters in the order they are asked: ngram, mtp, draft, eagle3; auto: those there "
            "are; none: "
            "no speculation");
  table.add("-md,--model-draft,--spec-draft-model", "FILE", &draft_model_path,
            "GGUF of a smaller model with the same tokenizer, to guess with");
  table.add("--model-mtp", "FILE", &mtp_path,
            "GGUF of the model's draft head (nextn), where it is a file of its own");
  table.add("--model-eagle3", "DIR", &eagle3_path,
            "folder of an EAGLE-3 head made for the model: config.json and model.safetensors");
  table.add("--mtp-vocab", "N", &mtp_vocab, 0, 1 << 24,
            "tokens that the draft head chooses from, the first N ids; 0: all");
}

namespace {

// Below this the weights stay in cache, and what the machine reads from memory says nothing.
constexpr uint64_t kLeastWeightBytes = uint64_t{256} << 20;

Result<std::vector<DraftSource>> choose_sources(const SpecFlags& flags, const ModelInfo& info) {
  const bool has_draft_model = !flags.draft_model_path.empty();
  const bool has_eagle3 = !flags.eagle3_path.empty();
  if (flags.types != "auto") {
    FLOE_TRY(std::vector<DraftSource> sources, parse_types(flags.types));
    const auto asks = [&](DraftSource source) {
      return std::find(sources.begin(), sources.end(), source) != sources.end();
    };
    if (asks(DraftSource::mtp) && !info.has_mtp) {
      return usage_error("--spec-type mtp: {} has no draft head; --model-mtp names one in a file",
                         info.name);
    }
    if (!asks(DraftSource::mtp) && (flags.mtp_vocab != 0 || !flags.mtp_path.empty())) {
      return usage_error("--model-mtp and --mtp-vocab are for mtp, which --spec-type leaves out");
    }
    if (asks(DraftSource::draft_model) != has_draft_model) {
      return usage_error("--spec-type draft and -md go together");
    }
    if (asks(DraftSource::eagle3) != has_eagle3) {
      return usage_error("--spec-type eagle3 and --model-eagle3 go together");
    }
    return sources;
  }
  std::vector<DraftSource> sources = {DraftSource::prompt_lookup};
  if (info.has_mtp) sources.push_back(DraftSource::mtp);
  if (!info.has_mtp && flags.mtp_vocab != 0) {
    return usage_error("--mtp-vocab: {} has no draft head", info.name);
  }
  if (has_draft_model) sources.push_back(DraftSource::draft_model);
  if (has_eagle3) sources.push_back(DraftSource::eagle3);
  return sources;
}

Result<std::unique_ptr<Model>> load_draft_model(const SpecFlags& flags,
                                                const ModelFlags& model_flags,
                                                const LoadedModel& loaded) {
  FLOE_TRY(const GgufFile trunk, open_model_file(model_flags.model_path));
  FLOE_TRY(const GgufFile draft, open_model_file(flags.draft_model_path));
  FLOE_TRY(const Vocabulary reference, load_vocabulary(trunk));
  FLOE_TRY(const Vocabulary vocabulary, load_vocabulary(draft));
  FLOE_TRY_VOID(expect_same_tokens(vocabulary, reference));
  ModelOptions options;
  options.show_progress = model_flags.progress;
  return load_model_on(model_flags.device, flags.draft_model_path, options, *loaded.pool);
}

}  // namespace

namespace {

Result<DrafterNeeds> draft_model_needs(const std::string& path, KvTypes types) {
  FLOE_TRY(ModelNeeds opened, ModelNeeds::of(path, ModelOptions{}));
  const auto model = std::make_shared<const ModelNeeds>(std::move(opened));
  DrafterNeeds needs;
  needs.weight_bytes = model->info().weight_bytes;
  needs.slot_bytes = model->cache_bytes(types).per_slot;
  needs.slot_bytes_q8_0 = model->cache_bytes(KvType::Q8_0).per_slot;
  needs.workspace_bytes = [model](const ForwardLimits& limits, uint32_t n_threads) {
    return model->workspace_bytes(limits, n_threads);
  };
  return needs;
}

// The files are an upper bound: their matrices are packed into fewer bits.
Result<DrafterNeeds> eagle3_needs(const std::string& folder, KvTypes types) {
  FLOE_TRY(const Eagle3Config config, read_eagle3_config(folder));
  DrafterNeeds needs;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() != ".safetensors") continue;
    std::error_code unknown;
    const uint64_t n_bytes = entry->file_size(unknown);
    if (!unknown) needs.weight_bytes += n_bytes;
  }
  const auto slot_bytes = [&](KvTypes kv) {
    return uint64_t{config.n_kv_heads} * (kv_vector_bytes(kv.keys, config.head_dim) +
                                          kv_vector_bytes(kv.values, config.head_dim));
  };
  needs.slot_bytes = slot_bytes(types);
  needs.slot_bytes_q8_0 = slot_bytes(KvType::Q8_0);
  return needs;
}

}  // namespace

Result<LoadedModel> load(const ModelFlags& flags, const SpecFlags& spec, const Workload& workload) {
  std::vector<DrafterNeeds> drafters;
  const auto policy = parse_spec_policy(spec.spec);
  const bool guesses = policy.ok() && policy->mode != SpecMode::off && spec.max_draft_tokens > 0;
  if (guesses && !spec.draft_model_path.empty()) {
    FLOE_TRY(DrafterNeeds needs, draft_model_needs(spec.draft_model_path, flags.kv_types()));
    drafters.push_back(std::move(needs));
  }
  if (guesses && !spec.eagle3_path.empty()) {
    FLOE_TRY(DrafterNeeds needs, eagle3_needs(spec.eagle3_path, flags.kv_types()));
    drafters.push_back(std::move(needs));
  }
  return load(flags, workload, spec.mtp_path, drafters);
}

Result<Speculating> prepare(const SpecFlags& flags, const ModelFlags& model_flags,
                            const LoadedModel& loaded) {
  Speculating speculating;
  auto policy = parse_spec_policy(flags.spec);
  if (!policy.ok()) return usage_error("--spec: {}", policy.error().message);
  speculating.policy = *policy;
  speculating.max_draft_tokens = static_cast<uint32_t>(flags.max_draft_tokens);
  if (speculating.max_draft_tokens == 0) speculating.policy.mode = SpecMode::off;
  FLOE_TRY(const std::vector<DraftSource> sources, choose_sources(flags, loaded.model->info()));
  if (sources.empty()) speculating.policy.mode = SpecMode::off;
  if (speculating.policy.mode == SpecMode::off) return speculating;
  std::vector<DrafterSetup> choices;
  for (const DraftSource source : sources) {
    DrafterSetup& choice = choices.emplace_back();
    choice.source = source;
    choice.mtp_vocab = static_cast<uint32_t>(flags.mtp_vocab);
    if (source == DraftSource::draft_model) {
      FLOE_TRY(speculating.draft_model, load_draft_model(flags, model_flags, loaded));
      choice.draft_model = speculating.draft_model.get();
    } else if (source == DraftSource::eagle3) {
      FLOE_TRY(speculating.eagle3,
               Eagle3Head::load(flags.eagle3_path, *loaded.model, Eagle3Options{}, *loaded.pool));
      choice.eagle3 = speculating.eagle3.get();
    }
  }
  if (policy->mode != SpecMode::fixed && loaded.model->info().weight_bytes >= kLeastWeightBytes) {
    FLOE_TRY(speculating.rates, measure_machine_rates(*loaded.pool, *loaded.model));
  }
  speculating.drafters =
      [choices](Model& trunk, KvCache& cache,
                const DraftLimits& limits) -> Result<std::vector<std::unique_ptr<Drafter>>> {
    std::vector<std::unique_ptr<Drafter>> drafters;
    for (const DrafterSetup& choice : choices) {
      FLOE_TRY(auto drafter, make_drafter(choice, trunk, cache, limits));
      drafters.push_back(std::move(drafter));
    }
    return drafters;
  };
  return speculating;
}

}  // namespace floe
