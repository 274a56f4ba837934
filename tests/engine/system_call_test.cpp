// What a decode step asks of the kernel: nothing. A child process gives up all system calls but
// those that end it, wait and read the clock, and goes on decoding; any other one ends it. (Threads
// that are held up by somebody else's process wait in the kernel after a while, and where the clock
// is not mapped into the process it is read there.)
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <functional>
#include <vector>

#include "draft/factory.h"
#include "engine/recorder.h"
#include "repo_path.h"

namespace floe {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

// What a child says, in memory that it shares with its parent.
struct Verdict {
  bool was_filtered;
  bool is_done;
  int refused;  // the number of the first system call that was refused
  uint64_t n_tokens;
};
Verdict* g_verdict = nullptr;

void on_refused(int, siginfo_t* info, void*) {
  g_verdict->refused = info->si_syscall;
  _exit(1);
}

// Of all threads there are.
bool give_up_system_calls() {
  struct sigaction action = {};
  action.sa_sigaction = on_refused;
  action.sa_flags = SA_SIGINFO;
  if (sigaction(SIGSYS, &action, nullptr) != 0) return false;
  constexpr uint32_t kAllowed[] = {SYS_exit,  SYS_exit_group,    SYS_sched_yield,
                                   SYS_futex, SYS_clock_gettime, SYS_rt_sigreturn};
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const uint32_t call : kAllowed) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

// Four sequences of the bundled model; in the child only. Leaves g_verdict and ends.
[[noreturn]] void decode(const SpecPolicy& policy, const std::function<void()>& between_steps) {
  alarm(120);  // a child that hangs must not hold up its parent
  const SteadyClock clock;
  ThreadPool pool;
  const auto model = load_model(repo_path("models/floe-nano.gguf"), {}, pool);
  if (!model.ok()) _exit(2);
  EngineOptions options;
  options.max_context = 1024;
  options.max_sequences = 4;
  options.spec = policy;
  options.drafters =
      [](Model& trunk, KvCache& cache,
         const DraftLimits& limits) -> Result<std::vector<std::unique_ptr<Drafter>>> {
    std::vector<std::unique_ptr<Drafter>> drafters;
    for (const DraftSource source : {DraftSource::prompt_lookup, DraftSource::mtp}) {
      DrafterSetup choice;
      choice.source = source;
      FLOE_TRY(auto drafter, make_drafter(choice, trunk, cache, limits));
      drafters.push_back(std::move(drafter));
    }
    return drafters;
  };
  const auto engine = Engine::create(options, **model, clock);
  if (!engine.ok()) _exit(2);
  const auto sink = std::make_shared<testing::CountingSink>();
  for (uint64_t i = 0; i < 4; ++i) {
    Request request;
    request.prompt = testing::make_prompt(i, 50, (*model)->info().n_vocab);
    request.max_tokens = 900;
    request.sampling.temperature = i == 0 ? 0.0f : 1.0f;
    request.sampling.top_k = i == 2 ? 10 : 0;
    request.sampling.top_p = i == 3 ? 0.9f : 1.0f;
    request.sink = sink;
    (*engine)->submit(std::move(request));
  }
  for (int i = 0; i < 40; ++i) (*engine)->step();
  const uint64_t n_before = sink->n_tokens;
  if (!give_up_system_calls()) _exit(3);
  g_verdict->was_filtered = true;
  for (int i = 0; i < 60; ++i) {
    (*engine)->step();
    between_steps();
  }
  g_verdict->n_tokens = sink->n_tokens - n_before;
  g_verdict->is_done = true;
  _exit(0);
}

class SystemCallTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kIsSanitized) GTEST_SKIP() << "a sanitizer makes system calls of its own";
    void* memory =
        mmap(nullptr, sizeof(Verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    g_verdict = new (memory) Verdict{false, false, -1, 0};
  }
  void TearDown() override {
    if (g_verdict != nullptr) munmap(g_verdict, sizeof(Verdict));
    g_verdict = nullptr;
  }

  // False: the kernel does not let a process give up system calls.
  bool decode_in_a_child(const char* policy, const std::function<void()>& between_steps) {
    const pid_t child = fork();
    if (child == 0) decode(*parse_spec_policy(policy), between_steps);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_NE(WEXITSTATUS(status), 2) << "the model or the engine did not start";
    return g_verdict->was_filtered;
  }
};

TEST_F(SystemCallTest, NoneInADecodeStep) {
  if (!decode_in_a_child("off", [] {})) GTEST_SKIP() << "no seccomp filter here";
  EXPECT_TRUE(g_verdict->is_done) << "system call " << g_verdict->refused;
  EXPECT_EQ(g_verdict->n_tokens, 4u * 60);
}

TEST_F(SystemCallTest, NoneWhereGuessesAreVerified) {
  if (!decode_in_a_child("on:3", [] {})) GTEST_SKIP() << "no seccomp filter here";
  EXPECT_TRUE(g_verdict->is_done) << "system call " << g_verdict->refused;
  EXPECT_GT(g_verdict->n_tokens, 4u * 60);
}

TEST_F(SystemCallTest, OneWouldBeNoticed) {
  if (!decode_in_a_child("off", [] { syscall(SYS_getppid); })) {
    GTEST_SKIP() << "no seccomp filter here";
  }
  EXPECT_FALSE(g_verdict->is_done);
  EXPECT_EQ(g_verdict->refused, SYS_getppid);
}

}  // namespace
}  // namespace floe
