// Each rule of the language beside what Python's Jinja2 makes of it (cases.json, made by
// make_cases.py).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/json.h"
#include "fuzz/template_properties.h"
#include "repo_path.h"
#include "template/template.h"

namespace floe::jinja {
namespace {

TEST(TemplateLanguage, GivesWhatPythonGives) {
  std::ifstream file(repo_path("tests/template/cases.json"));
  std::stringstream text;
  text << file.rdbuf();
  auto table = parse_json(text.str());
  ASSERT_TRUE(table.ok()) << table.error().message;
  const Json& variables = (*table)["variables"];
  TemplateInput input;
  input.variables = &variables;
  input.now_unix_seconds = (*table)["now"].get<int64_t>();
  ASSERT_GT((*table)["cases"].size(), 80u);
  for (const Json& row : (*table)["cases"]) {
    const auto& source = row["template"].get_ref<const std::string&>();
    SCOPED_TRACE(source);
    auto parsed = Template::parse(source);
    if (!parsed.ok()) {
      EXPECT_TRUE(row.contains("fails")) << parsed.error().message;
      EXPECT_EQ(parsed.error().kind, ErrorKind::model);
      EXPECT_NE(parsed.error().message.find("line "), std::string::npos);
      continue;
    }
    auto rendered = parsed->render(input);
    if (!rendered.ok()) {
      EXPECT_TRUE(row.contains("fails")) << rendered.error().message;
      EXPECT_EQ(rendered.error().kind, ErrorKind::usage);
      continue;
    }
    ASSERT_TRUE(row.contains("text")) << "rendered: " << rendered->bytes();
    EXPECT_EQ(rendered->bytes(), row["text"].get_ref<const std::string&>());
  }
}

// --- whose text it is

// Every byte of data is spelled with Z, which no template here writes.
TEST(TemplateOrigins, DataStaysDataThroughEveryOperation) {
  const Json variables = {
      {"a", "ZZ"},
      {"spaced", "  ZZ Z "},
      {"lines", "Z\nZZ\n\nZ"},
      {"list", {"Z", "ZZ"}},
      {"dict", {{"Zkey", "Z"}, {"ZZ", {{"Z", "ZZZ"}}}}},
      {"rows", {{{"name", "Z1"}}, {{"name", "Z2"}}}},
      {"json", "{\"Z\": [\"ZZ\"]}"},
      {"messages", {{{"role", "Zrole"}, {"content", "Z"}}}},
  };
  const char* templates[] = {
      "x{{ a }}y",
      "{{ 'x' + a + 'y' }}",
      "{{ 'x' ~ a ~ 1 }}",
      "{{ a * 3 }}",
      "{{ a[0] }}{{ a[::-1] }}{{ a[0:1] }}",
      "{{ spaced.strip() }}{{ spaced|trim }}{{ spaced.split() }}{{ spaced.split('Z') }}",
      "{{ a.replace('Z', 'Zx') if false }}{{ 'xyx'.replace('x', a) }}{{ 'xyx'|replace('y', a) }}",
      "{{ a|upper }}{{ a|lower|upper }}{{ a.lower().upper() }}{{ a|title }}{{ a|capitalize }}",
      "{{ lines|indent(2, true) }}{{ lines.splitlines() }}",
      "{{ list|join('-') }}{{ '-'.join(list) }}{{ list }}{{ dict }}",
      "{{ dict|tojson }}{{ dict|tojson(indent=2) }}{{ a|tojson }}{{ list|string }}",
      "{% for k, v in dict.items() %}{{ k }}={{ v }}{% endfor %}",
      "{% for c in a %}{{ c }}{% endfor %}",
      "{{ '%s' % a }}{{ '%5s|%-5s' % (a, a) }}{{ '{} {x}'.format(a, x=a) }}{{ '%s'|format(a) }}",
      "{% set x %}[{{ a }}]{% endset %}{{ x }}{% filter upper %}x{{ a }}{% endfilter %}",
      "{% set ns = namespace(x='') %}{% set ns.x = ns.x + a %}{{ ns.x }}",
      "{% macro m(v) %}<{{ v }}>{% endmacro %}{{ m(a) }}",
      "{{ rows|map(attribute='name')|join }}{{ rows|sort(attribute='name')|tojson }}",
      "{{ json|from_json|tojson }}",
      "{{ a|default('q') }}{{ missing|default(a) }}{{ a or 'q' }}{{ a|safe + a }}{{ a|e }}",
      "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] }}{% endfor %}",
      "{{ dict|dictsort }}{{ list|sort|first }}{{ list|last }}{{ a|list }}{{ list|unique|list }}",
      "{{ 'xZ'.partition(a[0]) if false }}{{ a.partition('q') }}{{ a.removeprefix('q') }}",
  };
  TemplateInput input;
  input.variables = &variables;
  input.roles = {"user", "assistant"};
  for (const char* source : templates) {
    SCOPED_TRACE(source);
    auto parsed = Template::parse(source);
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    auto rendered = parsed->render(input);
    ASSERT_TRUE(rendered.ok()) << rendered.error().message;
    size_t n_data = 0;
    for (size_t at = 0; at < rendered->size(); ++at) {
      if (rendered->bytes()[at] != 'Z') continue;
      ++n_data;
      EXPECT_EQ(rendered->origin_at(at), Origin::data) << rendered->bytes() << " at " << at;
    }
    EXPECT_GT(n_data, 0u);
  }
}

TEST(TemplateOrigins, AuthorsTextStaysTheAuthors) {
  const Json variables = {{"a", "data"}, {"messages", {{{"role", "user"}, {"content", "user"}}}}};
  const Json constants = {{"bos_token", "AA"}};
  TemplateInput input;
  input.variables = &variables;
  input.constants = &constants;
  input.roles = {"user"};
  struct Row {
    const char* source;
    const char* text;
    const char* origins;  // a: author, d: data
  };
  const Row rows[] = {
      {"<|x|>{{ a }}", "<|x|>data", "aaaaadddd"},
      {"{{ bos_token }}{{ '<' ~ a ~ '>' }}", "AA<data>", "aaadddda"},
      {"{{ bos_token + a }}", "AAdata", "aadddd"},
      {"{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}", "<|user|>user",
       "aaaaaaaadddd"},
      {"{{ ('<a>' + a + '<b>')|upper }}", "<A>DATA<B>", "aaaddddaaa"},
      {"{{ ('<a> ' + a)[1:6] }}", "a> da", "aaadd"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.source);
    auto rendered = Template::parse(row.source)->render(input);
    ASSERT_TRUE(rendered.ok()) << rendered.error().message;
    EXPECT_EQ(rendered->bytes(), row.text);
    for (size_t at = 0; at < rendered->size(); ++at) {
      EXPECT_EQ(rendered->origin_at(at) == Origin::data, row.origins[at] == 'd') << at;
    }
  }
}

// --- limits

struct HostileRow {
  const char* what;
  std::string source;
};

std::string repeated(std::string_view text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

TEST(TemplateLimits, HostileTemplatesEndInAnError) {
  const HostileRow rows[] = {
      {"a long loop",
       "{% for i in range(9000000) %}{% for j in range(9000000) %}{% endfor %}{% endfor %}"},
      {"a long range", "{{ range(10**9)|length }}"},
      {"a macro without end", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"},
      {"doubling",
       "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}"
       "{% set ns.x = ns.x + ns.x %}{% endfor %}"},
      {"many copies", "{{ 'a' * 10**12 }}"},
      {"copies of copies", "{{ 'a' * 100000000 * 100000000 }}"},
      {"a list of copies", "{{ [1] * 10**10 }}"},
      {"a list in itself", "{% set l = [] %}{% do l.append(l) %}{{ l }}"},
      {"a list in itself as JSON", "{% set l = [] %}{% do l.append(l) %}{{ l|tojson }}"},
      {"lists in themselves compared",
       "{% set a = [] %}{% do a.append(a) %}{% set b = [] %}"
       "{% do b.append(b) %}{{ a == b }}"},
      {"wide fields", "{{ '%99999999d' % 1 }}"},
      {"a power", "{{ 9 ** 99999 }}"},
      {"replacement of nothing",
       "{% set ns = namespace(x='ab') %}{% for i in range(40) %}"
       "{% set ns.x = ns.x.replace('', ns.x) %}{% endfor %}"},
      {"output", "{% for i in range(9000000) %}" + std::string(4096, 'x') + "{% endfor %}"},
      {"joining", "{% set x = 'a' * 1000000 %}{{ range(9000000)|join(x) }}"},
      {"many lists",
       "{% set ns = namespace(l=[]) %}{% for i in range(9000000) %}"
       "{% set ns.l = [ns.l, ns.l, ns.l] %}{% endfor %}{{ ns.l }}"},
      {"filters by name", "{{ [1]|map('map', 'map', 'map')|list }}"},
  };
  const Json variables = Json::object();
  TemplateInput input;
  input.variables = &variables;
  for (const HostileRow& row : rows) {
    SCOPED_TRACE(row.what);
    auto parsed = Template::parse(row.source);
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    auto rendered = parsed->render(input);
    ASSERT_FALSE(rendered.ok());
    EXPECT_EQ(rendered.error().kind, ErrorKind::usage);
  }
}

TEST(TemplateLimits, DeepSourcesAreRefused) {
  const HostileRow rows[] = {
      {"brackets", "{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}"},
      {"lists", "{{ " + repeated("[", 100000) + repeated("]", 100000) + " }}"},
      {"ifs", repeated("{% if a %}", 100000) + repeated("{% endif %}", 100000)},
      {"sums", "{{ 1" + repeated(" + 1", 100000) + " }}"},
      {"nots", "{{ " + repeated("not ", 100000) + "1 }}"},
      {"signs", "{{ " + repeated("-", 100000) + "1 }}"},
      {"filters", "{{ 1" + repeated("|string", 100000) + " }}"},
      {"attributes", "{{ a" + repeated(".b", 100000) + " }}"},
      {"calls", "{{ a" + repeated("()", 100000) + " }}"},
      {"conditions", "{{ 1" + repeated(" if 1 else 1", 100000) + " }}"},
      {"targets", "{% set " + repeated("(", 100000) + "a = 1 %}"},
      {"size", std::string(size_t{5} << 20, 'x')},
  };
  for (const HostileRow& row : rows) {
    SCOPED_TRACE(row.what);
    auto parsed = Template::parse(row.source);
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(parsed.error().kind, ErrorKind::model);
  }
}

TEST(TemplateLimits, CancelledFromOutside) {
  const Json variables = Json::object();
  TemplateInput input;
  input.variables = &variables;
  input.is_cancelled = [](void* calls) { return ++*static_cast<int*>(calls) == 3; };
  int calls = 0;
  input.cancel_context = &calls;
  auto rendered = Template::parse("{% for i in range(100000) %}{{ i }}{% endfor %}")->render(input);
  ASSERT_FALSE(rendered.ok());
  EXPECT_EQ(calls, 3);
  EXPECT_NE(rendered.error().message.find("cancelled"), std::string::npos);
}

TEST(TemplateErrors, SayWhereAndWhat) {
  struct Row {
    const char* source;
    const char* part;
  };
  const Row parse_rows[] = {
      {"a\n{% include 'x' %}", "line 2: the tag {% include %} is not supported"},
      {"{{ a|frobnicate }}", "line 1: the filter 'frobnicate' is not supported"},
      {"{{ a is frobnicated }}", "the test 'frobnicated' is not supported"},
      {"{% if a %}\n\n", "the template ends where {% endif %} was expected"},
      {"{{ a", "unexpected end of template inside a tag"},
      {"{% for x in y recursive %}{% endfor %}", "recursive loops are not supported"},
      {"{% break %}", "{% break %} outside of a loop"},
  };
  for (const Row& row : parse_rows) {
    auto parsed = Template::parse(row.source);
    ASSERT_FALSE(parsed.ok()) << row.source;
    EXPECT_NE(parsed.error().message.find(row.part), std::string::npos) << parsed.error().message;
  }
  const Row render_rows[] = {
      {"\n\n{{ a.b.c }}", "line 3: 'a' is undefined"},
      {"{{ raise_exception('only ' ~ 1) }}", "refuses this conversation: only 1"},
      {"{{ 1 + 'a' }}", "'+' does not take int and str"},
      {"{{ x() }}", "'x' is undefined, and cannot be called"},
  };
  const Json variables = Json::object();
  TemplateInput input;
  input.variables = &variables;
  for (const Row& row : render_rows) {
    auto rendered = Template::parse(row.source)->render(input);
    ASSERT_FALSE(rendered.ok()) << row.source;
    EXPECT_NE(rendered.error().message.find(row.part), std::string::npos)
        << rendered.error().message;
  }
}

TEST(TemplateFuzz, CorpusHolds) {
  size_t n_files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(repo_path("tests/fuzz/corpus/template"))) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(
        check_template_properties({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}),
        "")
        << entry.path();
    // And cut anywhere.
    for (size_t n = 0; n < bytes.size(); ++n) {
      EXPECT_EQ(check_template_properties({reinterpret_cast<const uint8_t*>(bytes.data()), n}), "")
          << bytes.substr(0, n);
    }
    ++n_files;
  }
  EXPECT_GT(n_files, 80u);
}

}  // namespace
}  // namespace floe::jinja
