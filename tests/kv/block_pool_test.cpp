#include "kv/block_pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <memory>

#include "base/rng.h"
#include "kv/block_table.h"
#include "kv/host_cache.h"

namespace floe {
namespace {

TEST(KvBlockPool, GivesEveryBlockOnce) {
  KvBlockPool pool(5);
  std::vector<bool> seen(5, false);
  for (int i = 0; i < 5; ++i) {
    KvBlockId block = 99;
    ASSERT_TRUE(pool.allocate(7, block));
    ASSERT_LT(block, 5u);
    EXPECT_FALSE(seen[block]);
    seen[block] = true;
    EXPECT_TRUE(pool.writable_by(block, 7));
    EXPECT_FALSE(pool.writable_by(block, 8));
    EXPECT_FALSE(pool.sealed(block));
  }
  KvBlockId block = 99;
  EXPECT_FALSE(pool.allocate(7, block));
  EXPECT_EQ(pool.n_free(), 0u);
  pool.audit(std::vector<uint32_t>(5, 1));
  for (KvBlockId i = 0; i < 5; ++i) pool.release(i, 7);
  EXPECT_EQ(pool.n_free(), 5u);
  pool.audit(std::vector<uint32_t>(5, 0));
}

TEST(KvBlockPool, SealedBlocksAreSharedAndLiveUntilTheLastRelease) {
  KvBlockPool pool(2);
  KvBlockId block = 0;
  ASSERT_TRUE(pool.allocate(1, block));
  pool.seal(block, 1);
  EXPECT_TRUE(pool.sealed(block));
  EXPECT_FALSE(pool.writable_by(block, 1));
  pool.share(block);
  EXPECT_EQ(pool.n_references(block), 2u);
  pool.release(block, 1);
  EXPECT_EQ(pool.n_used(), 1u);
  pool.release(block, 2);
  EXPECT_EQ(pool.n_used(), 0u);
}

TEST(KvBlockPoolDeathTest, BreachesStopTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto with_block = [](auto breach) {
    KvBlockPool pool(2);
    KvBlockId block = 0;
    if (pool.allocate(1, block)) breach(pool, block);
  };
  EXPECT_DEATH(with_block([](KvBlockPool& pool, KvBlockId block) { pool.share(block); }), "sealed");
  EXPECT_DEATH(with_block([](KvBlockPool& pool, KvBlockId block) { pool.release(block, 2); }),
               "writer");
  EXPECT_DEATH(with_block([](KvBlockPool& pool, KvBlockId block) { pool.seal(block, 2); }),
               "writable_by");
  EXPECT_DEATH(with_block([](KvBlockPool& pool, KvBlockId block) {
                 pool.release(block, 1);
                 pool.release(block, 1);
               }),
               "n_references");
  EXPECT_DEATH(with_block([](KvBlockPool& pool, KvBlockId) { pool.release(2, 1); }), "n_blocks");
  // A leak and a holder that forgot to take its reference.
  EXPECT_DEATH(with_block([](KvBlockPool& pool, KvBlockId) {
                 pool.audit(std::vector<uint32_t>{0, 0});
               }),
               "references");
  EXPECT_DEATH(with_block([](KvBlockPool& pool, KvBlockId block) {
                 std::vector<uint32_t> references(2, 0);
                 references[block] = 2;
                 pool.audit(references);
               }),
               "references");
}

TEST(KvBlockPool, FreedBlocksArePoisoned) {
  const KvLayerSpec layer{
      {{2, 4, &KvTypes::keys}, {2, 4, &KvTypes::values}, {1, 3, &KvTypes::keys}}};
  for (const KvType type : {KvType::F32, KvType::F16, KvType::Q8_0}) {
    auto made = HostKvCache::create({&layer, 1}, {64, type});
    ASSERT_TRUE(made.ok());
    HostKvCache& cache = **made;
    KvBlockPool pool(2);
    pool.poison_on_free(cache);
    const auto is_nan = [&](uint32_t slot) {
      if (type == KvType::F32) {
        float value = 0.0f;
        std::memcpy(&value, cache.vector(0, 1, 1, slot), sizeof value);
        return std::isnan(value);
      }
      uint16_t bits = 0;
      std::memcpy(&bits, cache.vector(0, 1, 1, slot), sizeof bits);
      return (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0;
    };
    KvBlockId block = 0;
    ASSERT_TRUE(pool.allocate(1, block));
    const uint32_t slot = block * kKvBlockTokens + 5;
    EXPECT_TRUE(is_nan(slot)) << "poisoned from the start";
    std::memset(cache.vector(0, 1, 1, slot), 0, kv_vector_bytes(type, 4));
    EXPECT_FALSE(is_nan(slot));
    pool.seal(block, 1);
    pool.share(block);
    pool.release(block, 1);
    EXPECT_FALSE(is_nan(slot)) << "still referenced";
    pool.release(block, 2);
    EXPECT_TRUE(is_nan(slot));
  }
}

TEST(KvBlockTable, SlotsFollowTheBlocks) {
  KvBlockPool pool(4);
  KvBlockTable table(pool, 1, 100);
  EXPECT_TRUE(table.grow(33));
  EXPECT_EQ(table.n_blocks(), 2u);
  EXPECT_EQ(table.n_positions(), 64u);
  for (uint32_t p = 0; p < table.n_positions(); ++p) {
    EXPECT_EQ(table.slots()[p],
              table.blocks()[p / kKvBlockTokens] * kKvBlockTokens + p % kKvBlockTokens);
  }
  const uint32_t* data = table.slots().data();
  EXPECT_TRUE(table.grow(100));
  EXPECT_EQ(table.slots().data(), data) << "growing moved the slots";
  table.check_writable(0, 100);
}

TEST(KvBlockTable, GrowIsAllOrNothing) {
  KvBlockPool pool(3);
  KvBlockTable first(pool, 1, 200);
  KvBlockTable second(pool, 2, 200);
  EXPECT_TRUE(first.grow(40));
  EXPECT_FALSE(second.grow(64));
  EXPECT_EQ(second.n_blocks(), 0u);
  EXPECT_EQ(second.growable_tokens(), 32u);
  EXPECT_TRUE(second.grow(32));
  EXPECT_EQ(pool.n_free(), 0u);
  EXPECT_EQ(second.growable_tokens(), 32u);
  first.release_all();
  EXPECT_TRUE(second.grow(96));
}

TEST(KvBlockTable, TruncateGivesBackWholeBlocksBehind) {
  KvBlockPool pool(4);
  KvBlockTable table(pool, 1, 4 * kKvBlockTokens);
  ASSERT_TRUE(table.grow(2 * kKvBlockTokens + 5));
  table.seal_full(kKvBlockTokens);
  table.truncate(2 * kKvBlockTokens + 1);
  EXPECT_EQ(table.n_blocks(), 3u);
  table.truncate(2 * kKvBlockTokens);
  EXPECT_EQ(table.n_blocks(), 2u);
  EXPECT_EQ(table.n_positions(), 2 * kKvBlockTokens);
  EXPECT_EQ(table.n_sealed(), kKvBlockTokens);
  EXPECT_EQ(pool.n_free(), 2u);
  ASSERT_TRUE(table.grow(3 * kKvBlockTokens));
  table.check_writable(kKvBlockTokens, 3 * kKvBlockTokens);
}

TEST(KvBlockTable, SharedPrefixIsReadOnly) {
  KvBlockPool pool(6);
  KvBlockTable donor(pool, 1, 100);
  ASSERT_TRUE(donor.grow(80));
  donor.seal_full(79);
  EXPECT_EQ(donor.n_sealed(), 64u);
  KvBlockTable follower(pool, 2, 100);
  follower.share(donor.blocks().first(2));
  ASSERT_TRUE(follower.grow(80));
  EXPECT_EQ(follower.blocks()[0], donor.blocks()[0]);
  EXPECT_EQ(follower.blocks()[1], donor.blocks()[1]);
  EXPECT_NE(follower.blocks()[2], donor.blocks()[2]);
  EXPECT_EQ(pool.n_used(), 4u);
  follower.check_writable(64, 80);
  donor.release_all();
  EXPECT_EQ(pool.n_used(), 3u);
  EXPECT_EQ(pool.n_references(follower.blocks()[0]), 1u);
  EXPECT_FALSE(pool.writable_by(follower.blocks()[0], 2)) << "sealed stays sealed";
}

TEST(KvBlockTableDeathTest, WritesToForeignPositionsStopTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  KvBlockPool pool(6);
  KvBlockTable donor(pool, 1, 100);
  ASSERT_TRUE(donor.grow(80));
  donor.seal_full(64);
  EXPECT_DEATH(donor.check_writable(63, 65), "writable_by");
  EXPECT_DEATH(donor.check_writable(64, 97), "n_positions");
  KvBlockTable follower(pool, 2, 100);
  EXPECT_DEATH(follower.share(donor.blocks().first(3)), "sealed");
}

// Random tables against a plain count of who refers to what.
TEST(KvBlockTable, RandomUseKeepsTheAccount) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    KvBlockPool pool(static_cast<uint32_t>(1 + rng.below(12)));
    struct Holder {
      std::unique_ptr<KvBlockTable> table;
      uint32_t n_tokens = 0;
    };
    std::vector<Holder> holders;
    KvOwnerId next_owner = 1;
    for (int step = 0; step < 200; ++step) {
      const uint64_t action = rng.below(5);
      if (action == 0 || holders.empty()) {
        holders.push_back({std::make_unique<KvBlockTable>(pool, next_owner++, 300), 0});
        if (holders.size() > 1 && rng.chance(0.5)) {
          const Holder& donor = holders[rng.below(holders.size() - 1)];
          const uint32_t n_sealed = donor.table->n_sealed() / kKvBlockTokens;
          const auto n_shared = static_cast<uint32_t>(rng.below(n_sealed + 1));
          holders.back().table->share(donor.table->blocks().first(n_shared));
          holders.back().n_tokens = n_shared * kKvBlockTokens;
        }
      } else {
        const size_t index = rng.below(holders.size());
        Holder& holder = holders[index];
        if (action == 1) {
          holders.erase(holders.begin() + static_cast<std::ptrdiff_t>(index));
        } else {
          const uint32_t wanted =
              std::min<uint32_t>(300, holder.n_tokens + static_cast<uint32_t>(rng.below(50)));
          const bool can = wanted <= holder.table->growable_tokens();
          ASSERT_EQ(holder.table->grow(wanted), can);
          if (can) {
            holder.table->check_writable(holder.n_tokens, wanted);
            holder.n_tokens = wanted;
            holder.table->seal_full(wanted);
          }
        }
      }
      std::vector<uint32_t> references(pool.n_blocks(), 0);
      for (const Holder& holder : holders) {
        for (const KvBlockId block : holder.table->blocks()) ++references[block];
      }
      pool.audit(references);
    }
    holders.clear();
    EXPECT_EQ(pool.n_used(), 0u);
  }
}

}  // namespace
}  // namespace floe
