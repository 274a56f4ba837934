#include "verbs/spec_flags.h"

#include <algorithm>
#include <utility>

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
};

Result<std::vector<DraftSource>> parse_types(std::string_view text) {
  std::vector<DraftSource> sources;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view name = text.substr(begin, end - begin);
    begin = end + 1;
    const auto row = std::find_if(std::begin(kSources), std::end(kSources),
                                  [&](const NamedSource& s) { return s.name == name; });
    if (row == std::end(kSources)) {
      return usage_error(
          "--spec-type: expected auto or a list of ngram, mtp, draft, eagle3, found '{}'", name);
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
  add_drafters_to(table);
}

void SpecFlags::add_drafters_to(OptionTable& table) {
  table.add(
      "--spec-type", "LIST", &types,
      "drafters in the order they are asked: ngram, mtp, draft, eagle3; auto: those there are");
}

Result<Speculating> prepare(const SpecFlags& flags, const LoadedModel& loaded) {
  Speculating speculating;
  auto policy = parse_spec_policy(flags.spec);
  if (!policy.ok()) return usage_error("--spec: {}", policy.error().message);
  speculating.policy = *policy;
  const ModelInfo& info = loaded.model->info();
  std::vector<DraftSource> sources;
  if (flags.types == "auto") {
    sources.push_back(DraftSource::prompt_lookup);
    if (info.has_mtp) sources.push_back(DraftSource::mtp);
  } else {
    FLOE_TRY(sources, parse_types(flags.types));
  }
  if (policy->mode == SpecMode::off) return speculating;
  std::vector<DrafterChoice> choices;
  for (const DraftSource source : sources) {
    if (source == DraftSource::mtp && !info.has_mtp) {
      return usage_error("--spec-type mtp: the model has no MTP layer");
    }
    choices.push_back({source});
  }
  speculating.drafters =
      [choices](Model& trunk, KvCache& cache,
                const DraftLimits& limits) -> Result<std::vector<std::unique_ptr<Drafter>>> {
    std::vector<std::unique_ptr<Drafter>> drafters;
    for (const DrafterChoice& choice : choices) {
      FLOE_TRY(auto drafter, make_drafter(choice, trunk, cache, limits));
      drafters.push_back(std::move(drafter));
    }
    return drafters;
  };
  return speculating;
}

}  // namespace floe
