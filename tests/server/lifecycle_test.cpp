// Clients that leave, clients that stall, an engine that stalls, and the end of the server.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

#include "base/rng.h"
#include "server/raw_cases.h"
#include "server/test_server.h"

namespace floe {
namespace {

// Waits are told apart from hangs, not judged: how fast the machine of a test is says nothing about
// us.
constexpr double kHangMs = 5000;
constexpr std::chrono::milliseconds kHang{5000};
// Read by a sanitizer build in the time that others take for the whole.
constexpr size_t kLargePromptBytes = size_t{FLOE_SLOW_BUILD ? 1 : 24} << 20;

using namespace floe::testing;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

std::string completion(const std::string& prompt, int max_tokens, bool stream, int n = 1) {
  return post_request("/v1/completions", dump_json({{"prompt", prompt},
                                                    {"max_tokens", max_tokens},
                                                    {"stream", stream},
                                                    {"n", n},
                                                    {"ignore_eos", true}}));
}

// Where two texts part, or npos: a test that fails should not print both.
size_t first_difference(const std::string& a, const std::string& b) {
  const size_t n = std::min(a.size(), b.size());
  for (size_t i = 0; i < n; ++i) {
    if (a[i] != b[i]) return i;
  }
  return a.size() == b.size() ? std::string::npos : n;
}

// One step takes a millisecond: slow enough to leave in the middle.
TestServerOptions slow_model() {
  TestServerOptions options;
  options.model.after_forward = [](size_t) { std::this_thread::sleep_for(milliseconds(1)); };
  options.engine.max_sequences = 4;
  options.engine.max_waiting = 300;
  return options;
}

// C4, H10: a client leaves at every stage, by FIN or by RST, while an honest stream runs.
TEST(Disconnect, AtEveryStage) {
  TestServer server(slow_model());
  const std::string honest = completion("honest", 400, true);
  const Response alone = server.request(honest);
  ASSERT_TRUE(alone.complete);
  const auto data = [](const Response& r) {
    std::string all;
    for (const std::string& event : sse_data(r.body)) {
      if (event != "[DONE]") all += parse_json(event)->at("choices")[0]["text"].get<std::string>();
    }
    return all;
  };
  Response beside;
  std::thread stream([&] { beside = server.request(honest); });
  const std::string whole = completion(std::string(300, 'x'), 2000, false);
  const std::string streamed = completion("y", 2000, true);
  for (const bool reset : {false, true}) {
    const auto leave = [&](RawClient& client) { reset ? client.reset() : client.close(); };
    {
      RawClient client(server.port());  // accepted
      leave(client);
    }
    for (const size_t n :
         {size_t{3}, whole.size() / 3, whole.size() - 1}) {  // in the head, in the body
      RawClient client(server.port());
      client.send(whole.substr(0, n));
      std::this_thread::sleep_for(milliseconds(3));
      leave(client);
    }
    for (const int delay_ms : {0, 1, 2, 5, 20, 60}) {  // parsing, queued, prefill, decoding
      for (const std::string& bytes : {whole, streamed}) {
        RawClient client(server.port());
        client.send(bytes);
        std::this_thread::sleep_for(milliseconds(delay_ms));
        leave(client);
      }
    }
    {
      RawClient client(server.port());  // after the first token
      client.send(streamed);
      EXPECT_TRUE(client.read_until("data: {"));
      leave(client);
    }
  }
  stream.join();
  EXPECT_EQ(data(beside), data(alone));
  EXPECT_TRUE(server.wait_idle(kHang));
  EXPECT_GE(server.engine().stats().n_finished_cancelled, 10u);
}

// Holds the engine at the end of a forward.
class ForwardGate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++n_forwards_;
    is_held_ = is_closed_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !is_closed_; });
    is_held_ = false;
  }
  // Returns once a forward is held.
  void close() {
    std::unique_lock lock(mutex_);
    is_closed_ = true;
    changed_.wait(lock, [&] { return is_held_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    is_closed_ = false;
    changed_.notify_all();
  }
  uint64_t n_forwards() {
    const std::lock_guard lock(mutex_);
    return n_forwards_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_closed_ = false, is_held_ = false;
  uint64_t n_forwards_ = 0;
};

// The promise: no forward begins for a client once the server has seen that it left.
TEST(Disconnect, CancelsWithinAStep) {
  ForwardGate gate;
  TestServerOptions options = slow_model();
  options.model.after_forward = [&](size_t) { gate.pass(); };
  TestServer server(options);
  for (int i = 0; i < 20; ++i) {
    RawClient client(server.port());
    client.send(completion("z" + std::to_string(i), 2000, true));
    ASSERT_TRUE(client.read_until("data: {"));
    // The worker that submitted the request may not have noted its id yet.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    gate.close();
    client.close();
    const auto began = Clock::now();
    while (server.server().counters().n_open != 0 && ms_since(began) < kHangMs) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    const bool has_left = server.server().counters().n_open == 0;
    const uint64_t n_forwards = gate.n_forwards();
    gate.open();
    ASSERT_TRUE(has_left);
    ASSERT_TRUE(server.wait_idle());
    EXPECT_EQ(gate.n_forwards(), n_forwards) << "the forward that was held is the last one";
  }
}

TEST(Disconnect, TwoHundredLeaveNothingBehind) {
  TestServer server(slow_model());
  Rng rng(3);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.port()));
    clients.back()->send(completion("d" + std::to_string(i), 500, rng.chance(0.7),
                                    1 + static_cast<int>(rng.below(3))));
    if (rng.chance(0.5) || clients.size() > 30) {
      const size_t victim = rng.below(clients.size());
      rng.chance(0.5) ? clients[victim]->reset() : clients[victim]->close();
      clients.erase(clients.begin() + static_cast<std::ptrdiff_t>(victim));
    }
    if (rng.chance(0.2)) std::this_thread::sleep_for(milliseconds(rng.below(8)));
  }
  clients.clear();
  EXPECT_TRUE(server.wait_idle());
  const EngineStats stats = server.engine().stats();
  EXPECT_EQ(stats.n_kv_blocks_used, 0u);
  EXPECT_EQ(stats.n_accepted, stats.n_requests_done);
  for (int i = 0; i < 500 && server.server().counters().n_open != 0; ++i) {
    std::this_thread::sleep_for(milliseconds(2));
  }
  EXPECT_EQ(server.server().counters().n_open, 0u);
  EXPECT_EQ(server.server().counters().n_active, 0u);
  EXPECT_EQ(server.request(completion("after", 5, false)).status, 200);
}

// H9: the end of the read side is a disconnect while an answer is being made; a complete answer is
// delivered.
TEST(Disconnect, HalfCloseCancels) {
  TestServer server(slow_model());
  {
    RawClient client(server.port());
    client.send(completion("half", 2000, true));
    ASSERT_TRUE(client.read_until("data: {"));
    client.half_close();
    EXPECT_TRUE(client.wait_closed());
    EXPECT_EQ(client.buffer().find("[DONE]"), std::string::npos);
  }
  EXPECT_TRUE(server.wait_idle(kHang));
  RawClient client(server.port());
  client.send(get_request("/health"));
  client.half_close();
  EXPECT_EQ(client.read_response().status, 200);
}

// H8: a reader that stops reading is ended at the stall limit; memory stays bounded; others do not
// notice.
TEST(SlowReader, IsCancelledAtTheStallLimit) {
  TestServerOptions options;
  options.engine.max_context = 60'000;
  options.model.context_length = 60'000;
  options.serve.http.write_stall = milliseconds(500);
  options.serve.http.stream_buffer_bytes = 64 << 10;
  TestServer server(options);
  RawClient slow(server.port(), 4096);
  // Chunks carry timings, so that they fill every buffer soon.
  slow.send(post_request("/v1/completions", dump_json({{"prompt", "slow"},
                                                       {"stream", true},
                                                       {"ignore_eos", true},
                                                       {"timings_per_token", true}})));
  ASSERT_TRUE(slow.read_until("data: {"));
  const auto began = Clock::now();
  const Response other = server.request(completion("other", 200, true));
  EXPECT_EQ(other.status, 200);
  EXPECT_TRUE(other.complete);
  while (server.server().counters().n_timeouts == 0 && ms_since(began) < 15'000) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_EQ(server.server().counters().n_timeouts, 1u);
  EXPECT_TRUE(server.wait_idle(kHang));
}

// A reader that is merely slow gets everything, in order.
TEST(SlowReader, GetsEverythingWhenItKeepsReading) {
  TestServerOptions options;
  options.engine.max_context = 8'000;
  options.model.context_length = 8'000;
  options.serve.http.stream_buffer_bytes = 32 << 10;
  TestServer server(options);
  const int n_tokens = FLOE_SLOW_BUILD ? 1000 : 6000;  // far more than the buffers hold
  const Json body = {{"prompt", "patient"}, {"max_tokens", n_tokens}, {"ignore_eos", true}};
  const std::string whole = server.post("/v1/completions", body).json()["choices"][0]["text"];
  Json streamed = body;
  streamed["stream"] = true;
  streamed["timings_per_token"] = true;
  RawClient client(server.port(), 8192);
  client.send(post_request("/v1/completions", dump_json(streamed)));
  std::this_thread::sleep_for(milliseconds(700));
  const Response response = client.read_response();
  ASSERT_TRUE(response.complete);
  std::string all;
  for (const std::string& event : sse_data(response.body)) {
    if (event != "[DONE]") all += parse_json(event)->at("choices")[0]["text"].get<std::string>();
  }
  EXPECT_EQ(first_difference(all, whole), std::string::npos)
      << all.size() << " and " << whole.size();
}

// G16: whatever the engine does, /health answers within 50 ms.
TEST(Health, AnswersWhileAStepIsStuck) {
  TestServerOptions options;
  std::atomic<bool> hold{true};
  options.model.after_forward = [&](size_t) {
    while (hold) std::this_thread::sleep_for(milliseconds(1));
  };
  options.stall_seconds = 0.5;
  TestServer server(options);
  RawClient client(server.port());
  client.send(completion("stuck", 3, false));
  const auto began = Clock::now();
  bool ok_seen = false;
  int status = 0;
  double worst_ms = 0;
  while (status != 503 && ms_since(began) < 5000) {
    const auto asked = Clock::now();
    status = server.get("/health").status;
    worst_ms = std::max(worst_ms, ms_since(asked));
    ok_seen = ok_seen || status == 200;
    EXPECT_EQ(server.get("/metrics").status, 200);
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(ok_seen);
  EXPECT_EQ(status, 503) << "the watchdog must notice";
  EXPECT_LT(worst_ms, kHangMs);
  hold = false;
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_EQ(server.get("/health").status, 200);
}

// K10: a large body is parsed and encoded beside the door, not in it.
TEST(Health, ADeviceThatFailsEndsTheRequestNotTheServer) {
  TestServerOptions options;
  std::atomic<bool> fails{true};
  options.model.failure = [&](const ForwardBatch&) -> std::optional<Error> {
    if (!fails) return std::nullopt;
    return Error{ErrorKind::runtime, "cuda: a forward: it fell off the bus"};
  };
  TestServer server(options);
  const Json body = {{"prompt", "hello"}, {"max_tokens", 4}};
  const Response failed = server.post("/v1/completions", body);
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(error_object_fault(failed), "");
  EXPECT_NE(failed.body.find("device"), std::string::npos) << failed.body;
  ASSERT_TRUE(server.wait_idle());
  const Response sick = server.get("/health");
  EXPECT_EQ(sick.status, 503);
  EXPECT_NE(sick.body.find("fell off the bus"), std::string::npos) << sick.body;
  fails = false;
  EXPECT_EQ(server.post("/v1/completions", body).status, 200);
  const Clock::time_point began = Clock::now();
  while (server.get("/health").status != 200 && ms_since(began) < kHangMs) {
  }
  EXPECT_EQ(server.get("/health").status, 200);
}

TEST(Health, AnswersWhileALargePromptIsRead) {
  TestServer server;
  const std::string bytes =
      post_request("/tokenize", dump_json({{"content", std::string(kLargePromptBytes, 'a')}}));
  std::atomic<bool> done{false};
  std::thread large([&] {
    RawClient client(server.port());
    client.send(bytes);
    EXPECT_EQ(client.read_response().status, 200);
    done = true;
  });
  std::vector<double> waits_ms;
  while (!done) {
    const auto asked = Clock::now();
    EXPECT_EQ(server.get("/health").status, 200);
    waits_ms.push_back(ms_since(asked));
    std::this_thread::sleep_for(milliseconds(5));
  }
  large.join();
  ASSERT_FALSE(waits_ms.empty());
  std::sort(waits_ms.begin(), waits_ms.end());
  EXPECT_LT(waits_ms[waits_ms.size() * 9 / 10], kHangMs);
}

// ------------------------------------------------------------------------------------------
// run_server

// run_server in a process of its own, because signals are process-wide.
class ServerProcess {
 public:
  explicit ServerProcess(int step_ms, milliseconds drain = milliseconds(5000), int load_ms = 0) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    std::fflush(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      _exit(child(ends[1], step_ms, drain, load_ms));
    }
    ::close(ends[1]);
    EXPECT_EQ(read(ends[0], &port_, sizeof port_), static_cast<ssize_t>(sizeof port_));
    ::close(ends[0]);
  }
  ~ServerProcess() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  uint16_t port() const { return port_; }
  void signal(int number) const { kill(pid_, number); }
  // The exit code, or -1 when it still runs after the limit, or -2 when it died by a signal.
  int wait_exit(milliseconds limit) {
    const auto began = Clock::now();
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (Clock::now() - began > limit) return -1;
      std::this_thread::sleep_for(milliseconds(2));
    }
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
  }
  bool wait_ready() const {
    for (int i = 0; i < 500; ++i) {
      RawClient client(port_);
      client.send(get_request("/health"));
      if (client.read_response().status == 200) return true;
      std::this_thread::sleep_for(milliseconds(5));
    }
    return false;
  }

 private:
  struct Resources {
    SteadyClock clock;
    std::unique_ptr<FakeModel> model;
  };

  static int child(int report, int step_ms, milliseconds drain, int load_ms) {
    ServeOptions options = TestServerOptions().serve;
    options.drain = drain;
    options.on_listening = [&](const std::vector<std::string>& addresses) {
      const uint16_t port =
          static_cast<uint16_t>(std::stoi(addresses.at(0).substr(addresses.at(0).rfind(':') + 1)));
      [[maybe_unused]] const ssize_t n = write(report, &port, sizeof port);
    };
    const Result<int> code = run_server(options, [&]() -> Result<ServedModel> {
      std::this_thread::sleep_for(milliseconds(load_ms));
      if (load_ms < 0) return model_error("test.gguf: expected a model, found none");
      ServedModel served;
      served.name = served.file_name = "fake";
      served.tokenizer = make_byte_tokenizer(true);
      auto resources = std::make_shared<Resources>();
      FakeModelOptions model;
      model.n_vocab = static_cast<uint32_t>(served.tokenizer->n_vocab());
      model.after_forward = [step_ms](size_t) {
        std::this_thread::sleep_for(milliseconds(step_ms));
      };
      resources->model = std::make_unique<FakeModel>(model);
      served.info = resources->model->info();
      EngineOptions engine_options;
      engine_options.max_sequences = 2;
      auto engine = Engine::create(engine_options, *resources->model, resources->clock);
      if (!engine.ok()) return engine.error();
      served.engine = std::make_unique<EngineThread>(std::move(engine).value(), resources->clock);
      served.resources = resources;
      return served;
    });
    return code.ok() ? *code : exit_code(code.error().kind);
  }

  pid_t pid_ = 0;
  uint16_t port_ = 0;
};

TEST(Drain, IdleServerLeavesAtOnce) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    ServerProcess process(0);
    ASSERT_TRUE(process.wait_ready());
    process.signal(number);
    EXPECT_EQ(process.wait_exit(kHang), 0);
  }
}

TEST(Drain, RunningRequestsFinishWaitingOnesGet503) {
  ServerProcess process(10);
  ASSERT_TRUE(process.wait_ready());
  // Two run, two wait; and a connection is open without a request.
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<RawClient>(process.port()));
    clients.back()->send(completion("drain " + std::to_string(i), 60, i % 2 == 0));
    std::this_thread::sleep_for(milliseconds(30));
  }
  RawClient idle(process.port());
  idle.send(get_request("/health"));
  EXPECT_EQ(idle.read_response().status, 200);
  const auto began = Clock::now();
  process.signal(SIGTERM);
  EXPECT_TRUE(idle.wait_closed(kHang));
  // The listener is gone soon.
  bool refused = false;
  while (!refused && ms_since(began) < 500) {
    RawClient late(process.port());
    refused = !late.connected();
  }
  EXPECT_TRUE(refused);
  int n_complete = 0;
  int n_refused = 0;
  for (const auto& client : clients) {
    const Response response = client->read_response();
    EXPECT_TRUE(response.complete);
    if (response.status == 200) {
      ++n_complete;
      EXPECT_TRUE(response.body.find("[DONE]") != std::string::npos ||
                  response.json().contains("usage"));
    } else {
      ++n_refused;
      EXPECT_EQ(response.status, 503);
      EXPECT_NE(response.field("retry-after"), "");
    }
  }
  EXPECT_EQ(n_complete, 2);
  EXPECT_EQ(n_refused, 2);
  EXPECT_EQ(process.wait_exit(kHang), 0);
}

TEST(Drain, AtTheDeadlineStreamsEndWithAnError) {
  ServerProcess process(20, milliseconds(400));
  ASSERT_TRUE(process.wait_ready());
  RawClient client(process.port());
  client.send(completion("long", 4000, true));
  ASSERT_TRUE(client.read_until("data: {"));
  process.signal(SIGTERM);
  const Response response = client.read_response();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.body.find("[DONE]"), std::string::npos);
  const std::vector<std::string> events = sse_data(response.body);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(parse_json(events.back())->at("error")["type"], "unavailable_error");
  EXPECT_EQ(process.wait_exit(kHang), 0);
}

TEST(Drain, SecondSignalEndsAtOnceWith1) {
  ServerProcess process(20);
  ASSERT_TRUE(process.wait_ready());
  RawClient client(process.port());
  client.send(completion("long", 4000, true));
  ASSERT_TRUE(client.read_until("data: {"));
  process.signal(SIGTERM);
  std::this_thread::sleep_for(milliseconds(150));
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait_exit(kHang), 1);
}

TEST(Drain, SignalWhileLoadingEndsWith0) {
  ServerProcess process(0, milliseconds(5000), 60000);
  RawClient client(process.port());
  client.send(get_request("/health"));
  EXPECT_EQ(client.read_response().status, 503);
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait_exit(kHang), 0);
}

TEST(RunServer, ALoadThatFailsEndsTheServer) {
  ServerProcess process(0, milliseconds(5000), -1);
  EXPECT_EQ(process.wait_exit(kHang), 3);
}

TEST(RunServer, RefusesToBeOpenWithoutAKey) {
  const auto never = []() -> Result<ServedModel> { return usage_error("loaded"); };
  for (const char* host :
       {"0.0.0.0", "::", "192.168.1.2", "example.org", "127.0.0.1.example.org"}) {
    ServeOptions options;
    options.http.hosts = {"127.0.0.1", host};
    options.http.port = 0;
    const Result<int> code = run_server(options, never);
    ASSERT_FALSE(code.ok()) << host;
    EXPECT_EQ(code.error().kind, ErrorKind::usage);
    EXPECT_NE(code.error().message.find("--api-key"), std::string::npos) << code.error().message;
  }
  ServeOptions options;
  options.http.hosts = {"0.0.0.0"};
  options.http.port = 0;
  options.insecure = true;
  EXPECT_EQ(run_server(options, never).error().message, "loaded");
}

TEST(RunServer, APortThatIsTakenIsNamed) {
  TestServer server;
  ServeOptions options;
  options.http.port = server.port();
  bool loaded = false;
  const Result<int> code = run_server(options, [&]() -> Result<ServedModel> {
    loaded = true;
    return usage_error("loaded");
  });
  ASSERT_FALSE(code.ok());
  EXPECT_EQ(code.error().kind, ErrorKind::runtime);
  EXPECT_NE(code.error().message.find(std::to_string(server.port())), std::string::npos);
  EXPECT_FALSE(loaded);
}

}  // namespace
}  // namespace floe
