#pragma once
// What a chat template does, found out by rendering small conversations when a model is loaded.
#include <string_view>

#include "base/json_fwd.h"
#include "chat/template_traits.h"
#include "template/template.h"

namespace floe {

// Takes well under 50 ms for the templates of released models, and at most a second for any.
// reasoning_begin: the marker that opens reasoning.
TemplateTraits probe_template(const jinja::Template& program, std::string_view source,
                              const Json& constants, std::string_view reasoning_begin);

}  // namespace floe
