// The fuzz targets' corpus through what the fuzzers check, and random texts.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/grammar_properties.h"
#include "repo_path.h"

namespace floe {
namespace {

std::string checked(GrammarKind kind, const std::string& text) {
  return check_grammar_properties(kind,
                                  {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

struct Target {
  GrammarKind kind;
  const char* corpus;
};
const Target kTargets[] = {{GrammarKind::json_schema, "schema"},
                           {GrammarKind::gbnf, "gbnf"},
                           {GrammarKind::regex, "regex"}};

// Each file as it is, cut at every byte, and with bytes of others put in.
TEST(GrammarProperties, HoldForTheCorpus) {
  for (const Target& target : kTargets) {
    std::vector<std::string> texts;
    for (const auto& entry : std::filesystem::directory_iterator(
             repo_path(std::string("tests/fuzz/corpus/") + target.corpus))) {
      std::ifstream file(entry.path(), std::ios::binary);
      texts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    ASSERT_FALSE(texts.empty());
    uint64_t random = 3;
    const auto next = [&] {
      random = random * 6364136223846793005u + 1442695040888963407u;
      return static_cast<size_t>(random >> 33);
    };
    for (const std::string& text : texts) {
      EXPECT_EQ(checked(target.kind, text), "") << text;
      for (size_t i = 0; i < text.size(); ++i) {
        ASSERT_EQ(checked(target.kind, text.substr(0, i)), "") << text.substr(0, i);
      }
      for (int i = 0; i < 100; ++i) {
        std::string changed = text;
        for (size_t n = next() % 4 + 1; n > 0 && !changed.empty(); --n) {
          const std::string& other = texts[next() % texts.size()];
          changed[next() % changed.size()] = other[next() % other.size()];
        }
        ASSERT_EQ(checked(target.kind, changed), "") << changed;
      }
    }
  }
}

}  // namespace
}  // namespace floe
