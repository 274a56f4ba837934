// Which context fits, and what is said where none does.
#include "verbs/memory_plan.h"

#include <gtest/gtest.h>

namespace floe {
namespace {

constexpr uint64_t kGb = 1'000'000'000;

// Qwen3-30B-A3B in Q4_0: 48 layers of 4 KV heads with 128 values each.
MemoryNeeds qwen() {
  MemoryNeeds needs;
  needs.weight_bytes = 17 * kGb;
  needs.slot_bytes = 98'304;
  needs.slot_bytes_q8_0 = 52'224;
  needs.model_context = 262'144;
  needs.workspace_bytes = [](uint32_t context) { return kGb / 2 + uint64_t{context} * 64; };
  return needs;
}

struct PlanCase {
  const char* name;
  MemoryRequest request;
  MemoryBudget budget;
  uint32_t context;      // 0: an error
  uint64_t n_kv_tokens;  // or
  const char* said;      // in the note or the error; "" for no note
};

MemoryRequest asks(uint32_t context, uint32_t n_sequences, uint64_t n_kv_tokens = 0) {
  MemoryRequest request;
  request.context = context;
  request.n_sequences = n_sequences;
  request.n_kv_tokens = n_kv_tokens;
  return request;
}

TEST(MemoryPlan, ChoosesWhatFitsOrSaysWhatHelps) {
  const PlanCase cases[] = {
      {"all of it fits", asks(0, 4), {200 * kGb, 0}, 262'144, 4 * 262'144, ""},
      {"the whole context for one, shared by four",
       asks(0, 4),
       {60 * kGb, 0},
       262'144,
       371'126,
       "context 262144, a cache of 371126 tokens that 4 sequences share: what fits in 54.0 GB "
       "(weights 17.0, KV cache of 371126 tokens 36.5, workspace 0.5); "
       "-c sets another"},
      {"less than the model's",
       asks(0, 4),
       {24 * kGb, 0},
       41'472,
       41'680,
       "context 41472 of the model's 262144 tokens"},
      {"one sequence",
       asks(0, 1),
       {24 * kGb, 0},
       41'472,
       41'472,
       "context 41472 of the model's 262144 tokens: what fits in 21.6 GB"},
      {"--mem is taken as it is",
       asks(0, 1),
       {100 * kGb, 24 * kGb},
       66'048,
       66'048,
       "what fits in 24.0 GB"},
      {"--mem beyond what there is",
       asks(0, 1),
       {24 * kGb, 100 * kGb},
       66'048,
       66'048,
       "what fits in 24.0 GB"},
      {"a cache of a given size", asks(0, 4, 10'000), {24 * kGb, 0}, 262'144, 10'000, ""},
      {"-c that fits", asks(8192, 4), {24 * kGb, 0}, 8192, 32'768, ""},
      {"-c beyond the model's", asks(1 << 20, 1), {200 * kGb, 0}, 262'144, 262'144, ""},
      {"-c that does not fit",
       asks(32'768, 4),
       {25 * kGb, 0},
       0,
       0,
       "needs 30.4 GB (weights 17.0, KV cache of 131072 tokens 12.9, workspace 0.5), 25.0 GB are "
       "available: -c 18944, -np 2 or -ctk q8_0 -ctv q8_0 would fit"},
      {"-c above --mem",
       asks(32'768, 1),
       {100 * kGb, 18 * kGb},
       0,
       0,
       "18.0 GB are what --mem allows: -c 4864 or --mem 20.8 would fit"},
      {"the weights alone are too large",
       asks(0, 4),
       {16 * kGb, 0},
       0,
       0,
       "needs 17.6 GB (weights 17.0, KV cache of 512 tokens 0.1, workspace 0.5), 16.0 GB are "
       "available: a file with fewer bits per weight might fit"},
      {"nobody knows what there is", asks(0, 4), {0, 0}, 262'144, 4 * 262'144, ""},
  };
  for (const PlanCase& c : cases) {
    const auto plan = plan_memory(qwen(), c.request, c.budget);
    if (c.context == 0) {
      ASSERT_FALSE(plan.ok()) << c.name;
      EXPECT_EQ(plan.error().kind, ErrorKind::memory) << c.name;
      EXPECT_NE(plan.error().message.find(c.said), std::string::npos)
          << c.name << ": " << plan.error().message;
      continue;
    }
    ASSERT_TRUE(plan.ok()) << c.name << ": " << plan.error().message;
    EXPECT_EQ(plan->context, c.context) << c.name;
    EXPECT_EQ(plan->n_kv_tokens, c.n_kv_tokens) << c.name;
    EXPECT_NE(plan->note.find(c.said), std::string::npos) << c.name << ": " << plan->note;
    EXPECT_EQ(plan->note.empty(), *c.said == '\0') << c.name << ": " << plan->note;
  }
}

// Whatever is chosen fits, and the next larger context would not.
TEST(MemoryPlan, IsTheLargestThatFits) {
  const MemoryNeeds needs = qwen();
  for (uint64_t available = 20 * kGb; available < 60 * kGb; available += 700'000'001) {
    const auto plan = plan_memory(needs, asks(0, 3), {available, 0});
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    const auto total = [&](uint64_t context, uint64_t n_tokens) {
      return needs.weight_bytes + needs.workspace_bytes(static_cast<uint32_t>(context)) +
             n_tokens * needs.slot_bytes;
    };
    const uint64_t limit = available / 10 * 9;
    EXPECT_LE(total(plan->context, plan->n_kv_tokens), limit);
    EXPECT_LE(plan->context, plan->n_kv_tokens);
    if (plan->context < needs.model_context) {
      EXPECT_GT(total(plan->context + 256, plan->context + 256), limit);
    }
  }
}

TEST(MemoryPlan, ADrafterIsNamed) {
  MemoryNeeds needs = qwen();
  needs.drafter_bytes = 2 * kGb;
  const auto plan = plan_memory(needs, asks(0, 1), {18 * kGb, 0});
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("drafters 2.0"), std::string::npos);
  EXPECT_NE(plan.error().message.find("or no drafter"), std::string::npos);
}

// What --cache-ram asks for, in bytes, beside -c 8192 of one sequence: 17 + 0.5 + 0.8 GB.
TEST(MemoryPlan, PrefixesGetWhatIsAskedForOrAShareOfWhatIsLeft) {
  constexpr uint64_t kAuto = MemoryRequest::kOfWhatIsLeft;
  constexpr uint64_t kMost = MemoryRequest::kMostPrefixBytes;
  struct Case {
    const char* name;
    uint64_t prefix_bytes;
    MemoryBudget budget;
    uint64_t n_bytes;  // at most, and nearly
    const char* fault;
  };
  const Case cases[] = {
      {"nothing", 0, {100 * kGb, 0}, 0, nullptr},
      {"what is asked for", 3 * kGb, {100 * kGb, 0}, 3 * kGb, nullptr},
      {"half of what is left to others as well", kAuto, {24 * kGb, 0}, 1'647'000'000, nullptr},
      {"half of what --mem leaves", kAuto, {100 * kGb, 24 * kGb}, 2'847'000'000, nullptr},
      {"not more than is of use", kAuto, {200 * kGb, 0}, kMost, nullptr},
      {"nothing is left", kAuto, {19 * kGb, 0}, 0, nullptr},
      {"nobody knows what there is", kAuto, {0, 0}, 0, nullptr},
      {"too much",
       8 * kGb,
       {24 * kGb, 0},
       0,
       "prefix cache 8.0, workspace 0.5), 24.0 GB are available: --cache-ram 5430 would fit"},
  };
  for (const Case& c : cases) {
    MemoryRequest request = asks(8192, 1);
    request.prefix_bytes = c.prefix_bytes;
    const auto plan = plan_memory(qwen(), request, c.budget);
    ASSERT_EQ(plan.ok(), c.fault == nullptr) << c.name;
    if (!plan.ok()) {
      EXPECT_NE(plan.error().message.find(c.fault), std::string::npos) << plan.error().message;
      continue;
    }
    const uint64_t n_bytes = plan->n_prefix_tokens * qwen().slot_bytes;
    EXPECT_LE(n_bytes, c.n_bytes) << c.name;
    EXPECT_GE(n_bytes + 5'000'000, c.n_bytes) << c.name;
    EXPECT_EQ(plan->n_prefix_tokens % 32, 0u) << c.name;
    EXPECT_EQ(plan->cache_bytes, (plan->n_kv_tokens + plan->n_prefix_tokens) * qwen().slot_bytes);
  }
  // A context that is chosen leaves what was asked for.
  MemoryRequest request = asks(0, 1);
  request.prefix_bytes = 2 * kGb;
  const auto plan = plan_memory(qwen(), request, {24 * kGb, 0});
  ASSERT_TRUE(plan.ok());
  EXPECT_LT(plan->context, 41'472u - 20'000u);
  // Slots of a tiny model: no more than there are numbers for.
  MemoryNeeds tiny = qwen();
  tiny.slot_bytes = 1;
  request = asks(8192, 1);
  request.prefix_bytes = 20 * kGb;
  EXPECT_LT(plan_memory(tiny, request, {100 * kGb, 0})->n_prefix_tokens + 8192, UINT32_MAX);
}

// A verb whose options have other names, or none.
TEST(MemoryPlan, AdviceNamesTheVerbsOptions) {
  MemoryRequest request = asks(32'768, 4);
  request.context_option = "-npp";
  request.sequences_option = "-npl";
  auto plan = plan_memory(qwen(), request, {25 * kGb, 0});
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("-npp 18944, -npl 2 or"), std::string::npos)
      << plan.error().message;
  request.context_option = request.sequences_option = nullptr;
  plan = plan_memory(qwen(), request, {25 * kGb, 0});
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("available: -ctk q8_0 -ctv q8_0 would fit"),
            std::string::npos)
      << plan.error().message;
}

}  // namespace
}  // namespace floe
