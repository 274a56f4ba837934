#pragma once
// One rendering of a chat template: the variables that every conversation's template sees besides
// its messages, and a final message that stays open.
#include <functional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "template/template.h"
#include "text/tokenizer.h"

namespace floe {

// What a template sees besides the request's variables: bos_token, eos_token and their kin. Their
// text may become special tokens.
Json template_constants(const Tokenizer& tokenizer);

struct TemplateRendering {
  const Json* constants = nullptr;  // see template_constants(); may be null
  int64_t now_unix_seconds = 0;
  std::function<bool()> cancelled;  // may be empty
  jinja::TemplateLimits limits;
};

// "messages" of the variables is an array of objects whose roles are those of chat requests: a role
// may be spelled into a marker. ErrorKind::usage: what the template says of the conversation, or
// where it could not go on.
Result<jinja::MarkedText> render_template(const jinja::Template& program, const Json& variables,
                                          const TemplateRendering& rendering);

// A prompt that ends with the text of the last message's `field`, whose place in the rendering is
// found by putting a word of our own there. Whatever the template does with texts (trimming,
// splitting) is done to that word, so that the text goes on as it stands.
//
// Nothing where the template writes this field of the last message nowhere.
Result<std::optional<jinja::MarkedText>> render_open(const jinja::Template& program, Json variables,
                                                     const std::string& field,
                                                     const TemplateRendering& rendering);

// For Tokenizer::encode_parts: only what the template's author wrote is trusted. Views into `text`.
std::vector<TextPart> parts_of(const jinja::MarkedText& text);

// Whether the template's author wrote `marker`, which may end in blanks, and nothing but blanks
// behind it at the end. Never of an empty marker.
bool ends_with_marker(const jinja::MarkedText& text, std::string_view marker);

// The present, for TemplateRendering.
int64_t unix_seconds_now();

}  // namespace floe
