#include "lab/receipt.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace floe {
namespace {

Json row(const std::string& test, double ts, int n_threads = 2,
         const std::string& model = "m.gguf") {
  Json json;
  json["build_commit"] = "abc";
  json["cpu_info"] = "a \"quick\", small one";
  json["isa"] = "avx2";
  json["model_filename"] = model;
  json["model_size"] = 123;
  json["n_ubatch"] = 512;
  json["n_threads"] = n_threads;
  json["type_k"] = "f16";
  json["type_v"] = "f16";
  json["test_time"] = "2026-01-01T00:00:00Z";
  json["samples_ts"] = {ts, ts};
  json["test"] = test;
  json["median_ts"] = ts;
  json["r"] = nullptr;
  return json;
}

TEST(Receipt, EveryFormatReadsBackWhatItSays) {
  const std::vector<Json> rows = {row("pp512", 100.25), row("tg128 @ d4096", 20)};
  for (const char* format : {"json", "jsonl", "csv"}) {
    const auto read = parse_receipt(print_rows(rows, format), "f");
    ASSERT_TRUE(read.ok()) << format << ": " << read.error().message;
    ASSERT_EQ(read->size(), 2u) << format;
    EXPECT_EQ((*read)[0]["cpu_info"], rows[0]["cpu_info"]) << format;
    EXPECT_EQ((*read)[1]["test"], rows[1]["test"]) << format;
    EXPECT_EQ((*read)[0]["median_ts"].get<double>(), 100.25) << format;
    const std::string text = compare_receipts(rows, *read);
    EXPECT_NE(text.find("| pp512 | 100.25 | 100.25 | 1.000 |"), text.npos) << text;
    EXPECT_EQ(text.find("warning"), text.npos) << format << ": " << text;
  }
}

TEST(Receipt, ComparesTestsOfBothAndNamesWhatDiffers) {
  const std::vector<Json> now = {row("pp512", 150), row("tg128", 30), row("v8", 5)};
  const std::vector<Json> then = {row("pp512", 100, 1), row("tg128", 20, 1), row("v4", 7, 1)};
  const std::string text = compare_receipts(now, then);
  EXPECT_NE(text.find("| pp512 | 150.00 | 100.00 | 1.500 |"), text.npos) << text;
  EXPECT_NE(text.find("| tg128 | 30.00 | 20.00 | 1.500 |"), text.npos) << text;
  EXPECT_EQ(text.find("v8"), text.npos);
  EXPECT_EQ(text.find("v4"), text.npos);
  const std::string warning = "warning: threads differs: 2 here, 1 earlier\n";
  const size_t at = text.find(warning);
  ASSERT_NE(at, text.npos) << text;
  EXPECT_EQ(text.find("warning", at + 1), text.npos) << "one line per setting: " << text;
  EXPECT_EQ(compare_receipts({row("v8", 5)}, then), "no test in common with the earlier receipt\n");
}

TEST(Receipt, OfSeveralEarlierRowsTheLastOfTheNearestCounts) {
  const std::vector<Json> then = {row("pp512", 10), row("pp512", 20),
                                  row("pp512", 40, 2, "other.gguf")};
  const std::string text = compare_receipts({row("pp512", 30)}, then);
  EXPECT_NE(text.find("| 30.00 | 20.00 | 1.500 |"), text.npos) << text;
}

TEST(Receipt, WhatIsNoReceiptIsRefusedInOneLine) {
  for (const char* text : {"", "\n\n", "[]", "[1]", "[{\"test\":1}]", "{\"test\":\"pp1\"}", "{",
                           "[", "hello\nworld\n", "test,median_ts\npp1,fast\n"}) {
    const auto read = parse_receipt(text, "old.json");
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.error().kind, ErrorKind::usage);
    EXPECT_NE(read.error().message.find("old.json"), std::string::npos) << read.error().message;
    EXPECT_EQ(read.error().message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace floe
