#include "chat/response_stream.h"

#include <utility>

namespace floe {
namespace {

std::vector<int32_t> marker_ids(const OutputParser::Options& options) {
  std::vector<int32_t> ids;
  for (const AnswerFormat::Marker& marker : options.format.markers) ids.push_back(marker.id);
  return ids;
}

}  // namespace

ResponseStream::ResponseStream(const Tokenizer& tokenizer, OutputParser::Options options,
                               Detokenizer detokenizer)
    : tokenizer_(&tokenizer),
      marker_ids_(marker_ids(options)),
      parser_(OutputParser(std::move(options))),
      detokenizer_(std::move(detokenizer)) {}

Result<ResponseStream> ResponseStream::create(const Tokenizer& tokenizer,
                                              OutputParser::Options options,
                                              std::vector<std::string> stop_strings) {
  FLOE_TRY(Detokenizer detokenizer, Detokenizer::create(std::move(stop_strings)));
  return ResponseStream(tokenizer, std::move(options), std::move(detokenizer));
}

OutputDelta ResponseStream::push(int32_t id) {
  OutputDelta delta;
  if (stopped()) return delta;
  if (parser_.in_reasoning()) ++n_tokens_in_reasoning_;
  for (size_t i = 0; i < marker_ids_.size(); ++i) {
    if (marker_ids_[i] != id) continue;
    parser_.push_text(detokenizer_.release(), delta);
    if (!stopped()) parser_.push_marker(i, delta);
    return delta;
  }
  if (tokenizer_->is_end_of_generation(id)) return delta;
  const std::string_view bytes = tokenizer_->token_bytes(id);
  if (tokenizer_->is_control(id)) {
    // Shown all the same: markers that this request does not take apart.
    if (!is_answer_markup(bytes)) return delta;
  }
  parser_.push_text(detokenizer_.push(bytes), delta);
  return delta;
}

OutputDelta ResponseStream::finish(bool at_limit) {
  OutputDelta delta;
  parser_.push_text(detokenizer_.release(), delta);
  parser_.finish(at_limit || stopped(), delta);
  return delta;
}

}  // namespace floe
