// What is found out from a model's header is what the loaded model takes.
#include "model/model_needs.h"

#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "repo_path.h"

namespace floe {
namespace {

TEST(ModelNeeds, AreThoseOfTheLoadedModel) {
  const std::string path = repo_path("models/floe-nano.gguf");
  const auto needs = ModelNeeds::of(path, {});
  ASSERT_TRUE(needs.ok()) << needs.error().message;
  ThreadPool pool(1);
  const auto model = load_model(path, {}, pool);
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(needs->info().weight_bytes, (*model)->info().weight_bytes);
  EXPECT_EQ(needs->info().weight_bytes, (*model)->weights().size());
  EXPECT_EQ(needs->info().context_length, (*model)->info().context_length);
  for (const KvTypes types : {KvTypes(KvType::F16), KvTypes(KvType::F32), KvTypes(KvType::Q8_0),
                              KvTypes(KvType::Q8_0, KvType::F16)}) {
    EXPECT_EQ(needs->cache_bytes(types).per_slot, (*model)->cache_bytes(types).per_slot);
    EXPECT_EQ(needs->cache_bytes(types).per_state, (*model)->cache_bytes(types).per_state);
  }
}

// The plan searches for the longest context by halving: more must never take less.
TEST(ModelNeeds, WorkspaceRisesWithTheLimits) {
  const auto needs = ModelNeeds::of(repo_path("models/floe-nano.gguf"), {});
  ASSERT_TRUE(needs.ok()) << needs.error().message;
  uint64_t last = 0;
  for (uint32_t context = 1; context <= 4096; context = context * 3 + 1) {
    const uint64_t n_bytes = needs->workspace_bytes({64, 8, context}, 2);
    EXPECT_GE(n_bytes, last) << context;
    EXPECT_GE(needs->workspace_bytes({65, 8, context}, 2), n_bytes);
    EXPECT_GE(needs->workspace_bytes({64, 9, context}, 2), n_bytes);
    EXPECT_GE(needs->workspace_bytes({64, 8, context}, 3), n_bytes);
    last = n_bytes;
  }
  EXPECT_GT(last, 0u);
}

TEST(ModelNeeds, AFileThatIsNoModelIsNamed) {
  const auto needs = ModelNeeds::of("/nothere.gguf", {});
  ASSERT_FALSE(needs.ok());
  EXPECT_EQ(needs.error().kind, ErrorKind::model);
}

}  // namespace
}  // namespace floe
