#include "engine/admission.h"

#include <gtest/gtest.h>

namespace floe {
namespace {

constexpr uint32_t kMaxWaiting = 2, kMaxSequences = 4, kAdmissionContext = 8;

Request prompt_of(size_t n_prompt, uint32_t max_tokens = 1) {
  Request request;
  request.prompt.assign(n_prompt, 1);
  request.max_tokens = max_tokens;
  return request;
}

struct AdmissionCase {
  const char* what;
  Request request;
  QueueLoad load;
  uint32_t n_on_their_way;  // accepted since the load was taken
  bool is_closed;
  SubmitStatus status;
};

TEST(Admission, DecidesByTheRequestThenTheDoorThenTheQueue) {
  const Request good = prompt_of(3), long_one = prompt_of(kAdmissionContext);
  const Request prompt_alone = prompt_of(kAdmissionContext, 0);
  const Request longer = prompt_of(kAdmissionContext + 1, 0);
  Request bad = good;
  bad.n = 0;
  const AdmissionCase cases[] = {
      {"an empty engine", good, {}, 0, false, SubmitStatus::accepted},
      {"the last place of an empty engine", good, {}, 5, false, SubmitStatus::accepted},
      {"one more", good, {}, 6, false, SubmitStatus::queue_full},
      {"all sequences run, one place left", good, {5, 1, 4, 0.5}, 0, false, SubmitStatus::accepted},
      {"all sequences run, none left", good, {6, 2, 4, 0.5}, 0, false, SubmitStatus::queue_full},
      {"the last place is on its way", good, {5, 1, 4, 0.5}, 1, false, SubmitStatus::queue_full},
      {"a free sequence is a place", good, {5, 2, 3, 0.5}, 0, false, SubmitStatus::accepted},
      {"closed", good, {}, 0, true, SubmitStatus::draining},
      {"closed and full", good, {6, 2, 4, 0.5}, 0, true, SubmitStatus::draining},
      {"a bad field", bad, {}, 0, false, SubmitStatus::invalid},
      {"a bad field, closed and full", bad, {6, 2, 4, 0.5}, 0, true, SubmitStatus::invalid},
      {"too long", long_one, {}, 0, false, SubmitStatus::context_exceeded},
      {"as long as the context, and nothing is to follow",
       prompt_alone,
       {},
       0,
       false,
       SubmitStatus::accepted},
      {"longer than the context", longer, {}, 0, false, SubmitStatus::context_exceeded},
      {"too long and full", long_one, {6, 2, 4, 0.5}, 0, false, SubmitStatus::context_exceeded},
  };
  for (const AdmissionCase& c : cases) {
    SCOPED_TRACE(c.what);
    Admission admission(RequestLimits(64, kAdmissionContext, 2), kMaxWaiting, kMaxSequences);
    for (uint64_t i = 0; i < c.load.n_accepted; ++i) {
      admission.update({i, 0, 0, 0});
      ASSERT_EQ(admission.decide({}).status, SubmitStatus::accepted);
    }
    admission.update(c.load);
    for (uint32_t i = 0; i < c.n_on_their_way; ++i) {
      ASSERT_EQ(admission.decide({}).status, SubmitStatus::accepted);
    }
    if (c.is_closed) admission.close();
    const uint32_t n_before = c.load.n_waiting + c.n_on_their_way;
    EXPECT_EQ(admission.n_waiting(), n_before);
    const SubmitOutcome outcome = admission.decide(admission.limits().check(c.request));
    EXPECT_EQ(outcome.status, c.status);
    EXPECT_EQ(outcome.message.empty(), c.status == SubmitStatus::accepted);
    EXPECT_EQ(outcome.wait_seconds,
              c.status == SubmitStatus::queue_full ? c.load.wait_seconds : 0.0);
    const bool is_accepted = c.status == SubmitStatus::accepted;
    EXPECT_EQ(outcome.id, is_accepted ? c.load.n_accepted + c.n_on_their_way + 1 : 0u);
    EngineStats stats;
    admission.count(stats);
    EXPECT_EQ(stats.n_waiting, n_before + (is_accepted ? 1 : 0));
    EXPECT_EQ(stats.n_refused_queue_full, c.status == SubmitStatus::queue_full ? 1u : 0u);
    const bool is_invalid =
        c.status == SubmitStatus::invalid || c.status == SubmitStatus::context_exceeded;
    EXPECT_EQ(stats.n_refused_invalid, is_invalid ? 1u : 0u);
  }
}

}  // namespace
}  // namespace floe
