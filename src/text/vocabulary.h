#pragma once
// A vocabulary as a model file states it, checked but not yet indexed. The tokenizer is built from
// this and knows no file format.
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace floe {

class GgufMetadata;

// Values as in tokenizer.ggml.token_type.
enum class TokenType : uint8_t {
  undefined = 0,
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6,
};

struct Vocabulary {
  std::string source;  // the file, for messages
  std::string model;   // tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (score-based)
  std::string pre;     // tokenizer.ggml.pre; empty when absent

  std::vector<std::string> tokens;  // [n_vocab] as stored: byte-level text, or U+2581 for spaces
  std::vector<float> scores;        // [n_vocab] or empty
  std::vector<TokenType> types;     // [n_vocab] or empty (then all normal)
  std::vector<std::string> merges;  // "left right", best first

  // Special ids; -1 where the file names none.
  int32_t bos_id = -1;
  int32_t eos_id = -1;
  int32_t eot_id = -1;
  int32_t eom_id = -1;
  int32_t unknown_id = -1;
  int32_t pad_id = -1;
  std::vector<int32_t> end_of_generation_ids;  // named by the file beyond eos, eot and eom

  // What the file states; the tokenizer fills in its model's default where it states nothing.
  enum class Choice : uint8_t { absent, no, yes };
  Choice add_bos = Choice::absent;
  Choice add_eos = Choice::absent;
  Choice add_space_prefix = Choice::absent;

  std::string
      chat_template;  // tokenizer.chat_template; empty when absent. Data only, never run here.
};

// Reads the tokenizer keys of a model file. ErrorKind::model when a key has another type than
// expected, counts disagree, an id is out of range, or the file carries no vocabulary ("none" or no
// key at all).
// Whether the parts fit together is build()'s question (tokenizer.h).
Result<Vocabulary> load_vocabulary(const GgufMetadata& metadata);

// Whether every id means in one what it means in the other, so that a model can guess another's
// tokens. ErrorKind::model, naming the first token that differs with both its texts, or the special
// id.
Result<void> expect_same_tokens(const Vocabulary& vocabulary, const Vocabulary& reference);

}  // namespace floe
