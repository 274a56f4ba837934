#include "lab/serve_bench.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "fuzz/event_stream_properties.h"
#include "lab/event_stream.h"

namespace floe {
namespace {

TEST(ServerUrl, Parse) {
  struct Row {
    const char* url;
    const char* host;  // null: refused
    const char* port = "";
    const char* path = "";
  };
  constexpr Row kRows[] = {
      {"http://127.0.0.1:8080", "127.0.0.1", "8080", ""},
      {"http://localhost", "localhost", "80", ""},
      {"http://localhost/", "localhost", "80", ""},
      {"http://localhost:1/v1", "localhost", "1", ""},
      {"http://localhost:1/v1/", "localhost", "1", ""},
      {"http://host/llm/v1", "host", "80", "/llm"},
      {"http://[::1]:9000/v1", "::1", "9000", ""},
      {"http://[::1]", "::1", "80", ""},
      {"https://host", nullptr},
      {"host:8080", nullptr},
      {"http://", nullptr},
      {"http://:80", nullptr},
      {"http://host:", nullptr},
      {"http://host:80a", nullptr},
      {"http://host:123456", nullptr},
      {"http://user@host", nullptr},
      {"http://host/a?b", nullptr},
      {"http://ho st", nullptr},
      {"http://host\r\nX: y", nullptr},
      {"http://[::1", nullptr},
  };
  for (const Row& row : kRows) {
    const Result<ServerUrl> url = ServerUrl::parse(row.url);
    ASSERT_EQ(url.ok(), row.host != nullptr) << row.url;
    if (!url.ok()) {
      EXPECT_EQ(url.error().kind, ErrorKind::usage);
      continue;
    }
    EXPECT_EQ(url->host, row.host) << row.url;
    EXPECT_EQ(url->port, row.port) << row.url;
    EXPECT_EQ(url->path, row.path) << row.url;
  }
}

TEST(Quantile, NearestRank) {
  const std::vector<double> ten = {10, 9, 8, 7, 6, 5, 4, 3, 2, 1};
  EXPECT_EQ(quantile({}, 0.5), 0);
  EXPECT_EQ(quantile({3}, 0.0), 3);
  EXPECT_EQ(quantile({3}, 1.0), 3);
  EXPECT_EQ(quantile(ten, 0.0), 1);
  EXPECT_EQ(quantile(ten, 0.1), 1);
  EXPECT_EQ(quantile(ten, 0.5), 5);
  EXPECT_EQ(quantile(ten, 0.9), 9);
  EXPECT_EQ(quantile(ten, 0.99), 10);
  EXPECT_EQ(quantile(ten, 1.0), 10);
}

TEST(EventStream, DataOfEvents) {
  struct Row {
    const char* text;
    std::vector<std::string> events;
  };
  const Row rows[] = {
      {"data: a\n\n", {"a"}},
      {"data:a\n\ndata:  b\n\n", {"a", " b"}},
      {"data: a\r\ndata: b\r\n\r\n", {"a\nb"}},
      {"data: a\rdata: b\r\r", {"a\nb"}},
      {": comment\n\ndata\n\n", {""}},
      {"event: x\nid: 7\ndata: a\nretry: 3\n\n", {"a"}},
      {"database: a\n\n", {}},
      {"data: a\n", {}},
      {"\n\n\n", {}},
  };
  for (const Row& row : rows) {
    const std::string text = row.text;
    for (size_t piece = 1; piece <= text.size(); ++piece) {
      std::vector<std::string> events;
      EventStream stream;
      for (size_t at = 0; at < text.size(); at += piece) {
        EXPECT_TRUE(stream.push(std::string_view(text).substr(at, piece),
                                [&](std::string_view data) { events.emplace_back(data); }));
      }
      EXPECT_EQ(events, row.events) << text << piece;
    }
  }
  EventStream bounded(8);
  EXPECT_FALSE(bounded.push("data: 0123456789", [](std::string_view) {}));
  EXPECT_FALSE(bounded.push("\n\n", [](std::string_view) { FAIL(); }));
}

TEST(EventStream, AnyPieces) {
  const std::string text =
      "\x03: c\r\ndata: x\r\n\r\ndata:y\rdata: \n\n\r\r" + std::string(90, 'd') + "\n\n";
  for (size_t begin = 0; begin < text.size(); ++begin) {
    check_event_stream(reinterpret_cast<const uint8_t*>(text.data()) + begin, text.size() - begin);
  }
}

TEST(ServeBench, Tables) {
  ServeBenchReport report;
  report.url = "h:1";
  report.model = "m";
  report.max_tokens = 4;
  for (const uint32_t n : {1u, 2u}) {
    ServeBenchRow row;
    row.n_at_once = n;
    row.seconds = 2.0 / n;
    ServedRequest good;
    good.n_tokens = 10;
    good.first_seconds = 0.1 * n;
    good.gap_seconds = {0.01, 0.02, 0.03};
    row.requests = {good, good};
    report.rows.push_back(row);
  }
  report.rows[1].requests[1].error = "status 503: busy";
  report.rows[1].requests[1].first_seconds = 9;
  const std::string text = format_serve_bench(report, "md");
  EXPECT_NE(
      text.find("|       2 |        2 |      1 |     20 |   20.0 |  2.00 |                200 "
                "|    200 |       20.0 |   30.0 |"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("\n1 failed: status 503: busy\n"), std::string::npos);
  const Result<Json> json = parse_json(format_serve_bench(report, "json"));
  ASSERT_TRUE(json.ok());
  EXPECT_EQ((*json)["rows"][0]["tokens_per_second"], 10.0);
  EXPECT_EQ((*json)["rows"][1]["samples"][1]["error"], "status 503: busy");
}

}  // namespace
}  // namespace floe
