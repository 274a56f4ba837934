#pragma once
// The real server, service and engine on the fake model, and a client that sends raw bytes.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "server/http.h"
#include "server/routes.h"
#include "server/serve.h"
#include "sim/fake_model.h"

namespace floe::testing {

struct Response {
  int status = 0;  // 0: the connection ended without an answer
  std::vector<HttpField> fields;
  std::string body;  // without transfer coding
  bool complete = false;

  std::string field(std::string_view lower_name) const;
  Json json() const;  // discarded value when the body is none
};

// One connection. Every wait has a limit, so that a test fails instead of hanging.
class RawClient {
 public:
  explicit RawClient(uint16_t port, int receive_buffer_bytes = 0);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return descriptor_ >= 0; }
  bool send(std::string_view bytes);
  Response read_response(bool head_only = false);
  // Reads until `text` has come, or the end.
  bool read_until(std::string_view text);
  // True when the peer closes within the limit; what came before is kept in buffer().
  bool wait_closed(std::chrono::milliseconds limit = std::chrono::seconds(5));
  void half_close();
  void close();
  void reset();  // closes with RST
  const std::string& buffer() const { return buffer_; }

 private:
  bool fill(std::chrono::steady_clock::time_point deadline);
  int descriptor_ = -1;
  std::string buffer_;
};

struct TestServerOptions {
  ServeOptions serve;
  EngineOptions engine;
  FakeModelOptions model;
  bool load = true;  // false: stays "Loading model"
  bool chat = true;  // false: a vocabulary without chat markers
  double stall_seconds = 60.0;
  std::string name = "fake";

  TestServerOptions();
};

// The tokenizer of the fake model: one token per byte, then the ChatML markers.
std::unique_ptr<const Tokenizer> make_byte_tokenizer(bool chat);

class TestServer {
 public:
  explicit TestServer(TestServerOptions options = {});
  ~TestServer();  // checks that nothing leaked

  uint16_t port() const { return server_->port(); }
  Service& service() { return *service_; }
  HttpServer& server() { return *server_; }
  EngineThread& engine() { return *service_->engine(); }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  FakeModel& model() { return *model_; }
  void load();

  // One request on a connection of its own.
  Response request(const std::string& bytes, bool head_only = false) const;
  Response get(const std::string& path) const;
  Response post(const std::string& path, const Json& body) const;

  // Waits until no request and no KV block is in use.
  bool wait_idle(std::chrono::milliseconds limit = std::chrono::seconds(10)) const;

  // What the fake model answers greedily, in closed form: the text after these ids.
  std::string expected_text(const std::vector<int32_t>& prompt, uint32_t max_tokens) const;

 private:
  TestServerOptions options_;
  SteadyClock clock_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

// The data of every event of a stream; comments are left out.
std::vector<std::string> sse_data(const std::string& body);

// Checks that a body is an OpenAI error object that tells nothing about our insides.
std::string error_object_fault(const Response& response);

}  // namespace floe::testing
