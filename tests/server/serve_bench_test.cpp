// The bench's client against the server, and against servers that misbehave.
#include "lab/serve_bench.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "server/test_server.h"

namespace floe::testing {
namespace {

ServeBenchOptions options_for(uint16_t port) {
  ServeBenchOptions options;
  options.url = {"127.0.0.1", std::to_string(port), ""};
  options.prompts = {"one", "two", "three"};
  options.n_at_once = {1, 3};
  options.n_requests = 5;
  options.max_tokens = 7;
  options.show_progress = false;
  return options;
}

TEST(ServeBench, CountsWhatTheServerAnswered) {
  TestServer server;
  for (const bool chat : {true, false}) {
    for (const bool same : {true, false}) {
      ServeBenchOptions options = options_for(server.port());
      options.chat = chat;
      options.same_prompt = same;
      const Result<ServeBenchReport> report = run_serve_bench(options);
      ASSERT_TRUE(report.ok()) << report.error().message;
      EXPECT_EQ(report->model, "fake");
      ASSERT_EQ(report->rows.size(), 2u);
      for (const ServeBenchRow& row : report->rows) {
        ASSERT_EQ(row.requests.size(), 5u);
        EXPECT_EQ(row.n_failed(), 0u) << row.requests[0].error;
        EXPECT_EQ(row.n_tokens(), 35u);
        EXPECT_GT(row.n_prompt_tokens(), 0u);
        EXPECT_GT(row.seconds, 0.0);
        EXPECT_GE(row.first_seconds(1.0), row.first_seconds(0.5));
      }
    }
  }
}

TEST(ServeBench, SaysWhatTheServerSaid) {
  TestServerOptions locked;
  locked.serve.api_keys = {"secret"};
  TestServer server(locked);
  ServeBenchOptions options = options_for(server.port());
  options.model = "fake";
  Result<ServeBenchReport> report = run_serve_bench(options);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("status 401: "), std::string::npos)
      << report.error().message;
  options.api_key = "secret";
  report = run_serve_bench(options);
  EXPECT_TRUE(report.ok());
}

// A server that reads a request, sends `answer` and closes.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 4), 0);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, answer = std::move(answer)] {
      const int peer = accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      std::string request;
      char bytes[4096];
      while (request.find("\r\n\r\n{") == std::string::npos) {
        const ssize_t n = recv(peer, bytes, sizeof bytes, 0);
        if (n <= 0) break;
        request.append(bytes, static_cast<size_t>(n));
      }
      send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
      close(peer);
    });
  }
  ~OneAnswer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  uint16_t port() const { return port_; }

 private:
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

TEST(ServeBench, ServersThatMisbehave) {
  struct Row {
    const char* answer;
    const char* message;  // part of it
  };
  constexpr Row kRows[] = {
      {"", "the connection ended within the answer"},
      {"nonsense\r\n\r\n", "no HTTP answer"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ndata: {}",
       "the connection ended within the answer"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ndata: {}\n\n",
       "the stream ended without [DONE]"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n", "an answer without text"},
      {"HTTP/1.1 200 OK\r\n\r\ndata: {\"error\":{\"message\":\"lost\"}}\n\ndata: [DONE]\n\n",
       "lost"},
      {"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad", "status 500: bad"},
  };
  for (const Row& row : kRows) {
    const OneAnswer server(row.answer);
    ServeBenchOptions options = options_for(server.port());
    options.model = "m";
    const Result<ServeBenchReport> report = run_serve_bench(options);
    ASSERT_FALSE(report.ok()) << row.message;
    EXPECT_NE(report.error().message.find(row.message), std::string::npos)
        << report.error().message;
  }
  ServeBenchOptions nobody = options_for(1);
  nobody.model = "m";
  EXPECT_NE(run_serve_bench(nobody).error().message.find("127.0.0.1:1: "), std::string::npos);
}

}  // namespace
}  // namespace floe::testing
