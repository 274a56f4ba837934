#include "text/vocabulary.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "base/terminal_text.h"
#include "store/gguf_metadata.h"

namespace floe {
namespace {

constexpr int64_t kMaxTokens = 1 << 24;

// Converters write 4294967295 or -1 where a model has no such token. Any id that is none counts as
// absent: what is left of the vocabulary works without it.
Result<int32_t> read_id(const GgufMetadata& metadata, std::string_view key, size_t n_vocab) {
  constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
  FLOE_TRY(const std::optional<int64_t> id, metadata.optional_int(key, -kAny, kAny));
  if (!id) return -1;
  if (*id >= 0 && *id < static_cast<int64_t>(n_vocab)) return static_cast<int32_t>(*id);
  spdlog::warn("{}: {}: no token has the id {}; treated as absent",
               escape_for_terminal(metadata.source()), key, *id);
  return -1;
}

Result<Vocabulary::Choice> read_choice(const GgufMetadata& metadata, std::string_view key) {
  FLOE_TRY(const std::optional<bool> value, metadata.optional_bool(key));
  if (!value) return Vocabulary::Choice::absent;
  return *value ? Vocabulary::Choice::yes : Vocabulary::Choice::no;
}

Result<std::vector<std::string>> read_strings(const GgufMetadata& metadata, std::string_view key) {
  FLOE_TRY(const std::vector<std::string_view> views, metadata.require_strings(key));
  return std::vector<std::string>(views.begin(), views.end());
}

}  // namespace

Result<Vocabulary> load_vocabulary(const GgufMetadata& metadata) {
  Vocabulary vocabulary;
  vocabulary.source = metadata.source();

  FLOE_TRY(const auto model, metadata.optional_string("tokenizer.ggml.model"));
  if (!model || *model == "none" || *model == "no_vocab") {
    return model_error(
        "{}: no vocabulary: tokenizer.ggml.model is {}, expected gpt2 or llama; text cannot be "
        "tokenized with this file, token ids can still be run",
        vocabulary.source, model ? std::string(*model) : "absent");
  }
  vocabulary.model = *model;
  if (vocabulary.model != "gpt2" && vocabulary.model != "llama") {
    return model_error("{}: tokenizer.ggml.model: expected gpt2 or llama, found '{}'",
                       vocabulary.source, vocabulary.model);
  }
  FLOE_TRY(const auto pre, metadata.optional_string("tokenizer.ggml.pre"));
  vocabulary.pre = pre.value_or("");

  FLOE_TRY(vocabulary.tokens, read_strings(metadata, "tokenizer.ggml.tokens"));
  const size_t n_vocab = vocabulary.tokens.size();
  if (n_vocab == 0 || n_vocab > static_cast<size_t>(kMaxTokens)) {
    return model_error("{}: tokenizer.ggml.tokens: expected 1 to {} tokens, found {}",
                       vocabulary.source, kMaxTokens, n_vocab);
  }
  if (metadata.has("tokenizer.ggml.scores")) {
    FLOE_TRY(vocabulary.scores, metadata.require_floats("tokenizer.ggml.scores"));
  }
  if (metadata.has("tokenizer.ggml.token_type")) {
    FLOE_TRY(const std::vector<int64_t> types,
             metadata.require_ints("tokenizer.ggml.token_type", 0,
                                   static_cast<int64_t>(TokenType::byte)));
    vocabulary.types.reserve(types.size());
    for (const int64_t type : types) vocabulary.types.push_back(static_cast<TokenType>(type));
  }
  if (vocabulary.model == "gpt2") {
    FLOE_TRY(vocabulary.merges, read_strings(metadata, "tokenizer.ggml.merges"));
  }

  const std::pair<const char*, int32_t*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &vocabulary.bos_id},
      {"tokenizer.ggml.eos_token_id", &vocabulary.eos_id},
      {"tokenizer.ggml.eot_token_id", &vocabulary.eot_id},
      {"tokenizer.ggml.eom_token_id", &vocabulary.eom_id},
      {"tokenizer.ggml.unknown_token_id", &vocabulary.unknown_id},
      {"tokenizer.ggml.padding_token_id", &vocabulary.pad_id},
  };
  for (const auto& [key, id] : ids) {
    FLOE_TRY(*id, read_id(metadata, key, n_vocab));
  }
  FLOE_TRY(vocabulary.add_bos, read_choice(metadata, "tokenizer.ggml.add_bos_token"));
  FLOE_TRY(vocabulary.add_eos, read_choice(metadata, "tokenizer.ggml.add_eos_token"));
  FLOE_TRY(vocabulary.add_space_prefix, read_choice(metadata, "tokenizer.ggml.add_space_prefix"));
  FLOE_TRY(const auto chat_template, metadata.optional_string("tokenizer.chat_template"));
  vocabulary.chat_template = chat_template.value_or("");
  return vocabulary;
}

Result<void> expect_same_tokens(const Vocabulary& vocabulary, const Vocabulary& reference) {
  const size_t n_both = std::min(vocabulary.tokens.size(), reference.tokens.size());
  for (size_t id = 0; id < n_both; ++id) {
    if (vocabulary.tokens[id] == reference.tokens[id]) continue;
    return model_error("{}: tokenizer.ggml.tokens: token {}: expected '{}' as in {}, found '{}'",
                       vocabulary.source, id, escape_for_terminal(reference.tokens[id]),
                       reference.source, escape_for_terminal(vocabulary.tokens[id]));
  }
  if (vocabulary.tokens.size() != reference.tokens.size()) {
    return model_error("{}: tokenizer.ggml.tokens: expected {} tokens as in {}, found {}",
                       vocabulary.source, reference.tokens.size(), reference.source,
                       vocabulary.tokens.size());
  }
  const auto text = [](int32_t id) { return id < 0 ? std::string("none") : fmt::format("{}", id); };
  const std::tuple<const char*, int32_t, int32_t> ids[] = {
      {"bos", vocabulary.bos_id, reference.bos_id}, {"eos", vocabulary.eos_id, reference.eos_id}};
  for (const auto& [name, found, expected] : ids) {
    if (found == expected) continue;
    return model_error("{}: tokenizer.ggml.{}_token_id: expected {} as in {}, found {}",
                       vocabulary.source, name, text(expected), reference.source, text(found));
  }
  return {};
}

}  // namespace floe
