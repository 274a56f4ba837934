// Every file of the fuzzers' corpus through the same properties, on every run of the tests.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/allocation_count.h"
#include "fuzz/gguf_properties.h"
#include "fuzz/safetensors_properties.h"
#include "repo_path.h"
#include "store/gguf.h"
#include "store/safetensors.h"

namespace floe {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> read_whole(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> chars{std::istreambuf_iterator<char>(in),
                                std::istreambuf_iterator<char>()};
  const std::span<const std::byte> bytes = std::as_bytes(std::span(chars));
  return {bytes.begin(), bytes.end()};
}

TEST(Corpus, EveryFileKeepsTheProperties) {
  size_t n_files = 0;
  size_t n_accepted = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(repo_path("tests/fuzz/corpus/gguf")))) {
    const std::vector<std::byte> bytes = read_whole(entry.path());
    EXPECT_EQ(check_gguf_properties(bytes), "") << entry.path();
    n_files += 1;
    const Result<GgufIndex> index = parse_gguf(bytes, "corpus");
    n_accepted += index.ok() ? 1 : 0;
    // The seeds carry what they are in their names.
    const std::string name = entry.path().filename().string();
    if (name.rfind("good_", 0) == 0) {
      EXPECT_TRUE(index.ok()) << name;
    }
    if (name.rfind("f0", 0) == 0 || name.rfind("f1", 0) == 0) {
      EXPECT_EQ(index.ok(), name == "f04_odd_key") << name;
    }
  }
  // A corpus that is missing, all good or all bad would prove nothing.
  EXPECT_GE(n_files, 20u);
  EXPECT_GE(n_accepted, 3u);
  EXPECT_LT(n_accepted, n_files);
}

TEST(Corpus, EverySafetensorsFileKeepsTheProperties) {
  size_t n_good = 0;
  size_t n_bad = 0;
  for (const auto& entry :
       fs::directory_iterator(fs::path(repo_path("tests/fuzz/corpus/safetensors")))) {
    const std::vector<std::byte> bytes = read_whole(entry.path());
    EXPECT_EQ(check_safetensors_properties(bytes), "") << entry.path();
    const std::string name = entry.path().filename().string();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const bool accepted =
        parse_safetensors(bytes, "corpus").ok() || parse_safetensors_index(text, "corpus").ok();
    // The seeds carry what they are in their names.
    const bool good = name.rfind("good_", 0) == 0;
    if (good || name.rfind("bad_", 0) == 0) {
      EXPECT_EQ(accepted, good) << name;
      ++(good ? n_good : n_bad);
    }
  }
  EXPECT_GE(n_good, 5u);
  EXPECT_GE(n_bad, 10u);
}

TEST(Corpus, TheAllocationCountCounts) {
  const AllocationCount count;
  const std::vector<char> bytes(12345);
  EXPECT_GE(count.bytes(), 12345u);
  EXPECT_LT(count.bytes(), 20000u);
}

}  // namespace
}  // namespace floe
