// Raw bytes against the running server.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "server/raw_cases.h"
#include "server/test_server.h"

namespace floe {
namespace {

using namespace floe::testing;
using std::chrono::milliseconds;

class RawCorpus : public ::testing::Test {
 protected:
  // Every case on a connection of its own, then once more behind a good request on one connection.
  void run(const std::vector<RawCase>& cases) {
    for (const RawCase& c : cases) {
      SCOPED_TRACE(c.name);
      check(c, false);
      // A TLS hello in mid-connection is answered: the peer has spoken HTTP before.
      if (c.status != 0) check(c, true);
    }
    n_cases_ += cases.size();
    EXPECT_EQ(server_.get("/health").status, 200);
  }

  void check(const RawCase& c, bool behind_another) {
    RawClient client(server_.port());
    ASSERT_TRUE(client.connected());
    if (behind_another) {
      client.send(get_request("/health"));
      ASSERT_EQ(client.read_response().status, 200);
    }
    client.send(c.bytes);
    if (c.status == 0) {
      EXPECT_TRUE(client.wait_closed());
      EXPECT_EQ(client.buffer(), "");
      return;
    }
    const bool head_only = c.bytes.starts_with("HEAD");
    const Response response = client.read_response(head_only);
    EXPECT_EQ(response.status, c.status) << response.body;
    if (response.status >= 400 && !head_only) {
      EXPECT_EQ(error_object_fault(response), "") << response.body;
    }
    EXPECT_NE(response.field("date"), "");
    if (response.status == 405) {
      EXPECT_NE(response.field("allow"), "");
    }
    if (response.status != 204) {
      EXPECT_EQ(response.field("x-content-type-options"), "nosniff");
    }
    if (c.closes) {
      if (!c.bytes.starts_with("HEAD") || response.status >= 400) {
        EXPECT_TRUE(response.field("connection") == "close" ||
                    response.field("content-length").empty() ||
                    c.bytes.find("HTTP/1.0") != std::string::npos);
      }
      EXPECT_TRUE(client.wait_closed());
      // Bytes after a broken frame are never taken for a request.
      if (!head_only) {
        EXPECT_EQ(client.buffer(), "");
      }
    } else {
      client.send(get_request("/health"));
      EXPECT_EQ(client.read_response().status, 200) << "the connection must go on";
    }
  }

  TestServer server_;
  size_t n_cases_ = 0;
};

TEST_F(RawCorpus, MalformedHttp) {
  run(malformed_http_cases());
}
TEST_F(RawCorpus, Limits) {
  run(limit_cases());
}
TEST_F(RawCorpus, Routing) {
  run(routing_cases());
}
TEST_F(RawCorpus, Json) {
  run(json_cases());
}
TEST_F(RawCorpus, Fields) {
  run(field_cases());
}
TEST_F(RawCorpus, Good) {
  run(good_cases());
}

TEST(RawCorpusSize, IsLargeEnough) {
  const size_t n_cases = malformed_http_cases().size() + limit_cases().size() +
                         routing_cases().size() + json_cases().size() + field_cases().size() +
                         good_cases().size();
  EXPECT_GE(n_cases, 300u);
}

// H3 over the socket: a few requests, one byte per packet.
TEST(Http, OneBytePerPacket) {
  TestServer server;
  for (const std::string& bytes :
       {get_request("/health"), post_request("/tokenize", "{\"content\":\"abc\"}"),
        post_request("/v1/completions", "{\"prompt\":\"hi\",\"max_tokens\":3}")}) {
    RawClient client(server.port());
    for (const char byte : bytes) {
      client.send(std::string(1, byte));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    EXPECT_EQ(client.read_response().status, 200);
  }
}

TEST(Http, PipelinedRequestsAreAnsweredInOrder) {
  TestServer server;
  RawClient client(server.port());
  std::string bytes;
  constexpr int kRequests = 300;
  for (int i = 0; i < kRequests; ++i) {
    bytes += i % 2 == 0 ? post_request("/tokenize",
                                       "{\"content\":\"" + std::string(1 + i % 5, 'a') + "\"}")
                        : get_request("/nothing");
  }
  std::thread sender([&] { client.send(bytes); });
  for (int i = 0; i < kRequests; ++i) {
    const Response response = client.read_response();
    ASSERT_EQ(response.status, i % 2 == 0 ? 200 : 404) << i;
    if (i % 2 == 0) {
      EXPECT_EQ(response.json()["count"], 1 + i % 5);
    }
  }
  sender.join();
}

TEST(Http, ManyRequestsOnOneConnection) {
  TestServer server;
  RawClient client(server.port());
  for (int i = 0; i < 2000; ++i) {
    client.send(get_request("/health"));
    ASSERT_EQ(client.read_response().status, 200) << i;
  }
  EXPECT_EQ(server.server().counters().n_accepted, 1u);
}

TEST(Http, ContinueIsSentBeforeTheBody) {
  TestServer server;
  RawClient client(server.port());
  const std::string body = "{\"content\":\"abc\"}";
  client.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Expect: 100-continue\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n");
  ASSERT_TRUE(client.read_until("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send(body);
  EXPECT_EQ(client.read_response().status, 200);
}

TEST(Http, RefusedExpectationGetsNoContinue) {
  TestServer server;
  RawClient client(server.port());
  client.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
      "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  const Response response = client.read_response();
  EXPECT_EQ(response.status, 415);
  EXPECT_TRUE(client.wait_closed());
}

TEST(Http, LargeBodyIsRead) {
  TestServer server;
  const std::string text(size_t{8} << 20, 'a');
  const Response response = server.post("/tokenize", {{"content", text}, {"x", 1}});
  EXPECT_EQ(response.status, 200);
  EXPECT_NE(response.body.find("\"count\":8388608"), std::string::npos);
}

TEST(Http, BufferedBodiesAreBoundedTogether) {
  TestServerOptions options;
  options.serve.http.buffered_bodies_bytes = 100'000;
  TestServer server(options);
  RawClient first(server.port());
  first.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 90000\r\n\r\n" +
      std::string(80'000, ' '));
  for (int i = 0; i < 500 && server.server().counters().body_bytes < 80'000; ++i) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  RawClient other(server.port());
  other.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: 50000\r\n\r\n" +
      std::string(49'000, ' '));
  const Response second = other.read_response();
  EXPECT_EQ(second.status, 503);
  EXPECT_EQ(second.field("retry-after"), "1");
  first.close();
  for (int i = 0; i < 500 && server.server().counters().body_bytes != 0; ++i) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(server.server().counters().body_bytes, 0u);
  EXPECT_EQ(server.post("/tokenize", {{"content", std::string(50'000, 'a')}}).status, 200);
}

TestServerOptions short_deadlines() {
  TestServerOptions options;
  options.serve.http.header_deadline = milliseconds(300);
  options.serve.http.body_grace = milliseconds(200);
  options.serve.http.body_deadline = milliseconds(900);
  options.serve.http.keep_alive_idle = milliseconds(300);
  options.serve.http.write_stall = milliseconds(400);
  return options;
}

TEST(HttpDeadlines, SlowHeadGets408) {
  TestServer server(short_deadlines());
  RawClient client(server.port());
  client.send("GET /health HT");
  const Response response = client.read_response();
  EXPECT_EQ(response.status, 408);
  EXPECT_EQ(error_object_fault(response), "");
  EXPECT_TRUE(client.wait_closed());
}

TEST(HttpDeadlines, DrippingHeadGets408) {
  TestServer server(short_deadlines());
  RawClient client(server.port());
  const auto began = std::chrono::steady_clock::now();
  while (client.send("G") && !client.wait_closed(milliseconds(50)) && client.buffer().empty()) {
    ASSERT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30)) << "hangs";
  }
  EXPECT_EQ(client.read_response().status, 408);
}

TEST(HttpDeadlines, SilentConnectionIsClosed) {
  TestServer server(short_deadlines());
  RawClient client(server.port());
  EXPECT_TRUE(client.wait_closed(milliseconds(10000)));
  EXPECT_EQ(client.buffer(), "");
}

TEST(HttpDeadlines, IdleKeepAliveIsClosed) {
  TestServer server(short_deadlines());
  RawClient client(server.port());
  client.send(get_request("/health"));
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_TRUE(client.wait_closed(milliseconds(10000)));
  EXPECT_EQ(client.buffer(), "");
}

TEST(HttpDeadlines, SlowBodyGets408) {
  TestServer server(short_deadlines());
  const std::string head =
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  {
    RawClient client(server.port());
    client.send(head + "Content-Length: 100\r\n\r\nab");
    EXPECT_EQ(client.read_response().status, 408);
  }
  // Fast enough, but never complete.
  RawClient client(server.port());
  client.send(head + "Content-Length: 10000000\r\n\r\n");
  const auto began = std::chrono::steady_clock::now();
  while (client.send(std::string(2000, ' ')) &&
         std::chrono::steady_clock::now() - began < milliseconds(800)) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_EQ(client.read_response().status, 408);
  EXPECT_GE(server.server().counters().n_timeouts, 2u);
}

TEST(HttpLimits, BeyondTheConnectionLimitOnlyVitalRequestsAreServed) {
  TestServerOptions options;
  options.serve.http.n_connections = 8;
  options.serve.http.n_reserved_connections = 2;
  TestServer server(options);
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 8; ++i) {
    idle.push_back(std::make_unique<RawClient>(server.port()));
    idle.back()->send("GET /he");
  }
  for (int i = 0; i < 500 && server.server().counters().n_open < 8; ++i) {
    std::this_thread::sleep_for(milliseconds(2));
  }
  EXPECT_EQ(server.get("/health").status, 200);
  EXPECT_EQ(server.get("/metrics").status, 200);
  const Response refused = server.get("/v1/models");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(error_object_fault(refused), "");
  // The reserve can be filled too, any number of times: the oldest there gives way.
  for (int i = 0; i < 40; ++i) {
    idle.push_back(std::make_unique<RawClient>(server.port()));
    if (i % 3 == 0) idle.back()->send("GET /metr");
    EXPECT_EQ(server.get(i % 2 == 0 ? "/health" : "/metrics").status, 200) << i;
  }
  EXPECT_LE(server.server().counters().n_open, 10u);
  EXPECT_GE(server.server().counters().n_refused, 30u);
  // And it comes back at once.
  idle.clear();
  for (int i = 0; i < 500 && server.server().counters().n_open > 0; ++i) {
    std::this_thread::sleep_for(milliseconds(2));
  }
  EXPECT_EQ(server.get("/v1/models").status, 200);
}

// H11: no descriptors left. The server must neither spin nor die.
TEST(HttpLimits, OutOfDescriptors) {
  TestServer server;
  EXPECT_EQ(server.get("/health").status, 200);
  rlimit old{};
  getrlimit(RLIMIT_NOFILE, &old);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(std::make_unique<RawClient>(server.port()));
  for (int i = 0; i < 500 && server.server().counters().n_open < 20; ++i) {
    std::this_thread::sleep_for(milliseconds(2));
  }
  const rlimit tight{80, old.rlim_max};
  setrlimit(RLIMIT_NOFILE, &tight);
  // Descriptors of clients and server come from one table here: until a client gets none.
  for (int i = 0; i < 60 && clients.back()->connected(); ++i) {
    clients.push_back(std::make_unique<RawClient>(server.port()));
  }
  // Room for one more client's descriptor. The server may take it for a connection that it had no
  // descriptor to accept with, and the client then has none: one more client leaves.
  Response full;
  for (int i = 0; i < 20 && full.status != 200; ++i) {
    clients.resize(clients.size() - 2);
    full = server.get("/health");
  }
  EXPECT_EQ(full.status, 200);
  EXPECT_GT(clients.size(), 10u);  // the table was not empty
  clients.clear();
  setrlimit(RLIMIT_NOFILE, &old);
  Response after;
  for (int i = 0; i < 50 && after.status != 200; ++i) {
    std::this_thread::sleep_for(milliseconds(20));
    after = server.get("/health");
  }
  EXPECT_EQ(after.status, 200);
}

}  // namespace
}  // namespace floe
