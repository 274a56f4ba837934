// Clients that take more than their share: of the workers that read bodies, of slots, of memory.
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>

#include "server/prepare_queue.h"
#include "server/raw_cases.h"
#include "server/sandbox.h"
#include "server/test_server.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FLOE_OWN_ALLOCATOR 0
#else
#define FLOE_OWN_ALLOCATOR 1
#endif

namespace {

// Allocations until one fails; 0: none will. Threads of the test itself are spared.
std::atomic<int64_t> g_until_fault{0};
std::atomic<uint64_t> g_n_faults{0};
thread_local bool t_spared = false;

}  // namespace

#if FLOE_OWN_ALLOCATOR
namespace {

// The JSON library lays out a stack on the heap to destroy a document, in a destructor that may not
// throw: a fault there ends any program. Those allocations are a few bytes each, and the next
// allocation gets the fault instead.
bool destroys_a_document() {
  void* frames[5];
  const int n_frames = backtrace(frames, 5);
  for (int i = 0; i < n_frames; ++i) {
    Dl_info function;
    if (dladdr(frames[i], &function) != 0 && function.dli_sname != nullptr &&
        std::strstr(function.dli_sname, "json_value7destroy") != nullptr) {
      return true;
    }
  }
  return false;
}

}  // namespace

void* operator new(size_t n_bytes) {
  if (!t_spared && g_until_fault.load(std::memory_order_relaxed) > 0 &&
      g_until_fault.fetch_sub(1, std::memory_order_relaxed) == 1) {
    if (destroys_a_document()) {
      g_until_fault = 1;
    } else {
      ++g_n_faults;
      throw std::bad_alloc();
    }
  }
  void* memory = std::malloc(n_bytes == 0 ? 1 : n_bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](size_t n_bytes) {
  return operator new(n_bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}
#endif

namespace floe {
namespace {

using namespace floe::testing;
using std::chrono::milliseconds;

// ---- Preparing

// Posts in a given order while both workers are busy, then says in which order the work started.
class PrepareOrder {
 public:
  PrepareOrder() : queue_(64) {
    // One long piece and one short piece hold the two workers.
    hold(true);
    hold(false);
    while (n_held_ < 2) std::this_thread::sleep_for(milliseconds(1));
  }
  bool post(const std::string& client, bool is_long, const std::string& name) {
    return queue_.try_post(client, is_long, [this, name] {
      const std::lock_guard lock(mutex_);
      order_.push_back(name);
    });
  }
  PrepareQueue& queue() { return queue_; }
  std::vector<std::string> run(size_t n_pieces) {
    open_ = true;
    for (;;) {
      const std::lock_guard lock(mutex_);
      if (order_.size() == n_pieces) return order_;
    }
  }
  ~PrepareOrder() { open_ = true; }

 private:
  void hold(bool is_long) {
    EXPECT_TRUE(queue_.try_post("holder", is_long, [this] {
      ++n_held_;
      while (!open_) std::this_thread::sleep_for(milliseconds(1));
    }));
    while (queue_.n_waiting() > 0) std::this_thread::sleep_for(milliseconds(1));
  }

  std::atomic<bool> open_{false};
  std::atomic<int> n_held_{0};
  std::mutex mutex_;
  std::vector<std::string> order_;
  PrepareQueue queue_;
};

TEST(PrepareQueue, ClientsTakeTurns) {
  PrepareOrder order;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(order.post("a", true, "a" + std::to_string(i)));
  EXPECT_TRUE(order.post("b", true, "b0"));
  EXPECT_TRUE(order.post("c", true, "c0"));
  EXPECT_TRUE(order.post("b", true, "b1"));
  EXPECT_EQ(order.run(7), (std::vector<std::string>{"a0", "b0", "c0", "a1", "b1", "a2", "a3"}));
}

TEST(PrepareQueue, OneClientHasAtMostHalfOfTheQueue) {
  PrepareOrder order;
  for (int i = 0; i < 32; ++i) EXPECT_TRUE(order.post("greedy", true, "x")) << i;
  EXPECT_FALSE(order.post("greedy", true, "x"));
  EXPECT_TRUE(order.post("other", true, "y"));
  EXPECT_EQ(order.queue().n_waiting(), 33u);
  order.run(33);
}

TEST(PrepareQueue, ShortWorkPassesLongWork) {
  PrepareQueue queue(64);
  std::atomic<bool> open{false};
  std::atomic<int> n_short{0};
  for (int i = 0; i < 4; ++i) {
    queue.try_post("long", true, [&] {
      while (!open) std::this_thread::sleep_for(milliseconds(1));
    });
  }
  for (int i = 0; i < 8; ++i) queue.try_post("long", false, [&] { ++n_short; });
  // Hangs, should a worker that takes short work be held by a long piece.
  while (n_short < 8) std::this_thread::sleep_for(milliseconds(1));
  open = true;
}

TEST(Preparing, APromptThatCannotFitIsRefusedBeforeItIsEncoded) {
  TestServer server;
  const size_t n_bytes = size_t{4} << 20;
  const Json completion = {{"prompt", std::string(n_bytes, ' ')}};
  const Json chat = {{"messages", {{{"role", "user"}, {"content", std::string(n_bytes, ' ')}}}}};
  for (const auto& [path, body] : {std::pair<const char*, Json>{"/v1/completions", completion},
                                   std::pair<const char*, Json>{"/v1/chat/completions", chat}}) {
    const Response response = server.post(path, body);
    EXPECT_EQ(response.status, 400) << path;
    const Json error = response.json()["error"];
    EXPECT_EQ(error["type"], "exceed_context_size_error");
    EXPECT_EQ(error["n_ctx"], 2048);
    EXPECT_GT(error["n_prompt_tokens"], 2048);
  }
}

// ---- Slow readers

// Never reads, and holds the only slot: the others pass, and what it gets in the end is the same.
TEST(SlowReader, GivesItsSlotToThoseWhoWait) {
  TestServerOptions options;
  options.engine.max_sequences = 1;
  options.engine.max_context = options.model.context_length = 20'000;
  options.serve.http.stream_buffer_bytes = 32 << 10;
  options.serve.http.write_stall = std::chrono::minutes(5);
  TestServer server(options);
  const Json body = {{"prompt", "slow"},
                     {"max_tokens", FLOE_SLOW_BUILD ? 8'000 : 15'000},
                     {"ignore_eos", true},
                     {"stream", true},
                     {"timings_per_token", true}};
  RawClient slow(server.port(), 4096);
  slow.send(post_request("/v1/completions", dump_json(body)));
  ASSERT_TRUE(slow.read_until("data: {"));
  for (int i = 0; i < 5; ++i) {
    const Response other =
        server.post("/v1/completions", {{"prompt", "o" + std::to_string(i)}, {"max_tokens", 5}});
    EXPECT_EQ(other.status, 200);
  }
  EXPECT_EQ(server.server().counters().n_timeouts, 0u);
  EXPECT_GE(server.engine().stats().n_preemptions, 1u);
  const Response late = slow.read_response();
  ASSERT_TRUE(late.complete);
  std::string text;
  for (const std::string& event : sse_data(late.body)) {
    if (event != "[DONE]") text += parse_json(event)->at("choices")[0]["text"].get<std::string>();
  }
  Json plain = body;
  plain["stream"] = false;
  const std::string whole =
      server.post("/v1/completions", plain).json()["choices"][0]["text"].get<std::string>();
  EXPECT_TRUE(text == whole) << text.size() << " and " << whole.size();
}

// Reads a little all the time, less than the minimum.
TEST(SlowReader, BelowTheMinimumRateIsEnded) {
  TestServerOptions options;
  options.engine.max_context = options.model.context_length = 60'000;
  options.serve.http.stream_buffer_bytes = 32 << 10;
  options.serve.http.write_stall = milliseconds(500);
  options.serve.http.read_bytes_per_second = size_t{64} << 20;
  TestServer server(options);
  RawClient slow(server.port(), 4096);
  slow.send(post_request("/v1/completions", dump_json({{"prompt", "slow"},
                                                       {"stream", true},
                                                       {"ignore_eos", true},
                                                       {"timings_per_token", true}})));
  ASSERT_TRUE(slow.read_until("data: {"));
  for (int i = 0; i < 2000 && server.server().counters().n_timeouts == 0; ++i) {
    slow.wait_closed(milliseconds(1));  // takes what is there
    std::this_thread::sleep_for(milliseconds(9));
  }
  EXPECT_EQ(server.server().counters().n_timeouts, 1u);
}

// ---- Memory

// Every n-th allocation of serving fails once: the request at hand may fail, nothing else does.
TEST(OutOfMemory, AFaultAtEveryAllocationOfServing) {
  if (!FLOE_OWN_ALLOCATOR) GTEST_SKIP() << "the sanitizer's allocator is not ours";
  t_spared = true;
  TestServer server;
  const std::vector<std::string> requests = {
      post_request("/v1/chat/completions",
                   dump_json({{"messages", {{{"role", "user"}, {"content", "Hello there"}}}},
                              {"max_tokens", 12},
                              {"stream", true},
                              {"logprobs", true},
                              {"top_logprobs", 3}})),
      post_request("/v1/completions", "{\"prompt\":[\"ab\",\"cd\"],\"max_tokens\":6,\"n\":2}"),
      post_request("/tokenize", "{\"content\":\"" + std::string(3000, 'x') + "\"}"),
      get_request("/metrics"),
      get_request("/props"),
  };
  const Json canary = {{"prompt", "canary"}, {"max_tokens", 8}};
  const std::string expected = server.post("/v1/completions", canary).json()["choices"][0]["text"];
  size_t n_whole = 0;
  size_t n_refused = 0;
  for (const std::string& bytes : requests) {
    for (int64_t n = 1; n < 4000; n += n < 600 ? 1 : 37) {
      const uint64_t n_before = g_n_faults;
      g_until_fault = n;
      {
        RawClient client(server.port());
        client.send(bytes);
        const Response response = client.read_response();
        EXPECT_TRUE(response.status == 0 || response.status == 200 || response.status == 500 ||
                    response.status == 503)
            << response.status << " at allocation " << n;
        (response.status == 200 ? n_whole : n_refused) += 1;
      }
      g_until_fault = 0;
      if (g_n_faults == n_before) break;  // the whole request takes fewer
      if (n % 16 == 0) {
        ASSERT_EQ(server.get("/health").status, 200) << "after allocation " << n;
        ASSERT_EQ(server.post("/v1/completions", canary).json()["choices"][0]["text"], expected)
            << "after allocation " << n;
      }
    }
  }
  EXPECT_GT(n_whole, 0u);
  EXPECT_GT(n_refused, 100u);
  const bool idle = server.wait_idle();
  const EngineStats stats = server.engine().stats();
  EXPECT_TRUE(idle) << stats.n_running << " running, " << stats.n_waiting << " waiting, "
                    << stats.n_kv_blocks_used << " blocks in use";
  t_spared = false;
}

// The same for the start: a server that could not load says so, with the exit code of memory.
TEST(OutOfMemory, AFaultAtEveryAllocationOfLoading) {
  if (!FLOE_OWN_ALLOCATOR) GTEST_SKIP() << "the sanitizer's allocator is not ours";
  bool whole = false;
  for (int64_t n = 1; !whole && n < 100'000; n += n < 500 ? 7 : 101) {
    ServeOptions options = TestServerOptions().serve;
    const Result<int> code = run_server(options, [&]() -> Result<ServedModel> {
      g_until_fault = n;
      ServedModel served;
      served.tokenizer = make_byte_tokenizer(true);
      FLOE_TRY(served.chat_template, ChatTemplate::load({}, *served.tokenizer));
      served.answer_format = detect_answer_format({}, *served.tokenizer);
      g_until_fault = 0;
      whole = true;
      return usage_error("loaded");
    });
    g_until_fault = 0;
    ASSERT_FALSE(code.ok());
    EXPECT_EQ(code.error().kind, whole ? ErrorKind::usage : ErrorKind::memory)
        << "allocation " << n << ": " << code.error().message;
  }
  EXPECT_TRUE(whole);
}

// What a body takes is counted until its worker lets go of it, and no longer.
TEST(Bodies, AreCountedUntilTheyAreRead) {
  TestServer server;
  const Json body = {{"prompt", "hello"},
                     {"max_tokens", 1500},
                     {"stream", true},
                     {"ignore_eos", true},
                     {"filler", std::string(300'000, 'x')}};
  RawClient client(server.port());
  client.send(post_request("/v1/completions", dump_json(body)));
  ASSERT_TRUE(client.read_until("data: {"));
  EXPECT_EQ(server.server().counters().body_bytes, 0u);  // although the answer is under way
  EXPECT_TRUE(client.read_response().complete);
}

// ---- Keys and the sandbox

TEST(ApiKeyList, AnEmptyOneIsRefused) {
  struct Case {
    const char* list;
    std::vector<std::string> keys;  // empty: refused
  };
  const Case cases[] = {
      {"", {}},       {",", {}}, {",,,", {}}, {"a", {"a"}}, {"a,b", {"a", "b"}},
      {",a,", {"a"}}, {" ", {}}, {"a b", {}}, {"a\n", {}},  {"k\xC3\xA4", {}},
  };
  for (const Case& c : cases) {
    const auto keys = parse_api_keys(c.list);
    EXPECT_EQ(keys.ok(), !c.keys.empty()) << '"' << c.list << '"';
    if (keys.ok()) {
      EXPECT_EQ(*keys, c.keys);
    } else {
      EXPECT_EQ(keys.error().kind, ErrorKind::usage);
    }
  }
}

// A child that enters the sandbox and tries. Its exit status is the number of the first attempt
// that did not end as it should, or 0.
TEST(Sandbox, WhatItRefusesAndWhatItLetsThrough) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int before = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    std::atomic<bool> go{false};
    std::atomic<int> in_thread{0};
    std::thread older([&] {  // the filter holds for threads that ran before it
      while (!go) std::this_thread::yield();
      in_thread = ::socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? 1 : 2;
    });
    if (enter_sandbox() == SandboxState::unsupported) ::_exit(99);
    const auto refused = [](long result) { return result < 0 && errno == EPERM; };
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(9);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char program[] = "/bin/true";
    char* arguments[] = {program, nullptr};
    go = true;
    older.join();
    int number = 1;
    const auto check = [&number](bool good) {
      if (!good) ::_exit(number);
      ++number;
    };
    check(refused(::socket(AF_INET, SOCK_STREAM, 0)));                                         // 1
    check(refused(::connect(before, reinterpret_cast<sockaddr*>(&address), sizeof address)));  // 2
    check(refused(::bind(before, reinterpret_cast<sockaddr*>(&address), sizeof address)));     // 3
    check(refused(::execve(program, arguments, nullptr)));                                     // 4
    check(refused(::fork()));                                                                  // 5
    check(refused(::open("/tmp/floe_sandbox", O_WRONLY | O_CREAT, 0600)));                     // 6
    check(refused(::unlink("/tmp/floe_sandbox")));                                             // 7
    check(refused(::syscall(SYS_ptrace, 0, 0, 0, 0)));                                         // 8
    check(refused(::syscall(SYS_io_uring_setup, 1, nullptr)));                                 // 9
    check(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);                                      // 10
    check(in_thread == 1);                                                                     // 11
    check(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC) >= 0);                               // 12
    std::thread([] {}).join();  // new threads
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  if (WEXITSTATUS(status) == 99) GTEST_SKIP() << "this kernel has no filter of system calls";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace floe
