#include "engine/engine_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/recorder.h"

namespace floe {
namespace {

using testing::expected_output;
using testing::make_prompt;

// Collects one request's events and lets a thread wait for the last.
class WaitingSink final : public TokenSink {
 public:
  void on_event(TokenEvent&& event) noexcept override {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_FALSE(done_);
    testing::ChoiceRecord& choice = choices_[event.choice];
    EXPECT_EQ(choice.finish, FinishReason::none);
    if (event.token >= 0) {
      EXPECT_EQ(event.index, choice.tokens.size());
      choice.tokens.push_back(event.token);
    }
    choice.finish = event.finish;
    choice.error = event.error;
    choice.counts = event.counts;
    done_ = event.request_done;
    changed_.notify_all();
  }
  void wait_done() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
  }
  void wait_tokens(size_t n_tokens) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return done_ || choices_[0].tokens.size() >= n_tokens; });
  }
  testing::ChoiceRecord choice(uint32_t index = 0) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return choices_[index];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint32_t, testing::ChoiceRecord> choices_;
  bool done_ = false;
};

class EngineThreadTest : public ::testing::Test {
 protected:
  void start(EngineOptions options, FakeModelOptions model_options = {},
             double stall_seconds = 60.0) {
    options.poison_freed_blocks = true;
    model_ = std::make_unique<FakeModel>(model_options);
    auto engine = Engine::create(options, *model_, clock_);
    ASSERT_TRUE(engine.ok());
    thread_ = std::make_unique<EngineThread>(std::move(engine).value(), clock_, stall_seconds);
  }
  void TearDown() override {
    if (thread_ == nullptr) return;
    thread_->stop();
    EXPECT_EQ(thread_->stats().n_kv_blocks_used, 0u);
    EXPECT_EQ(thread_->stats().n_running, 0u);
    EXPECT_EQ(thread_->stats().n_waiting, 0u);
    EXPECT_EQ(model_->violation(), "");
  }
  static Request request_of(uint64_t seed, size_t n_prompt, uint32_t max_tokens) {
    Request request;
    request.prompt = make_prompt(seed, n_prompt);
    request.max_tokens = max_tokens;
    request.sampling.temperature = seed % 2 == 0 ? 0.0f : 1.0f;
    request.sampling.seed = seed;
    return request;
  }
  std::vector<int32_t> expect(const Request& request, uint32_t choice = 0) {
    Sampler sampler(model_->info().n_vocab);
    return expected_output(*model_, request.prompt, request.sampling,
                           choice_seed(request.sampling.seed, choice), request.max_tokens, {},
                           sampler)
        .tokens;
  }
  int64_t in_seconds(double seconds) const {
    return clock_.now_ns() + static_cast<int64_t>(seconds * 1e9);
  }

  SteadyClock clock_;
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<EngineThread> thread_;
};

TEST_F(EngineThreadTest, AnswersFromAnotherThread) {
  start({});
  Request request = request_of(1, 40, 30);
  auto sink = std::make_shared<WaitingSink>();
  request.sink = sink;
  ASSERT_EQ(thread_->submit(request).status, SubmitStatus::accepted);
  sink->wait_done();
  EXPECT_EQ(sink->choice().tokens, expect(request));
  EXPECT_FALSE(thread_->health().stalled);
}

// A step may take seconds; figures are read in the middle of one.
TEST_F(EngineThreadTest, WhoRunsInAStepIsNotCountedAsWaiting) {
  EngineOptions options;
  options.max_sequences = 2;
  std::mutex gate;
  std::atomic<int> n_forwards{0};
  FakeModelOptions model_options;
  model_options.after_forward = [&](size_t) {
    ++n_forwards;
    const std::lock_guard<std::mutex> lock(gate);
  };
  start(options, model_options);
  std::vector<std::shared_ptr<WaitingSink>> sinks;
  {
    const std::unique_lock<std::mutex> closed(gate);  // the first forward cannot end
    for (uint64_t i = 0; i < 3; ++i) {
      Request request = request_of(i, 10, 5);
      sinks.push_back(std::make_shared<WaitingSink>());
      request.sink = sinks.back();
      ASSERT_EQ(thread_->submit(std::move(request)).status, SubmitStatus::accepted);
      while (n_forwards == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    // The first one is in the forward; the others came behind its back.
    EXPECT_EQ(thread_->stats().n_running, 1u);
    EXPECT_EQ(thread_->stats().n_waiting, 2u);
    EXPECT_EQ(thread_->stats().n_sequences, 1u);
  }
  for (const auto& sink : sinks) sink->wait_done();
}

TEST_F(EngineThreadTest, APausedRequestWaitsWithoutSpinningAndEndsWithTheDrain) {
  start({});
  auto sink = std::make_shared<WaitingSink>();
  Request request = request_of(1, 40, 3000);
  request.sink = sink;
  const SubmitOutcome outcome = thread_->submit(std::move(request));
  ASSERT_EQ(outcome.status, SubmitStatus::accepted);
  sink->wait_tokens(3);
  thread_->pause(outcome.id);
  // Another request passes by, so the pause has been seen.
  auto other = std::make_shared<WaitingSink>();
  request = request_of(2, 10, 5);
  request.sink = other;
  ASSERT_EQ(thread_->submit(std::move(request)).status, SubmitStatus::accepted);
  other->wait_done();
  const uint64_t n_steps = thread_->stats().n_steps;
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_LE(thread_->stats().n_steps, n_steps + 1);
  thread_->begin_drain(in_seconds(0.05));
  thread_->wait_drained();
  EXPECT_EQ(sink->choice().error, EndError::shutdown);
}

TEST_F(EngineThreadTest, RefusalsAreDecidedAtOnce) {
  EngineOptions options;
  options.max_sequences = 1;
  options.max_waiting = 1;
  std::mutex gate;
  FakeModelOptions model_options;
  model_options.after_forward = [&](size_t) { const std::lock_guard<std::mutex> lock(gate); };
  start(options, model_options);
  std::unique_lock<std::mutex> closed(gate);  // the first forward cannot end
  auto sink = std::make_shared<WaitingSink>();
  const auto submit = [&] {
    Request request = request_of(1, 10, 5);
    request.sink = sink;
    return thread_->submit(std::move(request));
  };
  Request bad = request_of(1, 10, 5);
  bad.prompt[0] = -1;
  bad.sink = sink;
  EXPECT_EQ(thread_->submit(bad).status, SubmitStatus::invalid);
  std::vector<std::shared_ptr<WaitingSink>> sinks;
  int n_full = 0;
  for (int i = 0; i < 5; ++i) {
    sink = std::make_shared<WaitingSink>();
    const SubmitOutcome outcome = submit();
    if (outcome.status == SubmitStatus::accepted) {
      sinks.push_back(sink);
    } else {
      EXPECT_EQ(outcome.status, SubmitStatus::queue_full);
      EXPECT_GT(outcome.wait_seconds, 0.0);
      ++n_full;
    }
  }
  EXPECT_GE(n_full, 3);
  EXPECT_EQ(thread_->stats().n_refused_invalid, 1u);
  EXPECT_EQ(thread_->stats().n_refused_queue_full, static_cast<uint64_t>(n_full));
  closed.unlock();
  for (const auto& accepted : sinks) accepted->wait_done();
}

TEST_F(EngineThreadTest, CancelAndFinishTakeEffectWithinAStep) {
  start({});
  Request request = request_of(3, 10, 4000);
  auto cancelled = std::make_shared<WaitingSink>();
  request.sink = cancelled;
  const RequestId first = thread_->submit(request).id;
  auto finished = std::make_shared<WaitingSink>();
  request.sink = finished;
  const RequestId second = thread_->submit(request).id;
  cancelled->wait_tokens(3);
  thread_->cancel(first);
  cancelled->wait_done();
  EXPECT_EQ(cancelled->choice().finish, FinishReason::cancelled);
  finished->wait_tokens(5);
  thread_->finish(second, 0, 5);
  finished->wait_done();
  EXPECT_EQ(finished->choice().finish, FinishReason::stop);
  EXPECT_EQ(finished->choice().counts.completion_tokens, 5u);
}

TEST_F(EngineThreadTest, DrainFinishesWhatRuns) {
  EngineOptions options;
  options.max_sequences = 1;
  std::atomic<bool> slow{true};
  FakeModelOptions model_options;
  model_options.after_forward = [&](size_t) {
    if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  start(options, model_options);
  Request request = request_of(5, 10, 60);
  auto running = std::make_shared<WaitingSink>();
  request.sink = running;
  thread_->submit(request);
  running->wait_tokens(1);
  auto waiting = std::make_shared<WaitingSink>();
  request.sink = waiting;
  thread_->submit(request);
  thread_->begin_drain(in_seconds(30));
  request.sink = std::make_shared<WaitingSink>();
  EXPECT_EQ(thread_->submit(request).status, SubmitStatus::draining);
  EXPECT_TRUE(thread_->health().draining);
  waiting->wait_done();
  EXPECT_EQ(waiting->choice().error, EndError::shutdown);
  EXPECT_FALSE(thread_->drained());
  slow = false;
  thread_->wait_drained();
  EXPECT_TRUE(thread_->drained());
  running->wait_done();
  EXPECT_EQ(running->choice().tokens, expect(request));
}

TEST_F(EngineThreadTest, TheDrainDeadlineEndsTheRest) {
  FakeModelOptions model_options;
  model_options.after_forward = [](size_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  start({}, model_options);
  Request request = request_of(6, 10, 4000);
  auto sink = std::make_shared<WaitingSink>();
  request.sink = sink;
  thread_->submit(request);
  sink->wait_tokens(1);
  thread_->begin_drain(in_seconds(3600));
  thread_->begin_drain(in_seconds(0.02));  // the second signal is in more of a hurry
  thread_->wait_drained();
  EXPECT_EQ(sink->choice().finish, FinishReason::error);
  EXPECT_EQ(sink->choice().error, EndError::shutdown);
}

TEST_F(EngineThreadTest, StopEndsEverythingAndIsIdempotent) {
  start({});
  auto sink = std::make_shared<WaitingSink>();
  Request request = request_of(7, 10, 4000);
  request.sink = sink;
  thread_->submit(request);
  thread_->stop();
  sink->wait_done();
  EXPECT_TRUE(thread_->health().stopped);
  request.sink = std::make_shared<WaitingSink>();
  EXPECT_EQ(thread_->submit(request).status, SubmitStatus::draining);
  thread_->cancel(1);
  thread_->stop();
}

TEST_F(EngineThreadTest, AStepThatHangsShowsAsStalled) {
  std::mutex gate;
  FakeModelOptions model_options;
  model_options.after_forward = [&](size_t) { const std::lock_guard<std::mutex> lock(gate); };
  std::unique_lock<std::mutex> closed(gate);
  start({}, model_options, 0.02);
  EXPECT_FALSE(thread_->health().stalled);
  auto sink = std::make_shared<WaitingSink>();
  Request request = request_of(8, 10, 3);
  request.sink = sink;
  thread_->submit(request);
  while (!thread_->health().stalled) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_GT(thread_->health().step_age_seconds, 0.02);
  closed.unlock();
  sink->wait_done();
  while (thread_->health().stalled) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST_F(EngineThreadTest, EventQueueWakesOncePerBatchAndNeverAfterClose) {
  std::atomic<int> n_wakeups{0};
  EventQueue queue([&] { ++n_wakeups; });
  for (int i = 0; i < 3; ++i) queue.on_event(TokenEvent{});
  EXPECT_EQ(n_wakeups, 1);
  std::vector<TokenEvent> events;
  EXPECT_EQ(queue.take(events), 3u);
  EXPECT_EQ(queue.take(events), 0u);
  queue.on_event(TokenEvent{});
  EXPECT_EQ(n_wakeups, 2);
  EXPECT_EQ(queue.take(events), 1u);
  EXPECT_EQ(events.size(), 4u);
  queue.close();
  queue.on_event(TokenEvent{});
  EXPECT_EQ(n_wakeups, 2);
}

// Eight threads submit, read, cancel, finish early and walk away, while another one reads
// statistics and a drain comes in the middle.
TEST_F(EngineThreadTest, EightThreadsAtOnce) {
  for (const bool drains : {false, true}) {
    EngineOptions options;
    options.max_sequences = 6;
    options.max_waiting = 5;
    options.n_kv_tokens = 512;
    options.max_context = 256;
    options.max_step_rows = 24;
    options.reserve_output_tokens = 8;
    start(options);
    std::atomic<uint64_t> n_accepted{0};
    std::atomic<uint64_t> n_complete{0};
    std::atomic<bool> over{false};
    const auto client = [&](uint64_t client_id) {
      Rng rng(client_id);
      for (uint64_t i = 0; i < 40; ++i) {
        Request request = request_of(client_id * 1000 + i, 1 + rng.below(80),
                                     1 + static_cast<uint32_t>(rng.below(40)));
        request.n = 1 + static_cast<uint32_t>(rng.below(3));
        auto queue = std::make_shared<EventQueue>();
        std::mutex mutex;
        std::condition_variable changed;
        bool pending = false;
        queue = std::make_shared<EventQueue>([&] {
          const std::lock_guard<std::mutex> lock(mutex);
          pending = true;
          changed.notify_one();
        });
        request.sink = queue;
        const SubmitOutcome outcome = thread_->submit(request);
        if (outcome.status == SubmitStatus::queue_full) {
          std::this_thread::yield();
          continue;
        }
        if (outcome.status == SubmitStatus::draining) break;
        ASSERT_EQ(outcome.status, SubmitStatus::accepted) << outcome.message;
        ++n_accepted;
        const uint64_t fate = rng.below(5);
        const size_t fate_at = rng.below(20);
        std::map<uint32_t, testing::ChoiceRecord> choices;
        std::vector<TokenEvent> events;
        bool done = false;
        bool acted = false;
        while (!done) {
          {
            std::unique_lock<std::mutex> lock(mutex);
            changed.wait(lock, [&] { return pending; });
            pending = false;
          }
          events.clear();
          queue->take(events);
          for (TokenEvent& event : events) {
            ASSERT_EQ(event.request, outcome.id);
            ASSERT_FALSE(done);
            testing::ChoiceRecord& choice = choices[event.choice];
            ASSERT_EQ(choice.finish, FinishReason::none);
            if (event.token >= 0) choice.tokens.push_back(event.token);
            choice.finish = event.finish;
            done = event.request_done;
          }
          if (!acted && choices[0].tokens.size() >= fate_at) {
            acted = true;
            if (fate == 0) thread_->cancel(outcome.id);
            if (fate == 1) thread_->finish(outcome.id, 0, static_cast<uint32_t>(fate_at));
            if (fate == 2) {
              thread_->cancel(outcome.id);
              queue->close();
              break;  // nobody reads any more
            }
          }
        }
        for (const auto& [index, choice] : choices) {
          const std::vector<int32_t> expected = expect(request, index);
          ASSERT_LE(choice.tokens.size(), expected.size());
          ASSERT_TRUE(std::equal(choice.tokens.begin(), choice.tokens.end(), expected.begin()));
          if (choice.finish == FinishReason::length) {
            ASSERT_EQ(choice.tokens, expected);
            ++n_complete;
          }
        }
        queue->close();
      }
    };
    std::vector<std::thread> clients;
    for (uint64_t i = 0; i < 8; ++i) clients.emplace_back(client, i + (drains ? 100 : 0));
    std::thread observer([&] {
      while (!over) {
        const EngineStats stats = thread_->stats();
        EXPECT_LE(stats.n_kv_blocks_used, stats.n_kv_blocks);
        EXPECT_LE(stats.n_sequences, 6u);
        EXPECT_FALSE(thread_->health().stalled);
        if (drains && stats.n_requests_done > 60) thread_->begin_drain(in_seconds(10));
        std::this_thread::yield();
      }
    });
    for (std::thread& one : clients) one.join();
    over = true;
    observer.join();
    if (drains) {
      thread_->begin_drain(in_seconds(10));
      thread_->wait_drained();
    }
    thread_->stop();
    const EngineStats stats = thread_->stats();
    EXPECT_EQ(stats.n_accepted, n_accepted.load());
    EXPECT_EQ(stats.n_requests_done, n_accepted.load());
    EXPECT_EQ(stats.n_kv_blocks_used, 0u);
    EXPECT_GT(n_complete.load(), 20u);
    EXPECT_EQ(model_->violation(), "");
  }
}

}  // namespace
}  // namespace floe
