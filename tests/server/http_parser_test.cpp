#include "server/http_parser.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/rng.h"
#include "fuzz/http_properties.h"
#include "repo_path.h"
#include "server/raw_cases.h"

namespace floe {
namespace {

using testing::get_request;
using testing::post_request;
using testing::RawCase;

std::string describe(const HttpReading& reading) {
  std::string out = fmt::format("{} {} {}:", reading.status, reading.reason, reading.n_consumed);
  for (const HttpRequest& r : reading.requests) {
    out += fmt::format(" [{} {} {} {} {} {} '{}'", r.method, r.target, r.path, r.query, r.http_1_0,
                       r.keep_alive, r.body);
    for (const HttpField& f : r.fields) out += fmt::format(" {}={}", f.name, f.value);
    out += "]";
  }
  return out;
}

TEST(HttpParser, ReadsEveryPartOfARequest) {
  const std::string bytes =
      "POST /a/b%20c?x=1&y=%2F HTTP/1.1\r\nHost:  localhost:8080 \r\nX-Mixed-Case: A\tb \r\n"
      "Connection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello";
  const HttpReading reading = read_http(bytes, {}, {});
  ASSERT_EQ(reading.requests.size(), 1u);
  const HttpRequest& r = reading.requests[0];
  EXPECT_EQ(r.method, "POST");
  EXPECT_EQ(r.target, "/a/b%20c?x=1&y=%2F");
  EXPECT_EQ(r.path, "/a/b c");
  EXPECT_EQ(r.query, "x=1&y=%2F");
  EXPECT_EQ(r.field("host"), "localhost:8080");
  EXPECT_EQ(r.field("x-mixed-case"), "A\tb");
  EXPECT_EQ(r.field("absent"), std::nullopt);
  EXPECT_EQ(r.body, "hello");
  EXPECT_TRUE(r.keep_alive);
}

// One row a path: an escaped slash stays what it is, everything else that may be escaped is
// decoded.
TEST(HttpParser, EscapesInPaths) {
  struct Case {
    const char* target;
    const char* path;
  };
  for (const Case& c :
       {Case{"/v1/models/qwen%2Fqwen3", "/v1/models/qwen%2Fqwen3"}, Case{"/a%2fb", "/a%2Fb"},
        Case{"/%2f%2F", "/%2F%2F"}, Case{"/a%252Fb", "/a%252Fb"}, Case{"/%61%20b", "/a b"},
        Case{"/..%2f", "/..%2F"}, Case{"/a/b", "/a/b"}}) {
    const HttpReading reading =
        read_http("GET " + std::string(c.target) + " HTTP/1.1\r\nHost: a\r\n\r\n", {}, {});
    ASSERT_EQ(reading.requests.size(), 1u) << c.target;
    EXPECT_EQ(reading.requests[0].path, c.path);
    EXPECT_EQ(reading.requests[0].target, c.target);
  }
}

TEST(HttpParser, KeepAliveFollowsVersionAndConnection) {
  const auto keep_alive = [](const std::string& version, const std::string& connection) {
    const std::string bytes = "GET / HTTP/" + version + "\r\nHost: a\r\n" +
                              (connection.empty() ? "" : "Connection: " + connection + "\r\n") +
                              "\r\n";
    return read_http(bytes, {}, {}).requests.at(0).keep_alive;
  };
  EXPECT_TRUE(keep_alive("1.1", ""));
  EXPECT_FALSE(keep_alive("1.1", "close"));
  EXPECT_FALSE(keep_alive("1.1", "foo, Close"));
  EXPECT_FALSE(keep_alive("1.1", "close, keep-alive"));
  EXPECT_FALSE(keep_alive("1.1", "keep-alive\r\nConnection: close"));
  EXPECT_FALSE(keep_alive("1.0", ""));
  EXPECT_FALSE(keep_alive("1.0", "keep-alive, close"));
  EXPECT_TRUE(keep_alive("1.0", "keep-alive"));
}

TEST(HttpParser, StatusOfEveryMalformedCase) {
  for (const RawCase& c : testing::malformed_http_cases()) {
    const HttpReading reading = read_http(c.bytes, {}, {});
    // Closed without an answer is a 400 that the connection does not send.
    EXPECT_EQ(reading.status, c.status == 0 ? 400 : c.status)
        << c.name << ": " << describe(reading);
    EXPECT_TRUE(reading.requests.empty()) << c.name;
  }
}

// H3: one cut at every byte, and one byte at a time.
TEST(HttpParser, CutsChangeNothing) {
  std::vector<std::string> inputs;
  for (const auto& cases : {testing::malformed_http_cases(), testing::good_cases()}) {
    for (const RawCase& c : cases) inputs.push_back(c.bytes);
  }
  inputs.push_back(get_request("/health") + post_request("/tokenize", "{}") +
                   get_request("/health") + "x");
  size_t n_readings = 0;
  for (const std::string& bytes : inputs) {
    if (bytes.size() > 2000) continue;
    const std::string whole = describe(read_http(bytes, {}, {}));
    std::vector<size_t> every;
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      every.push_back(cut);
      EXPECT_EQ(describe(read_http(bytes, {&cut, 1}, {})), whole);
      ++n_readings;
    }
    EXPECT_EQ(describe(read_http(bytes, every, {})), whole);
  }
  EXPECT_GT(n_readings, 5000u);
}

TEST(HttpParser, AgreesWithBeastGivenAllBytes) {
  Rng rng(7);
  for (const auto& cases :
       {testing::malformed_http_cases(), testing::good_cases(), testing::routing_cases()}) {
    for (const RawCase& c : cases) {
      EXPECT_EQ(check_http_properties(c.bytes, {}), "") << c.name;
      // A few damaged copies of each.
      for (int i = 0; i < 20 && !c.bytes.empty(); ++i) {
        std::string bytes = c.bytes.substr(0, 3000);
        const size_t at = rng.below(bytes.size());
        switch (rng.below(4)) {
          case 0:
            bytes[at] = static_cast<char>(rng.below(256));
            break;
          case 1:
            bytes.erase(at, 1 + rng.below(4));
            break;
          case 2:
            bytes.insert(at, 1, "\r\n\t :;0,"[rng.below(8)]);
            break;
          default:
            bytes.insert(at, bytes.substr(at, 8));
            break;
        }
        const size_t cut = rng.below(bytes.size());
        EXPECT_EQ(check_http_properties(bytes, {&cut, 1}), "") << c.name << "\n" << bytes;
      }
    }
  }
}

TEST(HttpParser, FuzzCorpusHolds) {
  size_t n_files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(repo_path("tests/fuzz/corpus/http"))) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(
        check_http_input({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()}), "")
        << entry.path();
    ++n_files;
  }
  EXPECT_GT(n_files, 20u);
}

TEST(HttpParser, LimitsCountWhatIsBuffered) {
  HttpLimits limits;
  limits.body_bytes = 10;
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\n";
  const auto status = [&](const std::string& rest) {
    const HttpReading reading = read_http(head + rest, {}, limits);
    return reading.status != 0 ? reading.status : reading.requests.empty() ? 1 : 200;
  };
  EXPECT_EQ(status("Content-Length: 10\r\n\r\n0123456789"), 200);
  EXPECT_EQ(status("Content-Length: 11\r\n\r\n"), 413);
  const std::string chunked = "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(status(chunked + "a\r\n0123456789\r\n0\r\n\r\n"), 200);
  EXPECT_EQ(status(chunked + "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"), 200);
  EXPECT_EQ(status(chunked + "b\r\n"), 413);
  EXPECT_EQ(status(chunked + "5\r\n01234\r\n6\r\n"), 413);
  // Refused at once, not when more has come.
  EXPECT_EQ(status(chunked + "5;a=\"b\r\n"), 400);
  EXPECT_EQ(status(chunked + "0;a=\"b\r\n\r\n"), 400);
  EXPECT_EQ(status(chunked + "5\r\n012345\r\n"), 400);
  EXPECT_EQ(status(chunked + "0\r\nConnection: close\r\n\r\n"), 400);
  EXPECT_EQ(status(chunked + "0\r\nContent-Length: 0\r\n\r\n"), 400);
}

TEST(HttpParser, RefusesTheBodyBeforeItIsRead) {
  HttpParser parser({});
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
  EXPECT_EQ(parser.push(head + "body"), head.size());
  EXPECT_EQ(parser.stage(), HttpParser::Stage::admit);
  EXPECT_EQ(parser.push("more"), 0u);
  parser.resume();
  EXPECT_EQ(parser.stage(), HttpParser::Stage::failed);
  EXPECT_EQ(parser.status(), 413);
}

}  // namespace
}  // namespace floe
