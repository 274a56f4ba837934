#include "text/tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "text/byte_pair.h"
#include "text/pretokenizer.h"
#include "text/score_merge.h"
#include "text/special_tokens.h"

namespace floe {
namespace {

constexpr size_t kMaxTokenBytes = 65535;

// Tokens that end an answer by their text, whatever else the file says. The order is the one in
// which an end-of-turn token is looked for when the file names none.
constexpr std::string_view kEndOfTurnTexts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
    "<end_of_utterance>",
};
constexpr std::string_view kEndOfGenerationTexts[] = {
    "<|eom_id|>", "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "</s>", "[EOS]", "<eos>",
};

enum TokenFlag : uint8_t {
  kFlagControl = 1 << 0,
  kFlagSpecial = 1 << 1,
  kFlagEndOfGeneration = 1 << 2,
};

// User-defined tokens that are markup, such as <think> or [gMASK]: text in brackets without spaces.
bool looks_like_markup(std::string_view text) {
  if (text.size() < 3) return false;
  const bool brackets =
      (text.front() == '<' && text.back() == '>') || (text.front() == '[' && text.back() == ']');
  return brackets && text.find_first_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

struct Tokenizer::Index {
  std::string source;
  std::string model;
  std::string pre;
  std::string chat_template;

  std::string arena;              // the bytes of all tokens
  std::vector<uint64_t> offsets;  // [n_vocab + 1] into arena
  std::vector<uint8_t> flags;     // [n_vocab] TokenFlag
  std::unordered_map<std::string_view, int32_t> by_bytes;

  SpecialMatcher special;       // every special token
  SpecialMatcher user_defined;  // those that plain text may become
  std::unique_ptr<const BytePairEncoder> byte_pair;
  std::unique_ptr<const ScoreEncoder> score;

  int32_t bos_id = -1;
  int32_t eos_id = -1;
  int32_t eot_id = -1;
  int32_t unknown_id = -1;
  int32_t pad_id = -1;
  size_t longest_token_bytes = SIZE_MAX;  // SIZE_MAX also where bytes may come out as no token
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;
  bool tidies_spaces = false;

  int32_t n_vocab() const { return static_cast<int32_t>(flags.size()); }
  bool has_flag(int32_t id, uint8_t mask) const {
    return id >= 0 && id < n_vocab() && (flags[id] & mask) != 0;
  }
  std::string_view bytes(int32_t id) const {
    if (id < 0 || id >= n_vocab()) return {};
    return std::string_view(arena).substr(offsets[id], offsets[id + 1] - offsets[id]);
  }
};

namespace {

// One call of encode: buffers, and whether the next text follows a special token.
struct EncodeRun {
  MergeScratch scratch;
  uint64_t n_looks = 0;
  bool after_special = true;
  std::vector<int32_t> ids;
};

Result<void> check_vocabulary(const Vocabulary& vocabulary) {
  const size_t n_vocab = vocabulary.tokens.size();
  if (n_vocab == 0) {
    return model_error("{}: tokenizer.ggml.tokens: expected at least one token, found none",
                       vocabulary.source);
  }
  if (!vocabulary.scores.empty() && vocabulary.scores.size() != n_vocab) {
    return model_error("{}: tokenizer.ggml.scores: expected {} values, one per token, found {}",
                       vocabulary.source, n_vocab, vocabulary.scores.size());
  }
  if (!vocabulary.types.empty() && vocabulary.types.size() != n_vocab) {
    return model_error("{}: tokenizer.ggml.token_type: expected {} values, one per token, found {}",
                       vocabulary.source, n_vocab, vocabulary.types.size());
  }
  for (size_t id = 0; id < n_vocab; ++id) {
    const std::string& text = vocabulary.tokens[id];
    if (text.size() > kMaxTokenBytes) {
      return model_error("{}: tokenizer.ggml.tokens[{}]: expected at most {} bytes, found {}",
                         vocabulary.source, id, kMaxTokenBytes, text.size());
    }
    if (!vocabulary.types.empty() && vocabulary.types[id] == TokenType::byte &&
        !parse_byte_token(text)) {
      return model_error(
          "{}: tokenizer.ggml.tokens[{}]: expected a byte token such as <0x0A>, found another text "
          "of {} bytes",
          vocabulary.source, id, text.size());
    }
  }
  const std::pair<const char*, int32_t> ids[] = {
      {"bos_token_id", vocabulary.bos_id},         {"eos_token_id", vocabulary.eos_id},
      {"eot_token_id", vocabulary.eot_id},         {"eom_token_id", vocabulary.eom_id},
      {"unknown_token_id", vocabulary.unknown_id}, {"padding_token_id", vocabulary.pad_id},
  };
  for (const auto& [name, id] : ids) {
    if (id < -1 || id >= static_cast<int64_t>(n_vocab)) {
      return model_error("{}: tokenizer.ggml.{}: expected 0 to {}, found {}", vocabulary.source,
                         name, n_vocab - 1, id);
    }
  }
  return {};
}

// Score-based files may leave their three classic ids unsaid.
void default_score_ids(Vocabulary& vocabulary) {
  const auto is_type = [&](int32_t id, TokenType type) {
    return id < static_cast<int64_t>(vocabulary.tokens.size()) && !vocabulary.types.empty() &&
           vocabulary.types[id] == type;
  };
  if (vocabulary.unknown_id < 0 && is_type(0, TokenType::unknown)) vocabulary.unknown_id = 0;
  if (vocabulary.bos_id < 0 && is_type(1, TokenType::control)) vocabulary.bos_id = 1;
  if (vocabulary.eos_id < 0 && is_type(2, TokenType::control)) vocabulary.eos_id = 2;
}

bool chosen(Vocabulary::Choice choice, bool fallback) {
  return choice == Vocabulary::Choice::absent ? fallback : choice == Vocabulary::Choice::yes;
}

// Removes the spaces that whole-word tokenizers put before punctuation: " ." and " 's" and the
// like.
std::string tidy_spaces(const std::string& text) {
  std::string first;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool closes = c == '?' || c == '!' || c == '.' || c == ',';
    // The very first character stays, as the convention has it.
    if (closes && i > 0 && text[i - 1] == ' ' && !first.empty()) first.pop_back();
    first.push_back(c);
  }
  std::string second;
  for (size_t i = 0; i < first.size(); ++i) {
    const bool alone = first[i] == '\'' && i > 0 && first[i - 1] == ' ' && i + 1 < first.size() &&
                       first[i + 1] == ' ';
    if (alone && !second.empty()) second.pop_back();
    second.push_back(first[i]);
    if (alone) ++i;
  }
  std::string third;
  for (size_t i = 0; i < second.size(); ++i) {
    if (second[i] == '\'' && i > 0 && second[i - 1] == ' ' && i + 1 < second.size() &&
        !third.empty()) {
      const std::string_view rest = std::string_view(second).substr(i + 1);
      if (rest[0] == 's' || rest[0] == 'm' || rest.substr(0, 2) == "re" ||
          rest.substr(0, 2) == "ve") {
        third.pop_back();
      }
    }
    third.push_back(second[i]);
  }
  return third;
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Index> index) : index_(std::move(index)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<const Tokenizer>> Tokenizer::load(const GgufMetadata& file) {
  FLOE_TRY(Vocabulary vocabulary, load_vocabulary(file));
  return build(std::move(vocabulary));
}

Result<std::unique_ptr<const Tokenizer>> Tokenizer::build(Vocabulary vocabulary) {
  const bool byte_level = vocabulary.model == "gpt2";
  if (!byte_level && vocabulary.model != "llama") {
    return model_error("{}: tokenizer.ggml.model: expected gpt2 or llama, found '{}'",
                       vocabulary.source, vocabulary.model);
  }
  PreTokenizer rules;
  if (byte_level) {
    const auto known = find_pre_tokenizer(vocabulary.pre);
    if (!known) {
      return model_error(
          "{}: tokenizer.ggml.pre: expected a pre-tokenizer this program knows (gpt-2, llama-bpe, "
          "qwen2, deepseek-llm, deepseek-v3, glm4, default, ...), found '{}'",
          vocabulary.source, vocabulary.pre);
    }
    rules = *known;
  } else {
    rules.tidies_spaces = false;
    rules.adds_bos = true;
  }
  FLOE_TRY_VOID(check_vocabulary(vocabulary));
  if (!byte_level) default_score_ids(vocabulary);

  auto index = std::make_unique<Index>();
  const size_t n_vocab = vocabulary.tokens.size();
  std::vector<bool> producible(n_vocab);
  index->flags.resize(n_vocab);
  index->offsets.reserve(n_vocab + 1);
  index->offsets.push_back(0);
  std::unordered_map<std::string_view, int32_t> special_by_text;
  for (size_t i = 0; i < n_vocab; ++i) {
    const int32_t id = static_cast<int32_t>(i);
    const std::string& text = vocabulary.tokens[i];
    TokenType type = vocabulary.types.empty() ? TokenType::normal : vocabulary.types[i];
    const bool named = id == vocabulary.bos_id || id == vocabulary.eos_id ||
                       id == vocabulary.eot_id || id == vocabulary.eom_id;
    // Files without types still know their special ids.
    if (vocabulary.types.empty() && named) type = TokenType::control;
    const bool control = type == TokenType::control || type == TokenType::unknown;
    const bool special = control || (type == TokenType::user_defined && looks_like_markup(text));
    if (control) index->flags[i] |= kFlagControl;
    if (special) index->flags[i] |= kFlagSpecial;
    if (special) {
      index->special.add(text, id);
      if (!text.empty()) special_by_text.emplace(text, id);
    } else if (type == TokenType::user_defined) {
      index->user_defined.add(text, id);
    }
    producible[i] = !special && type != TokenType::user_defined && type != TokenType::byte;

    if (special || type == TokenType::user_defined) {
      index->arena += text;
    } else if (byte_level) {
      index->arena += type == TokenType::byte
                          ? std::string(1, static_cast<char>(*parse_byte_token(text)))
                          : decode_byte_level_text(text);
    } else {
      const bool may_be_byte = type == TokenType::byte || vocabulary.types.empty();
      const auto byte = may_be_byte ? parse_byte_token(text) : std::nullopt;
      index->arena += byte ? std::string(1, static_cast<char>(*byte)) : unescape_spaces(text);
    }
    index->offsets.push_back(index->arena.size());
  }
  index->by_bytes.reserve(n_vocab);
  for (size_t i = 0; i < n_vocab; ++i) {
    const std::string_view bytes = index->bytes(static_cast<int32_t>(i));
    if (!bytes.empty()) index->by_bytes.emplace(bytes, static_cast<int32_t>(i));
  }

  if (byte_level) {
    FLOE_TRY(index->byte_pair, BytePairEncoder::create(vocabulary, producible, rules));
  } else {
    FLOE_TRY(index->score, ScoreEncoder::create(vocabulary, producible));
  }

  if (index->score || !index->byte_pair->drops_bytes()) {
    index->longest_token_bytes = 1;
    for (size_t i = 0; i < n_vocab; ++i) {
      index->longest_token_bytes =
          std::max(index->longest_token_bytes, index->bytes(static_cast<int32_t>(i)).size());
    }
    // A space may have been written with the three bytes of U+2581, and an unknown character of
    // four bytes is one token.
    if (index->score) index->longest_token_bytes *= 4;
  }
  index->bos_id = vocabulary.bos_id;
  index->eos_id = vocabulary.eos_id;
  index->eot_id = vocabulary.eot_id;
  index->unknown_id = vocabulary.unknown_id;
  index->pad_id = vocabulary.pad_id;
  if (vocabulary.add_bos == Vocabulary::Choice::yes && vocabulary.bos_id < 0) {
    return model_error(
        "{}: tokenizer.ggml.bos_token_id: expected an id since add_bos_token is true, found none",
        vocabulary.source);
  }
  if (vocabulary.add_eos == Vocabulary::Choice::yes && vocabulary.eos_id < 0) {
    return model_error(
        "{}: tokenizer.ggml.eos_token_id: expected an id since add_eos_token is true, found none",
        vocabulary.source);
  }
  index->add_bos = vocabulary.bos_id >= 0 && chosen(vocabulary.add_bos, rules.adds_bos);
  index->add_eos = chosen(vocabulary.add_eos, false);
  index->add_space_prefix = !byte_level && chosen(vocabulary.add_space_prefix, true);
  index->tidies_spaces = rules.tidies_spaces;

  const auto end_generation = [&](int32_t id) {
    if (id >= 0) index->flags[id] |= kFlagEndOfGeneration;
  };
  const auto find = [&](std::string_view text) {
    const auto found = special_by_text.find(text);
    return found == special_by_text.end() ? -1 : found->second;
  };
  for (const std::string_view text : kEndOfTurnTexts) {
    const int32_t id = find(text);
    if (index->eot_id < 0) index->eot_id = id;
    end_generation(id);
  }
  for (const std::string_view text : kEndOfGenerationTexts) end_generation(find(text));
  // In these families <|end|> closes a message, not the answer.
  const bool harmony = find("<|return|>") >= 0 && find("<|call|>") >= 0;
  const bool solar = find("<|calls|>") >= 0 && find("<|flush|>") >= 0;
  if (const int32_t end = find("<|end|>"); end >= 0 && (harmony || solar)) {
    index->flags[end] &= static_cast<uint8_t>(~kFlagEndOfGeneration);
    if (vocabulary.eot_id < 0 && index->eot_id == end) index->eot_id = -1;
  }
  end_generation(vocabulary.eos_id);
  end_generation(vocabulary.eot_id);
  end_generation(vocabulary.eom_id);
  for (const int32_t id : vocabulary.end_of_generation_ids) {
    if (id >= 0 && id < static_cast<int64_t>(n_vocab)) end_generation(id);
  }

  index->source = std::move(vocabulary.source);
  index->model = std::move(vocabulary.model);
  index->pre = std::move(vocabulary.pre);
  index->chat_template = std::move(vocabulary.chat_template);
  return std::unique_ptr<const Tokenizer>(new Tokenizer(std::move(index)));
}

namespace {

// Text in which only user-defined words are tokens as a whole.
template <typename Index>
void encode_plain(const Index& index, std::string_view text, EncodeRun& run) {
  size_t begin = 0;
  const auto encode_between = [&](size_t end) {
    if (begin == end) return;
    const std::string_view piece = text.substr(begin, end - begin);
    if (index.byte_pair) {
      index.byte_pair->encode(piece, run.scratch, run.n_looks, run.ids);
    } else {
      index.score->encode(piece, index.add_space_prefix && run.after_special, run.scratch,
                          run.n_looks, run.ids);
    }
    run.after_special = false;
  };
  while (const auto match = index.user_defined.find(text, begin)) {
    encode_between(match->offset);
    run.ids.push_back(match->id);
    run.after_special = true;
    begin = match->offset + match->n_bytes;
  }
  encode_between(text.size());
}

template <typename Index>
void encode_text_parts(const Index& index, std::span<const TextPart> parts, EncodeRun& run) {
  if (parts.size() == 1 && !parts[0].trusted) {
    encode_plain(index, parts[0].text, run);
    return;
  }
  // Plain text is collected up to the next special token, so that words form across part borders.
  std::string pending;
  for (const TextPart& part : parts) {
    size_t begin = 0;
    if (part.trusted) {
      while (const auto match = index.special.find(part.text, begin)) {
        pending += part.text.substr(begin, match->offset - begin);
        encode_plain(index, pending, run);
        pending.clear();
        run.ids.push_back(match->id);
        run.after_special = true;
        begin = match->offset + match->n_bytes;
      }
    }
    pending += part.text.substr(begin);
  }
  encode_plain(index, pending, run);
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special, bool parse_special,
                                       EncodeWork* work) const {
  EncodeRun run;
  if (add_special && index_->add_bos) run.ids.push_back(index_->bos_id);
  const TextPart part{text, parse_special};
  encode_text_parts(*index_, {&part, 1}, run);
  if (add_special && index_->add_eos) run.ids.push_back(index_->eos_id);
  if (work != nullptr) *work = {run.n_looks, run.scratch.n_steps};
  return std::move(run.ids);
}

std::vector<int32_t> Tokenizer::encode_parts(std::span<const TextPart> parts) const {
  EncodeRun run;
  encode_text_parts(*index_, parts, run);
  return std::move(run.ids);
}

Encoded Tokenizer::encode_within(std::string_view text, bool add_special, bool parse_special,
                                 const EncodeLimits& limits) const {
  const TextPart part{text, parse_special};
  Encoded encoded = encode_parts_within({&part, 1}, limits);
  if (encoded.end != Encoded::End::complete || !add_special) return encoded;
  if (index_->add_bos) encoded.ids.insert(encoded.ids.begin(), index_->bos_id);
  if (index_->add_eos) encoded.ids.push_back(index_->eos_id);
  encoded.n_tokens_at_least = encoded.ids.size();
  if (encoded.ids.size() > limits.max_tokens) encoded.end = Encoded::End::too_long;
  return encoded;
}

Encoded Tokenizer::encode_parts_within(std::span<const TextPart> parts,
                                       const EncodeLimits& limits) const {
  Encoded encoded;
  size_t n_bytes = 0;
  for (const TextPart& part : parts) n_bytes += part.text.size();
  encoded.n_tokens_at_least = n_bytes / index_->longest_token_bytes;
  if (encoded.n_tokens_at_least > limits.max_tokens) {
    encoded.end = Encoded::End::too_long;
    return encoded;
  }
  EncodeRun run;
  run.scratch.check_limits = [&] {
    if (run.ids.size() > limits.max_tokens) {
      encoded.end = Encoded::End::too_long;
    } else if (limits.cancelled && limits.cancelled()) {
      encoded.end = Encoded::End::cancelled;
    } else {
      return;
    }
    throw EncodingStopped();
  };
  try {
    encode_text_parts(*index_, parts, run);
    if (run.ids.size() > limits.max_tokens) encoded.end = Encoded::End::too_long;
  } catch (const EncodingStopped&) {
  }
  encoded.n_tokens_at_least = std::max(encoded.n_tokens_at_least, run.ids.size());
  encoded.ids = std::move(run.ids);
  return encoded;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return index_->bytes(id);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool with_special) const {
  std::string out;
  // The space that encode() put in front stands at the first token that is text.
  bool strip_space = index_->add_space_prefix;
  for (const int32_t id : ids) {
    const bool control = is_control(id);
    if (control && !with_special) continue;
    std::string_view bytes = index_->bytes(id);
    if (!control && !bytes.empty()) {
      if (strip_space && bytes.front() == ' ') bytes.remove_prefix(1);
      strip_space = false;
    }
    out += bytes;
  }
  return out;
}

std::string Tokenizer::decode_tidy(std::span<const int32_t> ids, bool with_special) const {
  std::string text = decode(ids, with_special);
  return index_->tidies_spaces ? tidy_spaces(text) : text;
}

int32_t Tokenizer::n_vocab() const {
  return index_->n_vocab();
}
int32_t Tokenizer::bos_id() const {
  return index_->bos_id;
}
int32_t Tokenizer::eos_id() const {
  return index_->eos_id;
}
int32_t Tokenizer::eot_id() const {
  return index_->eot_id;
}
int32_t Tokenizer::unknown_id() const {
  return index_->unknown_id;
}
int32_t Tokenizer::pad_id() const {
  return index_->pad_id;
}
bool Tokenizer::adds_bos() const {
  return index_->add_bos;
}
bool Tokenizer::adds_eos() const {
  return index_->add_eos;
}
bool Tokenizer::is_control(int32_t id) const {
  return index_->has_flag(id, kFlagControl);
}
bool Tokenizer::is_special(int32_t id) const {
  return index_->has_flag(id, kFlagSpecial);
}
bool Tokenizer::is_end_of_generation(int32_t id) const {
  return index_->has_flag(id, kFlagEndOfGeneration);
}

std::vector<int32_t> Tokenizer::end_of_generation_ids() const {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < n_vocab(); ++id) {
    if (is_end_of_generation(id)) ids.push_back(id);
  }
  return ids;
}

std::optional<int32_t> Tokenizer::find_special(std::string_view text) const {
  return index_->special.find_exact(text);
}

std::optional<int32_t> Tokenizer::find_token(std::string_view bytes) const {
  const auto found = index_->by_bytes.find(bytes);
  return found == index_->by_bytes.end() ? std::nullopt : std::optional<int32_t>(found->second);
}

const std::string& Tokenizer::source() const {
  return index_->source;
}
const std::string& Tokenizer::model_name() const {
  return index_->model;
}
const std::string& Tokenizer::pre_name() const {
  return index_->pre;
}
const std::string& Tokenizer::chat_template() const {
  return index_->chat_template;
}

}  // namespace floe
