#pragma once
// Token ids of one generated sequence to deltas: detokenizer, stop strings and output parser in
// one.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "chat/output_parser.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace floe {

// Not thread-safe; `tokenizer` must outlive it.
class ResponseStream {
 public:
  // ErrorKind::usage for stop strings that Detokenizer::create() refuses.
  static Result<ResponseStream> create(const Tokenizer& tokenizer, OutputParser::Options options,
                                       std::vector<std::string> stop_strings);

  // Feeds one generated token. End-of-generation tokens and other control tokens add no text. After
  // stopped() everything is ignored.
  OutputDelta push(int32_t id);
  // The end of the sequence. at_limit: by a limit of tokens, not by the model.
  OutputDelta finish(bool at_limit);

  // While on, no stop string is looked for.
  void ignore_stops(bool on) { detokenizer_.ignore_stops(on); }
  // A stop string was found; generation should end.
  bool stopped() const { return detokenizer_.stopped(); }
  const std::optional<Detokenizer::StopMatch>& stop_match() const {
    return detokenizer_.stop_match();
  }
  const OutputParser& parser() const { return parser_; }
  // Tokens of the reasoning, its closing marker included; 0 where no reasoning came out.
  uint64_t n_reasoning_tokens() const {
    return parser_.has_reasoned() ? n_tokens_in_reasoning_ : 0;
  }

 private:
  ResponseStream(const Tokenizer& tokenizer, OutputParser::Options options,
                 Detokenizer detokenizer);

  const Tokenizer* tokenizer_;
  std::vector<int32_t> marker_ids_;  // of the format's markers
  OutputParser parser_;
  Detokenizer detokenizer_;
  uint64_t n_tokens_in_reasoning_ = 0;
};

}  // namespace floe
