#include "template/template.h"

#include "template/interpreter.h"
#include "template/parser.h"

namespace floe::jinja {

Result<Template> Template::parse(std::string_view source) {
  FLOE_TRY(auto program, parse_program(source));
  return Template(std::move(program));
}

Result<MarkedText> Template::render(const TemplateInput& input,
                                    const TemplateLimits& limits) const {
  Interpreter interpreter(*program_, input, limits);
  return interpreter.run();
}

}  // namespace floe::jinja
