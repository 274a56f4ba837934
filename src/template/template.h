#pragma once
// The door of the template room: chat templates in the language of Jinja2, as models bring them in
// `tokenizer.chat_template`. The part of the language is the one that the templates of released
// models use; what is not in it is refused by name when the template is parsed. Rendered text is
// byte for byte what Python's Jinja2 3.1 gives with trim_blocks, lstrip_blocks, the loopcontrols
// and do extensions, {% generation %} blocks and the transformers library's tojson.
//
// Knows no tokenizer: the rendered text says of each byte whether the template's author or the data
// wrote it, and whoever encodes it takes markers from the author alone.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "template/marked_text.h"

namespace floe::jinja {

struct Program;

struct TemplateLimits {
  // Nodes evaluated, plus list items and blocks of 16 bytes of text that operations walk over.
  uint64_t max_steps = 20'000'000;
  size_t max_output_bytes = size_t{64} << 20;
  // Text and containers that the rendering holds at once.
  size_t max_memory_bytes = size_t{256} << 20;
  uint32_t max_depth = 400;  // of evaluation and of nested data
};

struct TemplateInput {
  // An object: the names that the template sees. Text in it is data.
  const Json* variables = nullptr;
  // Further names, whose text counts as the author's: bos_token, eos_token and their kin.
  const Json* constants = nullptr;
  // Text of a message's "role" that counts as the author's, since many templates write markers as
  // <|role|>. The caller has checked that messages have no other roles.
  std::vector<std::string> roles;
  int64_t now_unix_seconds = 0;  // what strftime_now() tells
  int32_t utc_offset_seconds = 0;
  // Asked from time to time; true ends the rendering with an error. May be null.
  bool (*is_cancelled)(void* context) = nullptr;
  void* cancel_context = nullptr;
};

class Template {
 public:
  // ErrorKind::model, with the line, for what is no template or not in the language.
  static Result<Template> parse(std::string_view source);

  // ErrorKind::usage: what raise_exception() said, or the line and what went wrong there.
  Result<MarkedText> render(const TemplateInput& input, const TemplateLimits& limits = {}) const;

 private:
  explicit Template(std::shared_ptr<const Program> program) : program_(std::move(program)) {}
  std::shared_ptr<const Program> program_;
};

}  // namespace floe::jinja
