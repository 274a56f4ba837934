#pragma once
// A vocabulary for models that never learnt one, so that text can be sent to them and read from
// them: another model's words, and numbered ones behind them up to the size of the shape.
#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "store/gguf.h"
#include "store/gguf_writer.h"

namespace floe {

// The first file of these that is there: models/floe-nano.gguf in the current folder, and beside
// the folder build/ of the running program.
std::optional<std::string> bundled_model_path();

// Adds the tokenizer of `file` (its chat template too), padded to n_vocab tokens. The added tokens
// are text that no other text is made of: a model may write them, a prompt never holds them.
// ErrorKind::usage when the file has no byte-pair vocabulary, or one of more than n_vocab tokens.
Result<void> add_words(const GgufFile& file, uint32_t n_vocab, GgufHeaderBuilder& header);

}  // namespace floe
