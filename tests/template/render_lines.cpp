// Renders templates for the differential test: lines of JSON in, {"template", "variables", "now"};
// lines of JSON out, {"text", "author_text"} or {"error"}. author_text is
// what counts as the template's own. tests/template/differential.py compares them with
// Python's Jinja2.
#include <cstdio>
#include <iostream>
#include <map>
#include <string>

#include "base/json.h"
#include "template/template.h"

using namespace floe;

namespace {

Result<Json> render(const Json& request, std::map<std::string, jinja::Template>& parsed) {
  const auto& source = request.at("template").get_ref<const std::string&>();
  auto at = parsed.find(source);
  if (at == parsed.end()) {
    FLOE_TRY(auto made, jinja::Template::parse(source));
    at = parsed.emplace(source, std::move(made)).first;
  }
  jinja::TemplateInput input;
  input.variables = &request.at("variables");
  input.now_unix_seconds = request.value("now", int64_t{0});
  FLOE_TRY(const jinja::MarkedText text, at->second.render(input));
  std::string author_text;
  size_t begin = 0;
  for (const jinja::MarkedText::Run& run : text.runs()) {
    if (run.origin == jinja::Origin::author) {
      author_text.append(text.bytes().substr(begin, run.end - begin));
    }
    begin = run.end;
  }
  Json answer;
  answer["text"] = text.bytes();
  answer["author_text"] = author_text;
  return answer;
}

}  // namespace

int main() {
  std::map<std::string, jinja::Template> parsed;
  std::string line;
  while (std::getline(std::cin, line)) {
    Json answer;
    auto request = parse_json(line);
    if (!request.ok()) {
      answer["error"] = request.error().message;
    } else if (auto rendered = render(*request, parsed); rendered.ok()) {
      answer = *rendered;
    } else {
      answer["error"] = rendered.error().message;
    }
    std::cout << dump_json(answer) << "\n" << std::flush;
  }
  return 0;
}
