#include "chat/output_parser.h"

#include <utility>

#include "chat/answer_reader.h"

namespace floe {
namespace {

std::unique_ptr<AnswerReader> make_reader(OutputParser::Options options) {
  const AnswerStart start{options.starts_in_reasoning, options.continues};
  const bool harmony = options.format.calls.layout == CallLayout::harmony;
  return (harmony ? make_harmony_reader : make_marked_reader)(std::move(options.format),
                                                              std::move(options.tools), start);
}

}  // namespace

OutputParser::OutputParser(Options options) : reader_(make_reader(std::move(options))) {}

OutputParser::~OutputParser() = default;
OutputParser::OutputParser(OutputParser&&) noexcept = default;
OutputParser& OutputParser::operator=(OutputParser&&) noexcept = default;

void OutputParser::push_text(std::string_view text, OutputDelta& delta) {
  reader_->out().into(delta);
  for (const char c : text) reader_->push(static_cast<unsigned char>(c));
}

void OutputParser::push_marker(size_t marker, OutputDelta& delta) {
  reader_->out().into(delta);
  reader_->push(static_cast<Symbol>(kFirstMarker + marker));
}

void OutputParser::finish(bool cut, OutputDelta& delta) {
  reader_->out().into(delta);
  reader_->finish(cut);
}

bool OutputParser::in_reasoning() const {
  return reader_->out().in_reasoning();
}

uint32_t OutputParser::n_tool_calls() const {
  return reader_->out().n_calls();
}

uint32_t OutputParser::n_complete_tool_calls() const {
  return reader_->out().n_complete_calls();
}

bool OutputParser::has_reasoned() const {
  return reader_->out().reasoning_seen();
}

OutputParser::Options parser_options(const AnswerFormat& format, const Tokenizer& tokenizer,
                                     const ChatPrompt& prompt, const ChatTools& tools) {
  OutputParser::Options options;
  options.format = format;
  options.tools = tools;
  // Without functions to call, what spells calls means nothing. gpt-oss has messages all the same.
  const bool calls = tools != nullptr && !tools->empty();
  if (!calls && format.calls.layout != CallLayout::harmony) {
    options.format.calls = {};
    std::erase_if(options.format.markers, [&](const AnswerFormat::Marker& marker) {
      return format.reasoning.open.find(marker.text) == std::string::npos &&
             format.reasoning.close.find(marker.text) == std::string::npos;
    });
  }
  options.starts_in_reasoning =
      prompt.inside_reasoning || prompt_opens_reasoning(format, tokenizer, prompt.ids);
  options.continues = prompt.continues;
  return options;
}

OutputParser::Options plain_text_options() {
  return {};
}

}  // namespace floe
