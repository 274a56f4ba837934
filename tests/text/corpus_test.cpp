// Replays the fuzzers' corpus and random inputs through the fuzzers' properties.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "fuzz/text_properties.h"
#include "repo_path.h"
#include "text/vocab_files.h"

namespace floe {
namespace {

using Property = void (*)(const uint8_t*, size_t);

size_t replay(const std::string& name, Property property) {
  size_t n_files = 0;
  const std::string folder = repo_path("tests/fuzz/corpus/") + name;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string bytes = testing::read_file(entry.path());
    property(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ++n_files;
  }
  return n_files;
}

void run_random(Property property, unsigned seed, int n_rounds) {
  std::mt19937 random(seed);
  const std::string letters = "aabhelo w12\n' <|im_start|>\xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80";
  for (int round = 0; round < n_rounds; ++round) {
    std::string bytes(4 + random() % 60, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) {
      const bool anything = i < 3 || random() % 16 == 0;
      bytes[i] = anything ? static_cast<char>(random()) : letters[random() % letters.size()];
    }
    property(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
}

TEST(TextCorpus, TokenizeHoldsOnTheCorpusAndRandomBytes) {
  EXPECT_GE(replay("tokenize", testing::check_tokenize), 10u);
  run_random(testing::check_tokenize, 11, 20000);
}

TEST(TextCorpus, Utf8StreamHoldsOnTheCorpusAndRandomBytes) {
  EXPECT_GE(replay("utf8_stream", testing::check_utf8_stream), 4u);
  run_random(testing::check_utf8_stream, 12, 40000);
}

}  // namespace
}  // namespace floe
