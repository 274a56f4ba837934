// The table of fields: what it says is what happens, and docs/serving.md says the same.
#include "server/known_fields.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "repo_path.h"
#include "server/openai_request.h"
#include "server/openai_sampling.h"

namespace floe {
namespace {

const RequestContext kContext{
    .n_vocab = 300, .default_sampling = {}, .default_max_tokens = UINT32_MAX};

struct Door {
  Endpoint endpoint;
  Json body;
  std::optional<ApiError> (*refuse)(const Json&);
};

template <typename Result>
std::optional<ApiError> error_of(const Result& result) {
  return result.ok() ? std::nullopt : std::optional(result.error());
}

const std::vector<Door>& doors() {
  static const Json kChatBody = Json::parse(R"({"messages":[{"role":"user","content":"hi"}]})");
  static const std::vector<Door> kDoors = {
      {kChatEndpoint, kChatBody,
       [](const Json& body) { return error_of(parse_chat_request(body, kContext)); }},
      {kCompletionsEndpoint, Json::parse(R"({"prompt":"hi"})"),
       [](const Json& body) { return error_of(parse_completion_request(body, kContext)); }},
      {kPromptEndpoint, kChatBody,
       [](const Json& body) { return error_of(parse_template_request(body)); }}};
  return kDoors;
}

const std::vector<Json>& many_values() {
  static const std::vector<Json> kValues = {true,
                                            false,
                                            0,
                                            1,
                                            2,
                                            -1,
                                            1e300,
                                            "",
                                            "x",
                                            "auto",
                                            "none",
                                            "text",
                                            Json::array(),
                                            {1},
                                            {"text"},
                                            {{"a", 1}},
                                            Json::object(),
                                            {{"type", "json_object"}}};
  return kValues;
}

TEST(KnownFields, EveryNameOnceForAnEndpoint) {
  std::set<std::pair<std::string_view, int>> seen;
  for (const KnownField& field : known_fields()) {
    EXPECT_NE(field.endpoints, 0) << field.name;
    EXPECT_EQ(field.says.empty(), field.use == FieldUse::harmless) << field.name;
    EXPECT_EQ(field.endpoints & ~7, 0) << field.name;
    for (const Door& door : doors()) {
      if ((field.endpoints & door.endpoint) == 0) continue;
      EXPECT_TRUE(seen.emplace(field.name, door.endpoint).second) << field.name;
      EXPECT_EQ(find_known_field(field.name, door.endpoint), &field);
    }
  }
  EXPECT_GT(seen.size(), 400u);
}

// One row a field, every value that its row does not call neutral.
TEST(KnownFields, WhatIsRefusedIsRefusedWithItsReason) {
  size_t n_refused = 0;
  for (const KnownField& field : known_fields()) {
    if (field.use != FieldUse::refused) continue;
    for (const Door& door : doors()) {
      if ((field.endpoints & door.endpoint) == 0) continue;
      size_t n_here = 0;
      Json body = door.body;
      body[std::string(field.name)] = nullptr;
      EXPECT_FALSE(door.refuse(body)) << field.name;
      for (const Json& value : many_values()) {
        body[std::string(field.name)] = value;
        const std::optional<ApiError> error = door.refuse(body);
        EXPECT_EQ(error.has_value(), !is_neutral(field, value)) << field.name << value.dump();
        if (!error) continue;
        ++n_here;
        EXPECT_EQ(error->status, 400);
        EXPECT_EQ(error->param, field.name);
        EXPECT_EQ(error->code, "unsupported_parameter");
        EXPECT_EQ(error->message, fmt::format("{} is not supported: {}", field.name, field.says));
      }
      EXPECT_GT(n_here, 5u) << field.name;
      n_refused += n_here;
    }
  }
  EXPECT_GT(n_refused, 2000u);
}

TEST(KnownFields, WhatIsHarmlessIsIgnored) {
  for (const KnownField& field : known_fields()) {
    if (field.use != FieldUse::harmless) continue;
    for (const Door& door : doors()) {
      if ((field.endpoints & door.endpoint) == 0) continue;
      for (const Json& value : many_values()) {
        Json body = door.body;
        body[std::string(field.name)] = value;
        EXPECT_FALSE(door.refuse(body)) << field.name;
      }
    }
  }
}

// A field that nobody reads would take anything.
TEST(KnownFields, WhatIsDoneIsRead) {
  for (const KnownField& field : known_fields()) {
    if (field.use != FieldUse::done) continue;
    for (const Door& door : doors()) {
      // Prompts are made for any model.
      if ((field.endpoints & door.endpoint) == 0 ||
          (door.endpoint == kPromptEndpoint && field.name == "model")) {
        continue;
      }
      Json body = door.body;
      body[std::string(field.name)] = 12345678901.5;
      const std::optional<ApiError> error = door.refuse(body);
      ASSERT_TRUE(error) << field.name;
      EXPECT_EQ(error->param, field.name);
      EXPECT_NE(error->message.find(field.name), std::string::npos) << error->message;
    }
  }
  for (const RequestField& field : request_fields()) {
    for (const auto& [valid, endpoint] : {std::pair(field.chat, kChatEndpoint),
                                          std::pair(field.completions, kCompletionsEndpoint)}) {
      const KnownField* known = find_known_field(field.name, endpoint);
      ASSERT_NE(known, nullptr) << field.name;
      EXPECT_EQ(known->use == FieldUse::done, valid) << field.name;
    }
  }
}

TEST(KnownFields, UnknownOnesAreIgnored) {
  for (const Door& door : doors()) {
    for (const char* name : {"x", "", "Temperature", "temperature ", "max-tokens", "\xc3\xa9"}) {
      EXPECT_EQ(find_known_field(name, door.endpoint), nullptr);
      for (const Json& value : many_values()) {
        Json body = door.body;
        body[name] = value;
        EXPECT_FALSE(door.refuse(body)) << name;
      }
    }
  }
}

TEST(KnownFields, NeutralValues) {
  struct Case {
    uint8_t neutral;
    const char* words;
    const char* value;
    bool expected;
  };
  const Case cases[] = {
      {0, "", "null", true},
      {0, "", "false", false},
      {kNeutralFalse, "", "false", true},
      {kNeutralFalse, "", "true", false},
      {kNeutralTrue, "", "true", true},
      {kNeutralZero, "", "0", true},
      {kNeutralZero, "", "0.0", true},
      {kNeutralZero, "", "-0.0", true},
      {kNeutralZero, "", "1", false},
      {kNeutralZero, "", "false", false},
      {kNeutralOne, "", "1.0", true},
      {kNeutralOne, "", "2", false},
      {kNeutralNegative, "", "-1", true},
      {kNeutralNegative, "", "0", false},
      {kNeutralEmpty, "", "\"\"", true},
      {kNeutralEmpty, "", "[]", true},
      {kNeutralEmpty, "", "{}", true},
      {kNeutralEmpty, "", "\" \"", false},
      {kNeutralEmpty, "", "[null]", false},
      {0, "auto none", "\"auto\"", true},
      {0, "auto none", "\"none\"", true},
      {0, "auto none", "\"aut\"", false},
      {0, "auto none", "\"auto none\"", false},
      {0, "auto none", "\"\"", false},
      {0, "text", "[\"text\"]", true},
      {0, "text", "[\"text\",\"audio\"]", false},
      {0, "text", "[]", false},
      {0, "text", "{\"text\":\"text\"}", false},
  };
  for (const Case& c : cases) {
    const KnownField field{"x", 1, FieldUse::refused, c.neutral, c.words, "no"};
    EXPECT_EQ(is_neutral(field, Json::parse(c.value)), c.expected) << c.words << " " << c.value;
  }
}

// ---------------------------------------------------------------------------------------------
// docs/serving.md

std::string endpoint_names(uint8_t endpoints) {
  std::string names;
  for (const auto& [bit, name] :
       {std::pair(kChatEndpoint, "chat"), std::pair(kCompletionsEndpoint, "completions")}) {
    if ((endpoints & bit) != 0) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names.empty() ? "prompts" : names;
}

std::string quoted(const KnownField& field) {
  std::string neutral;
  const auto add = [&](std::string_view value) {
    neutral += (neutral.empty() ? "" : ", ") + std::string(value);
  };
  const std::pair<NeutralValue, const char*> bits[] = {
      {kNeutralFalse, "false"}, {kNeutralTrue, "true"},        {kNeutralZero, "0"},
      {kNeutralOne, "1"},       {kNeutralNegative, "below 0"}, {kNeutralEmpty, "empty"}};
  for (const auto& [bit, name] : bits) {
    if ((field.neutral & bit) != 0) add(name);
  }
  std::string_view words = field.words;
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    add(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return neutral.empty() ? fmt::format("`{}`", field.name)
                         : fmt::format("`{}` ({})", field.name, neutral);
}

std::string fields_page() {
  std::string page = "| field | of | what it does |\n|---|---|---|\n";
  std::map<std::string_view, std::vector<std::string>> refused;
  std::vector<std::string_view> reasons;
  std::vector<std::string> harmless;
  for (const KnownField& field : known_fields()) {
    switch (field.use) {
      case FieldUse::done:
        page += fmt::format("| `{}` | {} | {} |\n", field.name, endpoint_names(field.endpoints),
                            field.says);
        break;
      case FieldUse::harmless:
        harmless.push_back(fmt::format("`{}`", field.name));
        break;
      case FieldUse::refused:
        if (refused[field.says].empty()) reasons.push_back(field.says);
        refused[field.says].push_back(quoted(field));
        break;
    }
  }
  page += "\nIgnored, since they change no answer: ";
  page += fmt::format("{}.\n", fmt::join(harmless, ", "));
  page += "\n| refused with 400 (in brackets: values that ask for nothing) | why |\n|---|---|\n";
  for (const std::string_view reason : reasons) {
    page += fmt::format("| {} | {} |\n", fmt::join(refused[reason], ", "), reason);
  }
  return page;
}

// FLOE_WRITE_DOCS=1 writes the table into the page.
TEST(KnownFields, ThePageHasTheTable) {
  const std::string path = repo_path("docs/serving.md");
  std::ifstream file(path);
  std::string page{std::istreambuf_iterator<char>(file), {}};
  const std::string begin = "<!-- fields: made from known_fields.cpp -->\n";
  const std::string end = "<!-- end of fields -->";
  const size_t from = page.find(begin);
  const size_t to = page.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  const size_t table = from + begin.size();
  const std::string expected = "\n" + fields_page() + "\n";
  if (std::getenv("FLOE_WRITE_DOCS") != nullptr) {
    page.replace(table, to - table, expected);
    std::ofstream(path) << page;
    return;
  }
  EXPECT_EQ(page.substr(table, to - table), expected) << "FLOE_WRITE_DOCS=1 writes it anew";
}

}  // namespace
}  // namespace floe
