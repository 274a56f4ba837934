#pragma once
// Text to token ids and back. Immutable after load, so any number of threads may use one object.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/vocabulary.h"

namespace floe {

// What encoding cost, in steps that a test can count: both stay below a constant times the text's
// length.
struct EncodeWork {
  uint64_t n_character_looks = 0;
  uint64_t n_merge_steps = 0;
};

// When to leave an encoding early: for texts of others, which may be longer than anybody will use.
struct EncodeLimits {
  size_t max_tokens = SIZE_MAX;     // a text of more is left unfinished
  std::function<bool()> cancelled;  // asked every few hundred words and 64 KiB; may be empty
};

struct Encoded {
  enum class End : uint8_t { complete, too_long, cancelled };
  End end = End::complete;
  std::vector<int32_t> ids;      // whole when complete
  size_t n_tokens_at_least = 0;  // of the whole text; exact when complete
};

// A stretch of a prompt. Only trusted text (a format's own markers) may become special tokens.
struct TextPart {
  std::string_view text;
  bool trusted = false;
};

class Tokenizer {
 public:
  // ErrorKind::model, naming the file and the field, when the vocabulary cannot be used: no
  // vocabulary in the file, an unknown tokenizer model or pre-tokenizer, counts that disagree, ids
  // out of range.
  static Result<std::unique_ptr<const Tokenizer>> load(const GgufMetadata& file);
  static Result<std::unique_ptr<const Tokenizer>> build(Vocabulary vocabulary);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Total over any bytes. Time is linear in text.size() but for a log factor over runs of at most
  // 64 KiB. add_special: puts BOS before and EOS after, where the model file asks for them.
  // parse_special: text that spells a special token becomes that token. When false no special token
  // (see is_special) comes out, whatever the text says.
  std::vector<int32_t> encode(std::string_view text, bool add_special, bool parse_special,
                              EncodeWork* work = nullptr) const;

  // encode(), unless a limit is met before. A text whose bytes alone are too many, even if every
  // token were the longest there is, is not looked at.
  Encoded encode_within(std::string_view text, bool add_special, bool parse_special,
                        const EncodeLimits& limits) const;

  // Encodes parts as one text: words may reach across part borders, special tokens come out of
  // trusted parts only. Adds no BOS or EOS.
  std::vector<int32_t> encode_parts(std::span<const TextPart> parts) const;
  Encoded encode_parts_within(std::span<const TextPart> parts, const EncodeLimits& limits) const;

  // The bytes a token stands for: raw bytes, not always whole characters. Control tokens give their
  // text ("<|im_end|>"). Ids out of range and empty tokens give an empty view. Lives as long as
  // *this.
  std::string_view token_bytes(int32_t id) const;

  // The bytes of a sequence. with_special: control tokens appear as their text, else they are left
  // out. For score-based vocabularies the space that encode() puts in front is taken off again. For
  // byte-level vocabularies decode(encode(x, false, false), true) == x for any bytes x.
  std::string decode(std::span<const int32_t> ids, bool with_special) const;

  // decode(), then the spaces before punctuation and English contractions removed where the
  // vocabulary's convention says so (GPT-2 and Llama-3 do). For display of finished text only;
  // lossy.
  std::string decode_tidy(std::span<const int32_t> ids, bool with_special) const;

  int32_t n_vocab() const;
  // -1 where the vocabulary has none.
  int32_t bos_id() const;
  int32_t eos_id() const;
  int32_t eot_id() const;
  int32_t unknown_id() const;
  int32_t pad_id() const;
  bool adds_bos() const;
  bool adds_eos() const;

  // Ids out of range answer false to all of these.
  bool is_control(int32_t id) const;  // type control or unknown: never part of visible text
  bool is_special(int32_t id) const;  // control, or user-defined markup such as <think>
  bool is_end_of_generation(int32_t id) const;         // sampling it ends the answer
  std::vector<int32_t> end_of_generation_ids() const;  // all of them, ascending

  // The special token spelled exactly like this.
  std::optional<int32_t> find_special(std::string_view text) const;
  // Any token whose bytes are exactly these, special or not.
  std::optional<int32_t> find_token(std::string_view bytes) const;

  const std::string& source() const;         // the file, for messages
  const std::string& model_name() const;     // "gpt2" or "llama"
  const std::string& pre_name() const;       // the pre-tokenizer as the file names it
  const std::string& chat_template() const;  // as stored in the file; may be empty

 private:
  struct Index;
  explicit Tokenizer(std::unique_ptr<const Index> index);
  std::unique_ptr<const Index> index_;
};

}  // namespace floe
