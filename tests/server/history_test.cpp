// Every answer that the server can give is accepted back.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "fuzz/answer_properties.h"
#include "repo_path.h"

namespace floe {
namespace {

// Sanitizers make a round cost many times as much.
constexpr size_t kRounds = FLOE_SLOW_BUILD ? 2000 : 20000;

TEST(History, EveryAnswerIsAcceptedBack) {
  AnswerCounts counts;
  std::mt19937 random(14);
  for (size_t round = 0; round < kRounds; ++round) {
    // Half of the answers are like a model's, half are tokens without any order.
    std::vector<uint8_t> bytes = random_answer(random);
    if (round % 2 == 0) {
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    }
    const std::string broken = check_answer_properties(bytes, &counts);
    ASSERT_EQ(broken, "") << round;
  }
  EXPECT_EQ(counts.n_answers, kRounds);
  EXPECT_GT(counts.n_histories, 3 * kRounds);
  EXPECT_GT(counts.n_calls, kRounds / 20);
  EXPECT_GT(counts.n_partial_calls, kRounds / 100);
  EXPECT_GT(counts.n_reasoning, kRounds / 20);
  EXPECT_GT(counts.n_without_content, kRounds / 20);
  std::printf("%zu answers, %zu histories, %zu calls, %zu of them partial\n", counts.n_answers,
              counts.n_histories, counts.n_calls, counts.n_partial_calls);
}

TEST(History, FuzzCorpusHolds) {
  size_t n_files = 0;
  const std::string folder = repo_path("tests/fuzz/corpus/answer");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file),
                                     std::istreambuf_iterator<char>()};
    EXPECT_EQ(check_answer_properties(bytes), "") << entry.path();
    ++n_files;
  }
  EXPECT_GE(n_files, 5u);
}

}  // namespace
}  // namespace floe
