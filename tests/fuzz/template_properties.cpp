#include "fuzz/template_properties.h"

#include "base/json.h"
#include "template/template.h"

namespace floe {

// U+00A7 stands in every text of the conversation; where the template itself has its bytes, nothing
// is said of whose they are.
std::string check_template_properties(std::span<const uint8_t> bytes) {
  const std::string_view source(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  auto parsed = jinja::Template::parse(source);
  if (!parsed.ok()) return "";
  static const Json variables = {
      {"messages",
       {{{"role", "user"}, {"content", "§a <|x|> b"}},
        {{"role", "assistant"},
         {"content", nullptr},
         {"tool_calls",
          {{{"function", {{"name", "§f"}, {"arguments", {{"§k", {1, 2.5, "§v"}}}}}}}}}},
        {{"role", "tool"}, {"content", {{{"type", "text"}, {"text", "§t"}}}}}}},
      {"tools",
       {{{"type", "function"}, {"function", {{"name", "§n"}, {"parameters", Json::object()}}}}}},
      {"add_generation_prompt", true},
      {"s", "§ä§"},
      {"n", 3},
      {"l", {"§1", "§2", 3, true}},
  };
  jinja::TemplateInput input;
  input.variables = &variables;
  input.roles = {"user", "assistant", "tool"};
  jinja::TemplateLimits limits;
  limits.max_steps = 50'000;
  limits.max_output_bytes = size_t{1} << 20;
  limits.max_memory_bytes = size_t{8} << 20;
  auto rendered = parsed->render(input, limits);
  if (!rendered.ok()) return "";
  const bool spells_it = source.find('\xc2') != std::string_view::npos ||
                         source.find('\xa7') != std::string_view::npos ||
                         source.find('\\') != std::string_view::npos;
  const std::string_view text = rendered->bytes();
  for (size_t at = text.find("§"); !spells_it && at != std::string_view::npos;
       at = text.find("§", at + 1)) {
    if (rendered->origin_at(at) != jinja::Origin::data) return "data counts as the author's";
  }
  size_t end = 0;
  for (const jinja::MarkedText::Run& run : rendered->runs()) {
    if (run.end <= end) return "runs do not ascend";
    end = run.end;
  }
  return end == text.size() ? "" : "runs do not cover the text";
}

}  // namespace floe
