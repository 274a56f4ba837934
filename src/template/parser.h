#pragma once
#include <memory>
#include <string_view>

#include "base/error.h"
#include "template/syntax.h"

namespace floe::jinja {

// ErrorKind::model with the line: a syntax error, or a tag, filter or predicate that is not in the
// language.
Result<std::shared_ptr<const Program>> parse_program(std::string_view source);

}  // namespace floe::jinja
