#include "tools/synth_words.h"

#include <filesystem>
#include <string_view>
#include <vector>

namespace floe {

namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
constexpr std::string_view kTypes = "tokenizer.ggml.token_type";
constexpr int32_t kNormalToken = 1;
// A space as byte-pair vocabularies spell it.
constexpr std::string_view kSpace = "\u0120";

}  // namespace

std::optional<std::string> bundled_model_path() {
  namespace fs = std::filesystem;
  std::error_code fault;
  const fs::path program = fs::read_symlink("/proc/self/exe", fault);
  const fs::path name = fs::path("models") / "floe-nano.gguf";
  for (const fs::path& path : {name, program.parent_path() / "../.." / name}) {
    if (fs::is_regular_file(path, fault)) return path.lexically_normal().string();
  }
  return std::nullopt;
}

Result<void> add_words(const GgufFile& file, uint32_t n_vocab, GgufHeaderBuilder& header) {
  FLOE_TRY(const auto model, file.optional_string("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return usage_error("{}: expected a byte-pair vocabulary (tokenizer.ggml.model gpt2)",
                       file.source());
  }
  FLOE_TRY(const std::vector<std::string_view> words, file.require_strings(kTokens));
  if (words.size() > n_vocab) {
    return usage_error("{}: its vocabulary of {} words does not fit one of {}", file.source(),
                       words.size(), n_vocab);
  }
  std::vector<std::string> tokens(words.begin(), words.end());
  for (size_t id = tokens.size(); id < n_vocab; ++id) {
    tokens.push_back(fmt::format("{}w{}", kSpace, id));
  }
  std::vector<int32_t> types(n_vocab, kNormalToken);
  if (file.has(kTypes)) {
    FLOE_TRY(const std::vector<int64_t> given, file.require_ints(kTypes, 0, 6));
    if (given.size() != words.size()) {
      return model_error("{}: {}: expected {} values, found {}", file.source(), kTypes,
                         words.size(), given.size());
    }
    std::copy(given.begin(), given.end(), types.begin());
  }
  for (const MetadataEntry& entry : file.entries()) {
    if (!entry.key.starts_with("tokenizer.") || entry.key == kTokens || entry.key == kTypes)
      continue;
    header.add_copy(entry);
  }
  header.add_string_array(kTokens, std::span<const std::string>(tokens));
  header.add_i32_array(kTypes, types);
  return {};
}

}  // namespace floe
