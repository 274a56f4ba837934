// Decoders against the published reference's floats, bit by bit.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <vector>

#include "base/json.h"
#include "quant/format.h"
#include "repo_path.h"

namespace floe {
namespace {

const std::string kGoldenDir = golden_directory() + "/dequant/";

std::vector<char> read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(Decode, EveryFormatEqualsTheGoldenFloatsBitForBit) {
  const std::vector<char> index_text = read_bytes(kGoldenDir + "index.json");
  const auto parsed = parse_json({index_text.data(), index_text.size()});
  ASSERT_TRUE(parsed.ok()) << kGoldenDir << ": " << parsed.error().message;
  const Json& index = *parsed;
  const std::vector<char> blocks = read_bytes(kGoldenDir + "blocks.bin");
  const std::vector<char> floats = read_bytes(kGoldenDir + "floats.bin");
  std::set<std::string> checked;
  for (const auto& [name, entry] : index.at("types").items()) {
    const FormatTraits* format = find_format(entry.at("ggml_type").get<uint32_t>());
    if (format == nullptr) continue;
    SCOPED_TRACE(name);
    EXPECT_EQ(format->name, name);
    EXPECT_EQ(format->block_elems, entry.at("block_elems").get<uint32_t>());
    EXPECT_EQ(format->block_bytes, entry.at("block_bytes").get<uint32_t>());
    const size_t n_blocks = entry.at("n_blocks");
    const size_t n_elems = n_blocks * format->block_elems;
    const size_t blocks_at = entry.at("blocks_offset");
    const size_t floats_at = entry.at("floats_offset");
    ASSERT_LE(blocks_at + n_blocks * format->block_bytes, blocks.size());
    ASSERT_LE(floats_at + n_elems * sizeof(float), floats.size());
    std::vector<float> decoded(n_elems);
    // One byte off any alignment: blocks may start anywhere.
    std::vector<std::byte> shifted(n_blocks * format->block_bytes + 1);
    std::memcpy(shifted.data() + 1, blocks.data() + blocks_at, n_blocks * format->block_bytes);
    format->decode(shifted.data() + 1, decoded.data(), n_elems);
    size_t n_different = 0;
    for (size_t i = 0; i < n_elems; ++i) {
      if (std::memcmp(&decoded[i], floats.data() + floats_at + i * sizeof(float), sizeof(float)) !=
          0) {
        float expected;
        std::memcpy(&expected, floats.data() + floats_at + i * sizeof(float), sizeof(float));
        if (n_different++ == 0)
          ADD_FAILURE() << "element " << i << ": " << decoded[i] << " != " << expected;
      }
    }
    EXPECT_EQ(n_different, 0u);
    checked.insert(name);
  }
  const std::set<std::string> wanted = {"F16",  "BF16", "Q4_0",   "Q4_1",   "Q5_0",
                                        "Q5_1", "Q8_0", "Q2_K",   "Q3_K",   "Q4_K",
                                        "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"};
  EXPECT_EQ(checked, wanted);
}

TEST(Format, LooksUpByIdAndName) {
  EXPECT_EQ(find_format(12)->type, QuantType::Q4_K);
  for (uint32_t removed : {4u, 5u, 9u, 15u, 16u, 24u, 31u, 36u, 40u, 1000u, 0xffffffffu}) {
    EXPECT_EQ(find_format(removed), nullptr) << removed;
  }
  EXPECT_EQ(parse_format("MXFP4"), QuantType::MXFP4);
  EXPECT_EQ(parse_format("q4_k"), std::nullopt);
  EXPECT_EQ(parse_format(""), std::nullopt);
}

TEST(Format, RowBytes) {
  EXPECT_EQ(row_bytes(QuantType::F32, 3), 12u);
  EXPECT_EQ(row_bytes(QuantType::Q4_0, 64), 36u);
  EXPECT_EQ(row_bytes(QuantType::Q6_K, 512), 420u);
  EXPECT_DEATH(row_bytes(QuantType::Q4_K, 128), "does not hold");
}

}  // namespace
}  // namespace floe
