#include "kv/prefix_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <vector>

#include "base/rng.h"

namespace floe {
namespace {

using Tokens = std::vector<int32_t>;

Tokens counting(uint32_t n, int32_t first = 0) {
  Tokens tokens(n);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// A sequence that has computed its tokens, and what it leaves behind.
struct Writer {
  Writer(PrefixCache& cache, KvBlockPool& pool, KvOwnerId owner, Tokens text,
         PrefixNamespace space = {})
      : cache(cache), tokens(std::move(text)), table(pool, owner, 1000) {
    const auto n_whole = static_cast<uint32_t>(tokens.size()) / kKvBlockTokens;
    chain = cache.share(space, tokens, n_whole, table);
    n_found = chain.n_blocks;
  }
  // Computes the tokens that it did not find.
  void compute(std::span<const uint32_t> n_written = {}) {
    const auto n = static_cast<uint32_t>(tokens.size());
    ASSERT_TRUE(table.grow(n));
    table.seal_full(n, n_written);
    cache.extend(chain, tokens, table);
  }
  PrefixCache& cache;
  Tokens tokens;
  KvBlockTable table;
  PrefixChain chain;
  uint32_t n_found = 0;
};

TEST(PrefixCache, FindsTheLongestKnownBeginning) {
  KvBlockPool pool(16);
  PrefixCache cache(pool, true);
  {
    Writer first(cache, pool, 1, counting(100));
    EXPECT_EQ(first.n_found, 0u);
    first.compute();
    EXPECT_EQ(first.chain.n_blocks, 3u);
  }
  EXPECT_EQ(pool.n_used(), 0u);
  EXPECT_EQ(pool.n_cached(), 3u) << "the last four tokens are no whole block";

  Tokens forked = counting(100);
  forked[40] = 7;  // in the second block
  const struct {
    const char* name;
    Tokens tokens;
    uint32_t max_blocks;
    uint32_t n_found;
  } cases[] = {
      {"the same", counting(100), 3, 3},
      {"longer", counting(200), 6, 3},
      {"as far as is asked", counting(100), 2, 2},
      {"a beginning", counting(70), 2, 2},
      {"less than a block", counting(20), 0, 0},
      {"another block in between", forked, 3, 1},
      {"another first token", counting(100, 1), 3, 0},
      // The second block's tokens, at the beginning.
      {"the same tokens elsewhere", counting(64, 32), 2, 0},
  };
  for (const auto& c : cases) {
    const PrefixCache::Match match = cache.find({}, c.tokens, c.max_blocks);
    EXPECT_EQ(match.n_blocks, c.n_found) << c.name;
    EXPECT_EQ(match.n_cached_blocks, c.n_found) << c.name;
  }
  EXPECT_EQ(cache.find({{1, 0}, 0}, counting(100), 3).n_blocks, 0u) << "another namespace";
  EXPECT_EQ(cache.find({{0, 1}, 0}, counting(100), 3).n_blocks, 0u) << "another namespace";
  EXPECT_EQ(cache.find({{0, 0}, 9}, counting(100), 3).n_blocks, 0u) << "a request of its own";
  cache.audit();
}

TEST(PrefixCache, BlocksAreSharedWithoutACopyAndByMany) {
  KvBlockPool pool(16);
  PrefixCache cache(pool, true);
  Writer first(cache, pool, 1, counting(96));
  first.compute();
  Writer second(cache, pool, 2, counting(96));
  EXPECT_EQ(second.n_found, 3u) << "while the first one lives";
  EXPECT_TRUE(std::ranges::equal(first.table.blocks(), second.table.blocks()));
  EXPECT_EQ(pool.n_used(), 3u);
  first.table.release_all();
  EXPECT_EQ(pool.n_used(), 3u);
  second.table.release_all();
  EXPECT_EQ(pool.n_used(), 0u);
  EXPECT_EQ(pool.n_cached(), 3u);
  cache.audit();
}

TEST(PrefixCache, WhoComputesTheSameTwiceTakesWhatIsThere) {
  KvBlockPool pool(16);
  PrefixCache cache(pool, true);
  // Both begin before either has anything to find.
  Writer first(cache, pool, 1, counting(70));
  Writer second(cache, pool, 2, counting(96));
  first.compute();
  second.compute();
  EXPECT_EQ(second.table.blocks()[1], first.table.blocks()[1]);
  EXPECT_EQ(second.table.slots()[33], first.table.slots()[33]);
  EXPECT_EQ(second.chain.n_blocks, 3u) << "its third block is found too";
  EXPECT_EQ(pool.n_used(), 4u);
  cache.audit();
}

TEST(PrefixCache, LeastRecentlyUsedBlocksGiveWayTheLastOnesFirst) {
  KvBlockPool pool(6);
  PrefixCache cache(pool, true);
  const Tokens old = counting(96), recent = counting(96, 1000);
  Writer(cache, pool, 1, old).compute();
  Writer(cache, pool, 2, recent).compute();
  EXPECT_EQ(pool.n_available(), 6u);
  { Writer again(cache, pool, 3, old); }  // it is used: now the other one is older
  KvBlockTable live(pool, 4, 1000);
  ASSERT_TRUE(live.grow(64));
  EXPECT_EQ(pool.n_evictions(), 2u);
  EXPECT_EQ(cache.find({}, old, 3).n_blocks, 3u);
  EXPECT_EQ(cache.find({}, recent, 3).n_blocks, 1u) << "no hole: what is left is a beginning";
  ASSERT_TRUE(live.grow(6 * 32));
  EXPECT_EQ(cache.find({}, old, 3).n_blocks, 0u);
  EXPECT_FALSE(live.grow(7 * 32));
  live.release_all();
  EXPECT_EQ(pool.n_free(), 6u);
  cache.audit();
}

TEST(PrefixCache, WhatDoesNotStayGoesWithItsLastOwner) {
  struct Case {
    bool keeps;
    PrefixNamespace space;
    uint32_t n_cached;
  };
  for (const Case& c : {Case{true, {}, 2}, Case{false, {}, 0}, Case{true, {{}, 7}, 0}}) {
    KvBlockPool pool(8);
    PrefixCache cache(pool, c.keeps);
    Writer first(cache, pool, 1, counting(64), c.space);
    first.compute();
    Writer sibling(cache, pool, 2, counting(64), c.space);
    EXPECT_EQ(sibling.n_found, 2u) << "siblings share in any case";
    first.table.release_all();
    EXPECT_EQ(pool.n_used(), 2u);
    sibling.table.release_all();
    EXPECT_EQ(pool.n_cached(), c.n_cached);
    EXPECT_EQ(pool.n_available(), 8u);
    cache.audit();
  }
}

TEST(PrefixCache, BlocksRememberWhoWroteInThem) {
  KvBlockPool pool(16);
  PrefixCache cache(pool, true);
  const uint32_t n_written[] = {96, 50, 64};  // of writers 0, 1 and 2
  Writer first(cache, pool, 1, counting(96));
  first.compute(n_written);
  Writer second(cache, pool, 2, counting(96));
  EXPECT_EQ(second.table.n_written(0), 96u);
  EXPECT_EQ(second.table.n_written(1), 32u);
  EXPECT_EQ(second.table.n_written(2), 64u);
  EXPECT_EQ(second.table.n_written(3), 0u);
}

TEST(PrefixCache, NobodyGivesUpWhatADrafterWrote) {
  KvBlockPool pool(16);
  PrefixCache cache(pool, true);
  Writer first(cache, pool, 1, counting(64));
  Writer second(cache, pool, 2, counting(64));
  first.compute();
  const uint32_t n_written[] = {64};
  second.compute(n_written);
  EXPECT_NE(second.table.blocks()[0], first.table.blocks()[0]);
  EXPECT_EQ(second.table.n_written(0), 64u);
  EXPECT_TRUE(second.chain.is_closed);
  second.table.release_all();
  first.table.release_all();
  EXPECT_EQ(pool.n_cached(), 2u);
  cache.audit();
}

TEST(PrefixCache, WhatIsNotTrustedIsNotFound) {
  KvBlockPool pool(16);
  PrefixCache cache(pool, true);
  Writer(cache, pool, 1, counting(32)).compute();
  Writer bad(cache, pool, 2, counting(128));
  EXPECT_EQ(bad.n_found, 1u);
  bad.compute();
  Writer shares(cache, pool, 3, counting(64));
  cache.forget_from(bad.chain, bad.n_found, bad.table);
  EXPECT_EQ(cache.find({}, counting(128), 4).n_blocks, 2u) << "the second block is in use";
  bad.compute();
  EXPECT_EQ(cache.find({}, counting(128), 4).n_blocks, 2u) << "nothing more of it becomes known";
  bad.table.release_all();
  EXPECT_EQ(pool.n_used(), 2u);
  cache.audit();
}

// Random sequences over few tokens, so that beginnings meet. What a block was filled with is
// written down beside it; whoever finds a block must have computed the same. Few bits of hash, so
// that other blocks lie in the way.
TEST(PrefixCache, RandomUseNeverGivesAnothersBlock) {
  uint64_t n_found = 0, n_evictions = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Rng rng(seed);
    KvBlockPool pool(static_cast<uint32_t>(4 + rng.below(20)));
    PrefixCache cache(pool, rng.chance(0.8), rng.chance(0.7) ? 3 : 64);
    struct Content {
      PrefixNamespace space;
      Tokens prefix;
    };
    std::map<KvBlockId, Content> contents;
    std::vector<std::unique_ptr<Writer>> writers;
    for (KvOwnerId step = 1; step <= 150; ++step) {
      const uint64_t action = rng.below(4);
      if (action == 0 || writers.empty()) {
        Tokens tokens;
        for (uint64_t block = rng.below(6); block > 0; --block) {
          tokens.insert(tokens.end(), kKvBlockTokens, static_cast<int32_t>(rng.below(2)));
        }
        tokens.insert(tokens.end(), rng.below(30), 5);
        PrefixNamespace space;
        space.key[0] = rng.below(2);
        if (rng.chance(0.2)) space.request = step;
        writers.push_back(std::make_unique<Writer>(cache, pool, step, tokens, space));
        const Writer& w = *writers.back();
        n_found += w.n_found;
        for (uint32_t i = 0; i < w.n_found; ++i) {
          const Content& content = contents.at(w.table.blocks()[i]);
          EXPECT_TRUE(content.space == space);
          const auto end = tokens.begin() + (i + 1) * kKvBlockTokens;
          EXPECT_EQ(content.prefix, Tokens(tokens.begin(), end));
        }
      } else if (action == 1) {
        writers.erase(writers.begin() + static_cast<std::ptrdiff_t>(rng.below(writers.size())));
      } else {
        Writer& w = *writers[rng.below(writers.size())];
        const auto n = static_cast<uint32_t>(w.tokens.size());
        const auto upto = std::max(w.table.n_sealed(), static_cast<uint32_t>(rng.below(n + 1)));
        if (!w.table.grow(upto)) continue;
        for (uint32_t i = w.table.n_sealed() / kKvBlockTokens; i < upto / kKvBlockTokens; ++i) {
          contents[w.table.blocks()[i]] = {
              w.chain.space, Tokens(w.tokens.begin(), w.tokens.begin() + (i + 1) * kKvBlockTokens)};
        }
        const uint32_t n_written[] = {static_cast<uint32_t>(rng.below(upto + 1))};
        w.table.seal_full(upto, n_written);
        cache.extend(w.chain, w.tokens, w.table);
        if (rng.chance(0.05)) cache.forget_from(w.chain, w.n_found, w.table);
      }
      std::vector<uint32_t> references(pool.n_blocks(), 0);
      for (const auto& w : writers) {
        for (const KvBlockId block : w->table.blocks()) ++references[block];
      }
      pool.audit(references);
      cache.audit();
    }
    writers.clear();
    EXPECT_EQ(pool.n_used(), 0u);
    n_evictions += pool.n_evictions();
  }
  EXPECT_GT(n_found, 1000u);
  EXPECT_GT(n_evictions, 1000u);
}

}  // namespace
}  // namespace floe
