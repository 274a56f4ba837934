// Hostile and odd files, in memory. The F numbers are those of the battery in docs/formats.md.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "fuzz/gguf_properties.h"
#include "store/checked_int.h"
#include "store/checked_reader.h"
#include "store/gguf.h"
#include "store/raw_gguf.h"

namespace floe {
namespace {

using raw::Bytes;

// The error of a file that must be refused; "" when it is accepted. Every property of the fuzzer
// holds too.
std::string refusal(const Bytes& bytes) {
  EXPECT_EQ(check_gguf_properties(bytes), "");
  const Result<GgufIndex> index = parse_gguf(bytes, "test.gguf");
  if (index.ok()) return "";
  EXPECT_EQ(index.error().kind, ErrorKind::model);
  EXPECT_EQ(index.error().message.rfind("test.gguf: ", 0), 0u) << index.error().message;
  return index.error().message;
}

void expect_accepted(const Bytes& bytes) {
  EXPECT_EQ(refusal(bytes), "");
}

void expect_refused(const Bytes& bytes, std::string_view part) {
  const std::string message = refusal(bytes);
  EXPECT_NE(message.find(part), std::string::npos)
      << "expected a refusal with: " << part
      << "\nfound: " << (message.empty() ? "accepted" : message);
}

// The valid file after `change`.
Bytes changed(const std::function<void(raw::File&)>& change) {
  raw::File file = raw::valid_file();
  change(file);
  return file.bytes();
}

Bytes with_pair(const Bytes& pair) {
  return changed([&](raw::File& file) { file.pairs.push_back(pair); });
}

TEST(Parse, ReadsAValidFile) {
  const Bytes bytes = raw::valid_file().bytes();
  expect_accepted(bytes);
  const Result<GgufIndex> index = parse_gguf(bytes, "test.gguf");
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(index->version, 3u);
  EXPECT_EQ(index->alignment, 32u);
  EXPECT_EQ(index->header_bytes, raw::valid_file().header().size());
  EXPECT_EQ(index->data_begin % 32, 0u);
  EXPECT_EQ(index->data_begin + 64 + 136, bytes.size());
  ASSERT_EQ(index->tensors.size(), 2u);
  EXPECT_EQ(index->tensors[0].name, "first.weight");
  EXPECT_EQ(index->tensors[0].dims, (TensorDims{5, 3}));
  EXPECT_EQ(index->tensors[0].size_bytes, 60u);
  EXPECT_EQ(index->tensors[1].type, QuantType::Q8_0);
  EXPECT_EQ(index->tensors[1].data_offset, 64u);
  EXPECT_EQ(index->tensors[1].size_bytes, 136u);
  const GgufMetadata& metadata = index->metadata;
  EXPECT_EQ(*metadata.require_string("general.architecture"), "llama");
  EXPECT_EQ(*metadata.require_uint("llama.block_count", 1, 512), 2u);
  EXPECT_EQ(*metadata.require_float("llama.rope.freq_base", 1.0f, 1e9f), 10000.0f);
  EXPECT_EQ(*metadata.require_bool("flag"), true);
  EXPECT_EQ(*metadata.require_strings("tokenizer.ggml.tokens"),
            (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(*metadata.require_floats("tokenizer.ggml.scores"), (std::vector<float>{0, 1, 2}));
  EXPECT_EQ(metadata.entries().front().key, "general.architecture");
}

TEST(Parse, Version2HasTheSameLayout) {
  expect_accepted(changed([](raw::File& file) { file.version = 2; }));
}

TEST(Parse, MetadataOnlyAndPaddingAtTheEnd) {
  raw::File file = raw::valid_file();
  file.tensors.clear();
  file.data_bytes = 0;
  expect_accepted(file.bytes());
  Bytes padded = raw::valid_file().bytes();
  padded.resize((padded.size() + 31) / 32 * 32);
  expect_accepted(padded);
  padded.push_back(std::byte{0});
  expect_refused(padded, "expected the file to end at");
}

TEST(Parse, F1_TruncatedAnywhere) {
  const Bytes whole = raw::valid_file().bytes();
  for (size_t n_bytes = 0; n_bytes < whole.size(); ++n_bytes) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n_bytes));
    ASSERT_NE(refusal(cut), "") << "cut to " << n_bytes << " of " << whole.size();
  }
  // 200 places in the data of a larger file.
  raw::File large = raw::valid_file();
  large.tensors.push_back({"third", {1000, 10}, 0, 224, {}, {}});
  large.data_bytes = 224 + 40000;
  const Bytes bytes = large.bytes();
  expect_accepted(bytes);
  for (size_t i = 0; i < 200; ++i) {
    const size_t n_bytes = bytes.size() - 1 - i * 201;
    expect_refused(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n_bytes)),
                   "tensor ");
  }
}

TEST(Parse, F2_MagicAndVersion) {
  expect_refused({}, "magic");
  for (const char* magic : {"FUGG", "GGUg", "GGML", "\0\0\0\0", "PK\3\4"}) {
    expect_refused(changed([&](raw::File& file) { file.magic = std::string(magic, 4); }),
                   "magic number");
  }
  for (uint32_t version : {0u, 1u, 4u, 0x80000000u, 0xffffffffu}) {
    expect_refused(changed([&](raw::File& file) { file.version = version; }),
                   "version: expected 2 or 3, found " + std::to_string(version));
  }
  expect_refused(changed([](raw::File& file) { file.version = 0x03000000; }), "big-endian 3");
}

TEST(Parse, F3_Counts) {
  for (uint64_t count : {UINT64_MAX, uint64_t{1} << 31, uint64_t{1} << 32, (uint64_t{1} << 61) / 56,
                         uint64_t{INT64_MAX}, uint64_t{1000}}) {
    expect_refused(changed([&](raw::File& file) { file.n_tensors = count; }),
                   "n_tensors: expected at most");
    expect_refused(changed([&](raw::File& file) { file.n_kv = count; }), "n_kv: expected at most");
  }
  // Fewer or more by one: the tables no longer line up.
  for (uint64_t count : {uint64_t{1}, uint64_t{3}}) {
    EXPECT_NE(refusal(changed([&](raw::File& file) { file.n_tensors = count; })), "");
  }
  for (uint64_t count : {uint64_t{0}, uint64_t{5}, uint64_t{7}}) {
    EXPECT_NE(refusal(changed([&](raw::File& file) { file.n_kv = count; })), "");
  }
}

TEST(Parse, F4_LengthsOfKeysAndStrings) {
  const raw::File file = raw::valid_file();
  const Bytes bytes = file.bytes();
  const uint64_t left = bytes.size() - 32;  // after the first key's length
  for (uint64_t length : {uint64_t{0}, uint64_t{65536}, uint64_t{1} << 31, uint64_t{1} << 63,
                          UINT64_MAX, left + 1, left}) {
    Bytes with_key = bytes;
    std::memcpy(with_key.data() + 24, &length, sizeof length);
    ASSERT_NE(refusal(with_key), "") << "key of " << length;
    if (length == 0) continue;  // an empty string is a string
    Bytes with_string = bytes;
    // magic .. n_kv 24, key length 8, "general.architecture" 20, type 4
    std::memcpy(with_string.data() + 24 + 8 + 20 + 4, &length, sizeof length);
    ASSERT_NE(refusal(with_string), "") << "string of " << length;
  }
  expect_refused(with_pair(raw::pair<uint8_t>("", raw::U8, 1)), "length of a key");
  expect_refused(with_pair(raw::pair<uint8_t>(std::string(65536, 'k'), raw::U8, 1)),
                 "length of a key");
  expect_accepted(with_pair(raw::pair<uint8_t>(std::string(65535, 'k'), raw::U8, 1)));
  expect_accepted(with_pair(raw::string_pair("empty", "")));
}

TEST(Parse, F4_OddTextIsKeptAndEscapedInErrors) {
  for (const std::string& key : {std::string("nul\0key", 7), std::string("\x1b[31mred"),
                                 std::string("\xff\xfe"), std::string("two\nlines"),
                                 std::string("\xe2\x80\xae"
                                             "ltr")}) {
    const Bytes bytes = with_pair(raw::pair<uint8_t>(key, raw::U8, 1));
    expect_accepted(bytes);
    const Result<GgufIndex> index = parse_gguf(bytes, "test.gguf");
    ASSERT_TRUE(index.ok());
    const Result<std::string_view> text = index->metadata.require_string(key);
    ASSERT_FALSE(text.ok());
    for (char c : text.error().message) {
      EXPECT_TRUE(c >= 0x20 && c < 0x7f) << text.error().message;
    }
    // The same in a tensor's name.
    const std::string message = refusal(changed([&](raw::File& file) {
      file.tensors[0].name = key;
      file.tensors[0].type = 77;
    }));
    EXPECT_NE(message.find("type id 77"), std::string::npos);
    for (char c : message) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << message;
  }
}

TEST(Parse, F5_Arrays) {
  const Bytes four(4, std::byte{1});
  // Counts that wrap when multiplied by the element size, or promise more than the file has.
  for (uint32_t type :
       {raw::U8, raw::I16, raw::U32, raw::F32, raw::STRING, raw::U64, raw::F64, raw::BOOL}) {
    for (uint64_t count : {UINT64_MAX, (uint64_t{1} << 63), (uint64_t{1} << 62),
                           (uint64_t{1} << 61) + 1, uint64_t{1} << 32, uint64_t{100000}}) {
      expect_refused(with_pair(raw::array_pair("k", type, count, four)), "expected at most");
    }
  }
  expect_refused(with_pair(raw::array_pair("k", 13, 1, four)), "element type");
  expect_refused(with_pair(raw::array_pair("k", 0xffffffff, 1, four)), "element type");
  expect_refused(with_pair(raw::pair<uint8_t>("k", 13, 1)), "value type");
  // Nested once, twice and a thousand deep.
  for (int depth : {1, 2, 1000}) {
    Bytes nested;
    for (int i = 0; i < depth; ++i) {
      raw::put<uint32_t>(nested, i + 1 < depth ? raw::ARRAY : raw::U8);
      raw::put<uint64_t>(nested, 1);
    }
    nested.push_back(std::byte{7});
    expect_refused(with_pair(raw::array_pair("k", raw::ARRAY, 1, nested)), "array of arrays");
  }
  expect_refused(with_pair(raw::pair<uint8_t>("k", raw::BOOL, 2)), "expected 0 or 1, found 2");
  expect_refused(
      with_pair(raw::array_pair("k", raw::BOOL, 3, {std::byte{0}, std::byte{1}, std::byte{255}})),
      "expected 0 or 1, found 255");
  expect_accepted(with_pair(raw::array_pair("k", raw::U32, 0, {})));
  // A string inside an array that runs out of the file.
  Bytes long_string;
  raw::put<uint64_t>(long_string, UINT64_MAX - 3);
  expect_refused(with_pair(raw::array_pair("k", raw::STRING, 1, long_string)), "string 0 of 1");
}

TEST(Parse, F6_DuplicateAndOddNames) {
  expect_refused(with_pair(raw::pair<uint32_t>("llama.block_count", raw::U32, 2)),
                 "key llama.block_count: expected once, found twice");
  expect_refused(changed([](raw::File& file) { file.tensors[1].name = "first.weight"; }),
                 "tensor first.weight: expected once, found twice");
  expect_refused(changed([](raw::File& file) { file.tensors[1].name = ""; }),
                 "length of a tensor's name");
  expect_accepted(changed([](raw::File& file) { file.tensors[1].name = std::string(64, 'n'); }));
  expect_refused(changed([](raw::File& file) { file.tensors[1].name = std::string(65, 'n'); }),
                 "length of a tensor's name");
  expect_refused(changed([](raw::File& file) { file.tensors[1].name_length = UINT64_MAX; }),
                 "length of a tensor's name");
}

TEST(Parse, F8_Alignment) {
  const auto aligned = [](uint64_t alignment) {
    return changed([&](raw::File& file) {
      file.pairs.push_back(
          raw::pair<uint32_t>("general.alignment", raw::U32, static_cast<uint32_t>(alignment)));
      file.alignment = alignment;
      file.tensors[1].offset = (60 + alignment - 1) / alignment * alignment;
      file.data_bytes = file.tensors[1].offset + 136;
    });
  };
  for (uint64_t good : {8, 16, 32, 64, 4096, 65536}) expect_accepted(aligned(good));
  for (uint32_t bad : {0u, 1u, 3u, 4u, 24u, 33u, 65537u, 131072u, 0x80000000u, 0xffffffffu}) {
    expect_refused(with_pair(raw::pair<uint32_t>("general.alignment", raw::U32, bad)),
                   "general.alignment");
  }
  // Other types, 2^63 among them.
  expect_refused(with_pair(raw::pair<uint64_t>("general.alignment", raw::U64, uint64_t{1} << 63)),
                 "general.alignment: expected u32, found u64");
  expect_refused(with_pair(raw::pair<int32_t>("general.alignment", raw::I32, 32)),
                 "expected u32, found i32");
  expect_refused(with_pair(raw::string_pair("general.alignment", "32")),
                 "expected u32, found string");
  expect_refused(
      with_pair(raw::array_pair("general.alignment", raw::U32, 1, Bytes(4, std::byte{0}))),
      "expected u32, found array of u32");
}

TEST(Parse, F9_Dims) {
  for (uint32_t n_dims : {0u, 5u, 0x80000000u, 0xffffffffu}) {
    expect_refused(changed([&](raw::File& file) { file.tensors[0].n_dims = n_dims; }),
                   "n_dims: expected 1..4");
  }
  constexpr uint64_t kNegative = UINT64_MAX;
  constexpr uint64_t kHalf = uint64_t{1} << 32;
  const std::vector<std::vector<uint64_t>> hostile = {
      {0},
      {5, 0},
      {5, 3, 0},
      {0, 0, 0, 0},
      {kNegative},
      {5, kNegative},
      {uint64_t{1} << 63},
      // Products that wrap at the second, third and fourth factor, to 0 and to something small.
      {kHalf, kHalf},
      {4, kHalf, kHalf},
      {4, 4, kHalf, kHalf},
      {kHalf, kHalf, kHalf, kHalf},
      {uint64_t{1} << 62, 2},
      {uint64_t{1} << 62, 4},
      {2, uint64_t{1} << 62, 2},
      {(uint64_t{1} << 33) + 1, (uint64_t{1} << 31) + 1, 2},
      // Figures of published overflow reports.
      {(uint64_t{1} << 42) + 1, uint64_t{1} << 22},
      {UINT64_MAX / 4},
      {UINT64_MAX / 4, 4},
      {UINT64_MAX - 3},
      {(UINT64_MAX - 3) / 4},
      {uint64_t{INT64_MAX}},
      {uint64_t{INT64_MAX} / 2, 3}};
  for (const std::vector<uint64_t>& dims : hostile) {
    expect_refused(changed([&](raw::File& file) { file.tensors[0].dims = dims; }),
                   "tensor first.weight");
  }
  // Fewer than 2^63 elements whose bytes pass 2^64.
  expect_refused(changed([](raw::File& file) { file.tensors[0].dims = {uint64_t{1} << 62}; }),
                 "overflow a size");
  // 2^63 elements, whose bytes would still fit 64 bits.
  expect_refused(changed([](raw::File& file) {
                   file.tensors[0].type = 2;
                   file.tensors[0].dims = {uint64_t{1} << 63};
                 }),
                 "fewer than 2^63 elements");
  // Elements and bytes fit, the file does not hold them.
  for (uint64_t size : {uint64_t{1} << 62, uint64_t{1} << 42, uint64_t{1} << 20}) {
    expect_refused(changed([&](raw::File& file) {
                     file.tensors[1].dims = {32, size / 64};
                   }),
                   "tensor second.weight: expected to end within");
  }
}

TEST(Parse, F9_PaddingAndSumsThatWrap) {
  // Sizes that end just below 2^64 make the padded end, or the running sum, wrap to something
  // small.
  for (uint64_t elems : {(UINT64_MAX - 3) / 4, (UINT64_MAX - 31) / 4, (UINT64_MAX - 63) / 4}) {
    raw::File file = raw::valid_file();
    file.tensors[0].dims = {elems};
    file.tensors[1].offset = 0;
    EXPECT_NE(refusal(file.bytes()), "");
  }
  // Thousands of tensors, each plausible, together past 2^64.
  raw::File many = raw::valid_file();
  many.tensors.clear();
  uint64_t offset = 0;
  for (int i = 0; i < 40; ++i) {
    many.tensors.push_back({"t" + std::to_string(i), {uint64_t{1} << 57}, 0, offset, {}, {}});
    offset += uint64_t{1} << 59;
  }
  expect_refused(many.bytes(), "tensor t0: expected to end within");
}

TEST(Parse, F10_Types) {
  for (uint32_t type :
       {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 100u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    expect_refused(changed([&](raw::File& file) { file.tensors[1].type = type; }),
                   "tensor second.weight: expected a type that floe reads, found type id " +
                       std::to_string(type));
  }
  expect_refused(changed([](raw::File& file) { file.tensors[1].type = 21; }), "type id 21 (IQ3_S)");
  for (uint64_t n_cols : {1, 31, 33, 63}) {
    expect_refused(changed([&](raw::File& file) { file.tensors[1].dims[0] = n_cols; }),
                   "expected a multiple of 32");
  }
  // Whole blocks in all, but a row ends inside one.
  expect_refused(changed([](raw::File& file) {
                   file.tensors[1].dims = {16, 8};
                 }),
                 "expected a multiple of 32, found 16");
  expect_refused(changed([](raw::File& file) { file.tensors[1].type = 12; }),
                 "expected a multiple of 256");
}

TEST(Parse, F11_Offsets) {
  struct Case {
    const char* what;
    std::function<void(raw::File&)> change;
  };
  const Case cases[] = {
      {"misaligned", [](raw::File& f) { f.tensors[1].offset = 65; }},
      {"misaligned but right behind the data", [](raw::File& f) { f.tensors[1].offset = 60; }},
      {"past the end", [](raw::File& f) { f.tensors[1].offset = 1 << 20; }},
      {"far past the end", [](raw::File& f) { f.tensors[1].offset = UINT64_MAX - 31; }},
      {"end past the end by 1 byte", [](raw::File& f) { f.data_bytes -= 1; }},
      {"overlapping by 1 byte",
       [](raw::File& f) {
         f.tensors[0].dims = {13, 5};
       }},
      {"two identical ranges",
       [](raw::File& f) {
         f.tensors[1] = f.tensors[0];
         f.tensors[1].name = "x";
       }},
      {"decreasing", [](raw::File& f) { std::swap(f.tensors[0], f.tensors[1]); }},
      {"first not at 0",
       [](raw::File& f) {
         f.tensors[0].offset = 32;
         f.tensors[1].offset = 96;
         f.data_bytes += 32;
       }},
      {"a gap",
       [](raw::File& f) {
         f.tensors[1].offset = 96;
         f.data_bytes += 32;
       }},
      {"a gap of 1 GiB", [](raw::File& f) { f.tensors[1].offset += uint64_t{1} << 30; }},
      {"bytes behind the last tensor", [](raw::File& f) { f.data_bytes += 64; }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    EXPECT_NE(refusal(changed(c.change)), "");
  }
  expect_refused(changed([](raw::File& f) { f.data_bytes -= 1; }), "tensor second.weight");
  expect_refused(changed([](raw::File& f) { f.tensors[1].offset = 96; }),
                 "offset: expected 64, found 96");
  // The exact figures: one byte fewer than needed is refused, none fewer accepted.
  expect_accepted(raw::valid_file().bytes());
}

// Counts at which a parser that compares every entry with all earlier ones would take minutes.
TEST(Parse, F20_LegitimateGiants) {
  raw::File file = raw::valid_file();
  file.pairs.push_back(raw::pair<uint32_t>("llama.context_length", raw::U32, 1 << 20));
  Bytes texts;
  for (int i = 0; i < 1 << 20; ++i) raw::put_string(texts, "token " + std::to_string(i));
  file.pairs.push_back(raw::array_pair("giant.strings", raw::STRING, 1 << 20, texts));
  file.tensors.clear();
  uint64_t offset = 0;
  for (int i = 0; i < 100000; ++i) {
    file.tensors.push_back({"blk." + std::to_string(i) + ".weight", {8}, 0, offset, {}, {}});
    offset += 32;
  }
  file.data_bytes = offset;
  const Bytes bytes = file.bytes();
  EXPECT_EQ(check_gguf_properties(bytes), "");
  const Result<GgufIndex> index = parse_gguf(bytes, "test.gguf");
  EXPECT_EQ(index->metadata.require_strings("giant.strings")->at(77), "token 77");
  EXPECT_EQ(index->tensors.size(), 100000u);
}

TEST(Parse, F20_ManyKeysWithLongSharedPrefixes) {
  raw::File file = raw::valid_file();
  constexpr int kKeys = 50000;
  for (int i = 0; i < kKeys; ++i) {
    file.pairs.push_back(raw::pair<uint8_t>(std::string(500, 'k') + std::to_string(i), raw::U8, 1));
  }
  const Bytes bytes = file.bytes();
  const Result<GgufIndex> index = parse_gguf(bytes, "test.gguf");
  ASSERT_TRUE(index.ok()) << index.error().message;
  EXPECT_TRUE(
      index->metadata.require_uint(std::string(500, 'k') + std::to_string(kKeys - 1), 1, 1).ok());
}

// The densest tables possible, and counts that promise just what the bytes could hold: the property
// check counts the bytes allocated.
TEST(Parse, TablesAreAllocatedForWhatIsThere) {
  raw::File pairs;
  for (int i = 0; i < 50000; ++i) {
    const std::string key = {static_cast<char>(i & 255), static_cast<char>(i >> 8)};
    pairs.pairs.push_back(raw::pair<uint8_t>(key, raw::U8, 1));
  }
  expect_accepted(pairs.bytes());
  raw::File promise;
  promise.n_kv = 50000;
  promise.pairs.push_back(raw::Bytes(50000 * 14, std::byte{0xff}));
  expect_refused(promise.bytes(), "length of a key");
  promise.n_kv = 0;
  promise.n_tensors = 20000;
  expect_refused(promise.bytes(), "length of a tensor's name");
}

TEST(Parse, APrefixIsEnoughWhenItHoldsTheHeader) {
  const Bytes bytes = raw::valid_file().bytes();
  const size_t n_header = raw::valid_file().header().size();
  EXPECT_TRUE(parse_gguf_prefix({bytes.data(), n_header}, bytes.size(), "p").ok());
  EXPECT_FALSE(parse_gguf_prefix({bytes.data(), n_header - 1}, bytes.size(), "p").ok());
  EXPECT_FALSE(parse_gguf_prefix({bytes.data(), n_header}, bytes.size() - 1, "p").ok());
}

TEST(CheckedReader, NeverLeavesTheBytes) {
  const Bytes bytes(10, std::byte{0xff});
  ByteReader reader(bytes);
  uint64_t wide = 0;
  uint32_t narrow = 0;
  std::string_view text;
  EXPECT_TRUE(reader.read(wide));
  EXPECT_FALSE(reader.read(narrow));
  EXPECT_EQ(reader.offset(), 8u);
  EXPECT_FALSE(reader.skip(3));
  EXPECT_FALSE(reader.skip(UINT64_MAX));
  EXPECT_FALSE(reader.read_text(UINT64_MAX - 7, text));
  EXPECT_TRUE(reader.can_hold(2, 1));
  EXPECT_FALSE(reader.can_hold(2, 2));
  EXPECT_FALSE(reader.can_hold(UINT64_MAX, UINT64_MAX));
  EXPECT_TRUE(reader.read_text(2, text));
  EXPECT_TRUE(reader.can_hold(0, 8));
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(CheckedInt, OverflowIsAFalseNotASmallNumber) {
  uint64_t result = 0;
  EXPECT_TRUE(checked_add(UINT64_MAX - 1, 1, result));
  EXPECT_FALSE(checked_add(UINT64_MAX, 1, result));
  EXPECT_FALSE(checked_mul(uint64_t{1} << 32, uint64_t{1} << 32, result));
  EXPECT_EQ(checked_align_up(33, 32), 64u);
  EXPECT_EQ(checked_align_up(UINT64_MAX - 31, 32), UINT64_MAX - 31);
  EXPECT_EQ(checked_align_up(UINT64_MAX - 3, 32), std::nullopt);
  EXPECT_FALSE(is_power_of_two(0));
  EXPECT_TRUE(is_power_of_two(uint64_t{1} << 63));
  EXPECT_FALSE(is_power_of_two(24));
}

}  // namespace
}  // namespace floe
