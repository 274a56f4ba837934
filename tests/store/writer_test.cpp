// What is written can be read; what cannot be read is not written.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "fuzz/gguf_properties.h"
#include "store/gguf_writer.h"
#include "store/raw_gguf.h"
#include "store/scratch_folder.h"

namespace floe {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> pattern(size_t n_bytes, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<std::byte> bytes(n_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng());
  return bytes;
}

std::vector<std::byte> read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> chars{std::istreambuf_iterator<char>(in),
                                std::istreambuf_iterator<char>()};
  std::vector<std::byte> bytes(chars.size());
  std::memcpy(bytes.data(), chars.data(), chars.size());
  return bytes;
}

GgufHeaderBuilder every_kind(uint32_t alignment = kDefaultAlignment) {
  GgufHeaderBuilder header(alignment);
  header.add_string("general.architecture", "llama");
  header.add_u8("u8", 200);
  header.add_u16("u16", 60000);
  header.add_u32("u32", 4000000000u);
  header.add_i32("i32", -5);
  header.add_u64("u64", UINT64_MAX);
  header.add_i64("i64", INT64_MIN);
  header.add_f32("f32", 1.5f);
  header.add_f64("f64", -2.25);
  header.add_bool("yes", true);
  header.add_bool("no", false);
  header.add_string("empty", "");
  header.add_u32_array("u32s", std::vector<uint32_t>{1, 2, 3});
  header.add_i32_array("i32s", std::vector<int32_t>{-1, 0, 1});
  header.add_f32_array("f32s", std::vector<float>{0.5f, -0.5f});
  header.add_string_array("texts", std::vector<std::string>{"a", "", "b\nc"});
  header.add_string_array("none", std::vector<std::string>{});
  header.add_tensor("odd", QuantType::F32, {5, 3});
  header.add_tensor("experts", QuantType::Q4_0, {64, 4, 3});
  header.add_tensor("k", QuantType::Q6_K, {256, 7});
  return header;
}

TEST(Writer, ParseOfWriteIsWhatWasWritten) {
  for (uint32_t alignment : {8u, 32u, 64u, 4096u}) {
    const ScratchFolder folder;
    const GgufHeaderBuilder header = every_kind(alignment);
    Result<GgufWriter> writer = GgufWriter::create(folder.file("out.gguf"), header);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    EXPECT_FALSE(fs::exists(folder.file("out.gguf"))) << "named before it is complete";
    for (const GgufHeaderBuilder::Tensor& tensor : header.tensors()) {
      const std::vector<std::byte> data =
          pattern(tensor.size_bytes, static_cast<uint32_t>(tensor.data_offset));
      const size_t middle = data.size() / 3;
      ASSERT_TRUE(writer->append(tensor.name, {data.data(), middle}).ok());
      ASSERT_TRUE(writer->append(tensor.name, {data.data() + middle, data.size() - middle}).ok());
    }
    ASSERT_TRUE(writer->finish().ok());
    EXPECT_EQ(std::distance(fs::directory_iterator(folder.file("")), fs::directory_iterator()), 1);

    EXPECT_EQ(check_gguf_properties(read_bytes(folder.file("out.gguf"))), "");
    const Result<GgufFile> file = GgufFile::open(folder.file("out.gguf"));
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->alignment(), alignment);
    EXPECT_EQ(*file->require_uint("u8", 0, 255), 200u);
    EXPECT_EQ(*file->require_uint("u16", 0, 65535), 60000u);
    EXPECT_EQ(*file->require_uint("u32", 0, UINT64_MAX), 4000000000u);
    EXPECT_EQ(*file->require_int("i32", -10, 0), -5);
    EXPECT_EQ(*file->require_uint("u64", 0, UINT64_MAX), UINT64_MAX);
    EXPECT_EQ(*file->require_int("i64", INT64_MIN, 0), INT64_MIN);
    EXPECT_EQ(*file->require_float("f32", 0, 2), 1.5f);
    EXPECT_EQ(*file->require_float("f64", -3, 2), -2.25f);
    EXPECT_TRUE(*file->require_bool("yes"));
    EXPECT_FALSE(*file->require_bool("no"));
    EXPECT_EQ(*file->require_string("empty"), "");
    EXPECT_EQ(*file->require_ints("u32s", 0, 9), (std::vector<int64_t>{1, 2, 3}));
    EXPECT_EQ(*file->require_ints("i32s", -9, 9), (std::vector<int64_t>{-1, 0, 1}));
    EXPECT_EQ(*file->require_floats("f32s"), (std::vector<float>{0.5f, -0.5f}));
    EXPECT_EQ(*file->require_strings("texts"), (std::vector<std::string_view>{"a", "", "b\nc"}));
    EXPECT_TRUE(file->require_strings("none")->empty());
    ASSERT_EQ(file->tensors().size(), header.tensors().size());
    for (size_t i = 0; i < header.tensors().size(); ++i) {
      const TensorView& read = file->tensors()[i];
      const GgufHeaderBuilder::Tensor& written = header.tensors()[i];
      EXPECT_EQ(read.name, written.name);
      EXPECT_EQ(read.type, written.type);
      EXPECT_EQ(read.dims, written.dims);
      ASSERT_EQ(read.size_bytes, written.size_bytes);
      const std::vector<std::byte> data =
          pattern(written.size_bytes, static_cast<uint32_t>(written.data_offset));
      EXPECT_EQ(std::memcmp(read.data, data.data(), data.size()), 0);
    }
  }
}

TEST(Writer, LargeTensorsInPiecesOfAnySize) {
  const ScratchFolder folder;
  GgufHeaderBuilder header;
  header.add_tensor("large", QuantType::F32, {1'500'000});
  header.add_tensor("last", QuantType::F32, {1});
  const std::vector<std::byte> data = pattern(6'000'000, 3);
  Result<GgufWriter> writer = GgufWriter::create(folder.file("out.gguf"), header);
  ASSERT_TRUE(writer.ok());
  size_t done = 0;
  for (size_t piece = 1; done < data.size(); piece = piece * 3 + 1) {
    const size_t n_bytes = std::min(piece, data.size() - done);
    ASSERT_TRUE(writer->append("large", {data.data() + done, n_bytes}).ok());
    done += n_bytes;
  }
  ASSERT_TRUE(writer->append("last", {data.data(), 4}).ok());
  ASSERT_TRUE(writer->finish().ok());
  const Result<GgufFile> file = GgufFile::open(folder.file("out.gguf"));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(std::memcmp(file->find_tensor("large")->data, data.data(), data.size()), 0);
  EXPECT_EQ(std::memcmp(file->find_tensor("last")->data, data.data(), 4), 0);
}

TEST(Writer, RefusesDataOutOfTurn) {
  const ScratchFolder folder;
  GgufHeaderBuilder header;
  header.add_tensor("a", QuantType::F32, {2});
  header.add_tensor("b", QuantType::F32, {2});
  const std::vector<std::byte> data(12);
  Result<GgufWriter> writer = GgufWriter::create(folder.file("out.gguf"), header);
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(writer->append("b", {data.data(), 8}).error().kind, ErrorKind::usage);
  EXPECT_EQ(writer->append("a", {data.data(), 12}).error().kind, ErrorKind::usage);
  EXPECT_FALSE(writer->finish().ok());
  EXPECT_TRUE(writer->append("a", {data.data(), 8}).ok());
  EXPECT_FALSE(writer->append("a", {data.data(), 1}).ok());
  EXPECT_TRUE(writer->append("b", {data.data(), 7}).ok());
  EXPECT_NE(writer->finish().error().message.find("tensor b: expected 8 bytes, found 7"),
            std::string::npos);
  EXPECT_TRUE(writer->append("b", {data.data(), 1}).ok());
  EXPECT_FALSE(writer->append("b", {data.data(), 1}).ok());
  EXPECT_TRUE(writer->finish().ok());
  EXPECT_FALSE(writer->finish().ok());
}

TEST(Writer, LeavesNothingBehindWhenAbandoned) {
  const ScratchFolder folder;
  folder.write("out.gguf", pattern(10, 1));
  {
    GgufHeaderBuilder header;
    header.add_tensor("a", QuantType::F32, {2});
    Result<GgufWriter> writer = GgufWriter::create(folder.file("out.gguf"), header);
    ASSERT_TRUE(writer.ok());
  }
  EXPECT_EQ(read_bytes(folder.file("out.gguf")), pattern(10, 1)) << "the older file is untouched";
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.file("")), fs::directory_iterator()), 1);
}

TEST(Writer, RefusesWhatTheReaderWouldRefuse) {
  const auto mistake = [](const std::function<void(GgufHeaderBuilder&)>& make) {
    GgufHeaderBuilder header;
    make(header);
    const Result<std::vector<std::byte>> bytes = header.serialise();
    if (bytes.ok()) return std::string();
    EXPECT_EQ(bytes.error().kind, ErrorKind::usage);
    return bytes.error().message;
  };
  EXPECT_EQ(mistake([](auto&) {}), "");
  EXPECT_NE(mistake([](auto& h) { h.add_u8("", 1); }), "");
  EXPECT_NE(mistake([](auto& h) { h.add_u8(std::string(65536, 'k'), 1); }), "");
  EXPECT_NE(mistake([](auto& h) {
              h.add_u8("k", 1);
              h.add_string("k", "v");
            }),
            "");
  EXPECT_NE(mistake([](auto& h) { h.add_tensor("", QuantType::F32, {1}); }), "");
  EXPECT_NE(mistake([](auto& h) { h.add_tensor(std::string(65, 't'), QuantType::F32, {1}); }), "");
  EXPECT_NE(mistake([](auto& h) { h.add_tensor("t", QuantType::F32, {}); }), "");
  EXPECT_NE(mistake([](auto& h) { h.add_tensor("t", QuantType::F32, {4, 0}); }), "");
  EXPECT_NE(mistake([](auto& h) { h.add_tensor("t", QuantType::Q4_K, {128}); }), "");
  EXPECT_NE(mistake([](auto& h) { h.add_tensor("t", QuantType::F32, {uint64_t{1} << 62}); }), "");
  EXPECT_NE(mistake([](auto& h) {
              h.add_tensor("t", QuantType::F32, {uint64_t{1} << 33, uint64_t{1} << 33});
            }),
            "");
  EXPECT_NE(mistake([](auto& h) {
              h.add_tensor("t", QuantType::F32, {1});
              h.add_tensor("t", QuantType::F16, {1});
            }),
            "");
  for (uint32_t alignment : {0u, 1u, 4u, 48u, 131072u}) {
    EXPECT_FALSE(GgufHeaderBuilder(alignment).serialise().ok()) << alignment;
  }
}

TEST(Writer, FailsWhereItCannotWrite) {
  const ScratchFolder folder;
  GgufHeaderBuilder header;
  EXPECT_EQ(GgufWriter::create(folder.file("no/such/folder.gguf"), header).error().kind,
            ErrorKind::runtime);
  header.add_tensor("t", QuantType::F32, {uint64_t{1} << 58});  // an exabyte
  EXPECT_FALSE(GgufWriter::create(folder.file("huge.gguf"), header).ok());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.file("")), fs::directory_iterator()), 0);
}

TEST(Writer, CopiesPairsOfAnotherFile) {
  const raw::Bytes source = raw::valid_file().bytes();
  const Result<GgufIndex> index = parse_gguf(source, "source");
  ASSERT_TRUE(index.ok());
  GgufHeaderBuilder header(64);
  for (const MetadataEntry& entry : index->metadata.entries()) header.add_copy(entry);
  header.add_bool("added", true);
  const Result<std::vector<std::byte>> bytes = header.serialise();
  ASSERT_TRUE(bytes.ok());
  const Result<GgufIndex> copy = parse_gguf(*bytes, "copy");
  ASSERT_TRUE(copy.ok()) << copy.error().message;
  EXPECT_EQ(*copy->metadata.require_strings("tokenizer.ggml.tokens"),
            (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(copy->metadata.entries().size(), index->metadata.entries().size() + 2);
}

}  // namespace
}  // namespace floe
