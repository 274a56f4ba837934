// Safetensors files: what is read, and one refusal per rule.
#include "store/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "store/scratch_folder.h"

namespace floe {
namespace {

using Bytes = std::vector<std::byte>;

Bytes file(const std::string& header, size_t data_bytes, uint64_t header_bytes) {
  Bytes bytes(8 + header.size() + data_bytes);
  std::memcpy(bytes.data(), &header_bytes, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  for (size_t i = 0; i < data_bytes; ++i) {
    bytes[8 + header.size() + i] = static_cast<std::byte>(i * 7);
  }
  return bytes;
}

Bytes file(const std::string& header, size_t data_bytes) {
  return file(header, data_bytes, header.size());
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   uint64_t begin, uint64_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype,
                     shape, begin, end);
}

// Two matrices and a scalar; the order of names is not that of bytes.
std::string good_header() {
  return "{\"__metadata__\":{\"format\":\"pt\"}," + tensor("b", "BF16", "[2,3]", 24, 36) + "," +
         tensor("a", "F32", "[3,2]", 0, 24) + "," + tensor("c", "I64", "[]", 36, 44) + "}";
}

std::string refusal_of(const Bytes& bytes) {
  const auto parsed = parse_safetensors(bytes, "file");
  if (parsed.ok()) return "";
  EXPECT_EQ(parsed.error().kind, ErrorKind::model);
  EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos);
  return parsed.error().message;
}

void expect_refused(const std::string& header, size_t data_bytes, std::string_view part) {
  const std::string message = refusal_of(file(header, data_bytes));
  EXPECT_NE(message.find(part), std::string::npos)
      << header << "\nexpected: " << part
      << "\nfound: " << (message.empty() ? "accepted" : message);
}

TEST(Safetensors, ShowsItsTensors) {
  const std::string header = good_header();
  const auto parsed = parse_safetensors(file(header, 44), "file");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  ASSERT_EQ(parsed->size(), 3u);
  const SafetensorsTensor& a = (*parsed)[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.type, ElementType::F32);
  EXPECT_EQ(a.dims, (TensorDims{2, 3}));
  EXPECT_EQ(a.file_offset, 8 + header.size());
  EXPECT_EQ(a.size_bytes, 24u);
  EXPECT_EQ((*parsed)[1].name, "b");
  EXPECT_EQ((*parsed)[1].file_offset, 8 + header.size() + 24);
  EXPECT_EQ((*parsed)[2].dims, (TensorDims{1}));
}

TEST(Safetensors, TakesPaddingBehindTheHeader) {
  EXPECT_EQ(refusal_of(file(good_header() + "     ", 44)), "");
  EXPECT_EQ(refusal_of(file("{}", 0)), "");
}

TEST(Safetensors, RefusesLengthsThatDoNotFit) {
  const std::string header = good_header();
  for (const uint64_t n : {uint64_t{header.size() + 45}, uint64_t{100'000'001}, uint64_t{1} << 63,
                           UINT64_MAX, UINT64_MAX - 7}) {
    EXPECT_NE(refusal_of(file(header, 44, n)).find("expected a header of at most"),
              std::string::npos)
        << n;
  }
  const Bytes whole = file(header, 44);
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_NE(refusal_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)}), "") << n;
  }
}

TEST(Safetensors, RefusesOtherJson) {
  const std::string good = tensor("a", "F32", "[1]", 0, 4);
  expect_refused("", 0, "invalid");
  expect_refused("[]", 0, "expected a header of tensors");
  expect_refused("{\"a\":1}", 0, "tensor a: expected one dtype");
  expect_refused("{" + good, 4, "invalid");
  expect_refused("{" + good + "}x", 4, "invalid");
  expect_refused("{" + good + "}{}", 4, "invalid");
  expect_refused(std::string("{\"a\0\":1}", 8), 0, "zero byte");
  expect_refused("{" + good + "}" + std::string(1, '\0'), 4, "zero byte");
  expect_refused("{\"\xff\":1}", 0, "invalid");
  expect_refused("{\"__metadata__\":{\"a\":1}," + good + "}", 4, "text metadata");
  expect_refused("{\"__metadata__\":[]," + good + "}", 4, "text metadata");
  expect_refused(std::string(100'000, '['), 0, "expected a header of tensors");
  expect_refused("{\"a\":" + std::string(100'000, '['), 0, "expected one dtype");
  expect_refused("{\"\":" + good.substr(4) + "}", 4, "names of 1 to");
  expect_refused("{\"" + std::string(513, 'n') + "\":{}}", 0, "found one of 513");
  expect_refused("{\"\\u001b[2J\":{\"dtype\":\"F32\"}}", 0, "\\x1b[2J");
}

TEST(Safetensors, RefusesFieldsThatAreNotThere) {
  expect_refused(R"({"a":{"dtype":"F32","shape":[1]}})", 4, "tensor a: expected one dtype");
  expect_refused(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "expected one dtype");
  expect_refused(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "expected one dtype");
  expect_refused(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
                 "expected one dtype");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4,
                 "expected one dtype");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "two data_offsets");
  expect_refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", 4,
                 "two data_offsets");
  expect_refused("{" + tensor("a", "Q4_0", "[1]", 0, 4) + "}", 4, "a known dtype, found Q4_0");
  expect_refused("{" + tensor("a", "F32", "[1,1,1,1,1]", 0, 4) + "}", 4, "at most 4 sizes");
  expect_refused("{" + tensor("a", "F32", "[-1]", 0, 4) + "}", 4, "expected one dtype");
  expect_refused("{" + tensor("a", "F32", "[1.0]", 0, 4) + "}", 4, "expected one dtype");
  expect_refused("{" + tensor("a", "F32", "[18446744073709551616]", 0, 4) + "}", 4,
                 "expected one dtype");
}

TEST(Safetensors, RefusesBytesThatDoNotAddUp) {
  const std::string a = tensor("a", "F32", "[1]", 0, 4);
  expect_refused("{" + tensor("a", "F32", "[0]", 0, 0) + "}", 0, "sizes from 1 on");
  expect_refused("{" + tensor("a", "F32", "[2]", 0, 4) + "}", 4, "expected 8 bytes");
  expect_refused("{" + tensor("a", "F32", "[1]", 4, 0) + "}", 4, "data_offsets within 4 bytes");
  expect_refused("{" + tensor("a", "F32", "[1]", 0, 8) + "}", 4, "data_offsets within 4 bytes");
  expect_refused("{" + tensor("a", "F32", "[4294967296,4294967296]", 0, 0) + "}", 0,
                 "sizes from 1 on");
  expect_refused("{" + tensor("a", "F32", "[4611686018427387905]", 0, 4) + "}", 4,
                 "sizes from 1 on");
  expect_refused("{" + tensor("a", "F32", "[1]", 4, 8) + "}", 8, "to begin at 0, found 4");
  expect_refused("{" + a + "," + tensor("b", "F32", "[1]", 8, 12) + "}", 12, "to begin at 4");
  expect_refused("{" + a + "," + tensor("b", "F32", "[1]", 2, 6) + "}", 6, "to begin at 4");
  expect_refused("{" + a + "," + tensor("b", "F32", "[1]", 0, 4) + "}", 4, "to begin at 4");
  expect_refused("{" + a + "}", 5, "expected the file to end at");
  expect_refused("{" + a + "," + tensor("a", "F32", "[1]", 4, 8) + "}", 8, "found twice");
}

TEST(SafetensorsIndex, SaysWhereTensorsAre) {
  const auto places = parse_safetensors_index(
      R"({"metadata":{"total_size":8},"weight_map":{"a":"x.safetensors","b":"y.safetensors"}})",
      "index");
  ASSERT_TRUE(places.ok()) << places.error().message;
  ASSERT_EQ(places->size(), 2u);
  EXPECT_EQ((*places)[1].tensor, "b");
  EXPECT_EQ((*places)[1].file, "y.safetensors");
}

TEST(SafetensorsIndex, RefusesEverythingElse) {
  for (const char* text :
       {"", "[]", "1", "{}", R"({"weight_map":{}})", R"({"weight_map":[]})",
        R"({"weight_map":"a"})", R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":{}}})",
        R"({"weight_map":{"a":""}})", R"({"weight_map":{"a":"../x"}})",
        R"({"weight_map":{"a":"/x"}})", R"({"weight_map":{"a":".."}})",
        R"({"weight_map":{"a":"x","a":"x"}})", R"({"weight_map":{"a":"x"},"weight_map":{"b":"x"}})",
        R"({"metadata":{"a":{}}})", R"({"weight_map":{"":"x"}})", R"({"weight_map":{"a":"x"})"}) {
    const auto places = parse_safetensors_index(text, "index");
    ASSERT_FALSE(places.ok()) << text;
    EXPECT_EQ(places.error().kind, ErrorKind::model);
  }
}

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(SafetensorsFiles, ReadsASingleFile) {
  const ScratchFolder folder;
  folder.write("model.safetensors", file(good_header(), 44));
  auto opened = SafetensorsFile::open(folder.file(""));
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const SafetensorsFile safetensors = std::move(opened).value();
  EXPECT_EQ(safetensors.tensors().size(), 3u);
  EXPECT_EQ(safetensors.find("d"), nullptr);
  const auto b = safetensors.require("b", {3, 2});
  ASSERT_TRUE(b.ok());
  Bytes bytes(5);
  ASSERT_TRUE(safetensors.read(**b, 4, bytes).ok());
  for (size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(bytes[i], static_cast<std::byte>((24 + 4 + i) * 7));
  }
  EXPECT_NE(safetensors.require("b", {2, 3})
                .error()
                .message.find("tensor b: expected shape [2, 3], found [3, 2]"),
            std::string::npos);
  EXPECT_NE(safetensors.require("d", {1}).error().message.find("no such tensor"),
            std::string::npos);
}

TEST(SafetensorsFiles, AreReadAsTheyWereWritten) {
  const ScratchFolder folder;
  const std::vector<SafetensorsTensor> tensors{{"b", ElementType::BF16, {3, 2}},
                                               {"a", ElementType::F32, {2}},
                                               {"ids \"x\"", ElementType::I64, {1}}};
  const Bytes data(12 + 8 + 8, std::byte{5});
  auto out = create_safetensors(folder.file("model.safetensors"), tensors);
  ASSERT_TRUE(out.ok()) << out.error().message;
  ASSERT_TRUE(out->append(std::span(data).subspan(0, 9)).ok());
  const auto early = out->finish();
  ASSERT_FALSE(early.ok());
  EXPECT_EQ(early.error().kind, ErrorKind::usage);
  EXPECT_FALSE(std::filesystem::exists(folder.file("model.safetensors")));
  ASSERT_TRUE(out->append(std::span(data).subspan(9)).ok());
  ASSERT_TRUE(out->finish().ok());

  const auto opened = SafetensorsFile::open(folder.file(""));
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  ASSERT_EQ(opened->tensors().size(), 3u);
  for (const SafetensorsTensor& tensor : tensors) {
    const SafetensorsTensor* found = opened->find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->type, tensor.type);
    EXPECT_EQ(found->dims, tensor.dims);
  }
  EXPECT_EQ(opened->find("b")->file_offset % 8, 0u);

  const std::vector<SafetensorsTensor> twice{{"a", ElementType::F32, {2}},
                                             {"a", ElementType::F32, {2}}};
  EXPECT_FALSE(create_safetensors(folder.file("twice.safetensors"), twice).ok());
}

TEST(SafetensorsFiles, ReadsShards) {
  const ScratchFolder folder;
  folder.write("1.safetensors", file("{" + tensor("a", "F32", "[1]", 0, 4) + "}", 4));
  folder.write("2.safetensors", file("{" + tensor("b", "F32", "[2]", 0, 8) + "}", 8));
  const auto open = [&](const std::string& map) {
    folder.write("model.safetensors.index.json", as_bytes("{\"weight_map\":{" + map + "}}"));
    const auto opened = SafetensorsFile::open(folder.file(""));
    if (!opened.ok()) return opened.error().message;
    EXPECT_EQ(opened->find("b")->shard, 1u);
    Bytes bytes(8);
    EXPECT_TRUE(opened->read(*opened->find("b"), 0, bytes).ok());
    EXPECT_EQ(bytes[7], static_cast<std::byte>(49));
    return std::string();
  };
  const std::string a = R"("a":"1.safetensors")";
  const std::string b = R"("b":"2.safetensors")";
  EXPECT_EQ(open(a + "," + b), "");
  EXPECT_NE(open(R"("a":"2.safetensors",)" + b).find("tensor a: expected in 2.safetensors"),
            std::string::npos);
  EXPECT_NE(open(a + R"(,"c":"2.safetensors")").find("tensor c"), std::string::npos);
  EXPECT_NE(open(a + R"(,"b":"3.safetensors")").find("cannot open"), std::string::npos);
  folder.write(
      "2.safetensors",
      file("{" + tensor("b", "F32", "[1]", 0, 4) + "," + tensor("c", "F32", "[1]", 4, 8) + "}", 8));
  EXPECT_NE(open(a + "," + b).find("expected 2 tensors as listed"), std::string::npos);
  folder.write(
      "2.safetensors",
      file("{" + tensor("b", "F32", "[1]", 0, 4) + "," + tensor("a", "F32", "[1]", 4, 8) + "}", 8));
  EXPECT_NE(open(a + "," + b), "");
}

TEST(SafetensorsFiles, RefusesWhatIsNoFile) {
  const ScratchFolder folder;
  EXPECT_NE(SafetensorsFile::open(folder.file("")).error().message.find("cannot open"),
            std::string::npos);
  folder.write("model.safetensors", {});
  EXPECT_NE(SafetensorsFile::open(folder.file("")).error().message.find("is empty"),
            std::string::npos);
  folder.write("model.safetensors", file("{}", 0, 3));
  EXPECT_NE(SafetensorsFile::open(folder.file("")).error().message.find("header of at most"),
            std::string::npos);
  folder.write("model.safetensors", Bytes(7));
  EXPECT_NE(SafetensorsFile::open(folder.file("")).error().message.find("at least 8 bytes"),
            std::string::npos);
}

TEST(SafetensorsFiles, NoticesAFileThatWasCut) {
  const ScratchFolder folder;
  const std::string path = folder.write("model.safetensors", file(good_header(), 44));
  const auto opened = SafetensorsFile::open(folder.file(""));
  ASSERT_TRUE(opened.ok());
  std::filesystem::resize_file(path, 20);
  Bytes bytes(24);
  const Result<void> read = opened->read(*opened->find("a"), 0, bytes);
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.error().message.find("the end of the file"), std::string::npos);
}

}  // namespace
}  // namespace floe
