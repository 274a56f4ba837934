#include "kv/host_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace floe {
namespace {

// Two layers that keep vectors, one of them an odd number of values, and one that keeps a state.
std::vector<KvLayerSpec> layers() {
  return {
      {{{2, 4, &KvTypes::keys}, {2, 6, &KvTypes::values}}}, {{{1, 7, &KvTypes::keys}}}, {{}, 24}};
}

std::unique_ptr<HostKvCache> make(uint32_t n_slots, KvTypes types, uint32_t n_states = 0) {
  const std::vector<KvLayerSpec> specs = layers();
  auto made = HostKvCache::create(specs, {n_slots, types, n_states});
  EXPECT_TRUE(made.ok());
  return std::move(made).value();
}

// Bytes that tell layer, plane, head and `mark` (a slot's position in its block) apart.
void fill_slot(HostKvCache& cache, uint32_t slot, uint32_t mark) {
  const std::vector<KvLayerSpec> specs = layers();
  for (uint32_t layer = 0; layer < specs.size(); ++layer) {
    for (uint32_t plane = 0; plane < KvLayerSpec::kMaxPlanes; ++plane) {
      const KvPlaneSpec& spec = specs[layer].planes[plane];
      if (spec.dim == 0) continue;
      const size_t n_bytes = kv_vector_bytes(cache.types().*spec.type, spec.dim);
      for (uint32_t head = 0; head < spec.n_heads; ++head) {
        const uint32_t value = mark * 16 + layer * 8 + plane * 4 + head;
        std::memset(cache.vector(layer, plane, head, slot), static_cast<int>(value), n_bytes);
      }
    }
  }
}

TEST(HostKvCache, SizesAreThoseOfTheLayers) {
  const std::vector<KvLayerSpec> specs = layers();
  struct Case {
    KvTypes types;
    uint64_t per_slot;
  };
  const Case cases[] = {
      {KvType::F32, (8 + 12 + 7) * 4},
      {KvType::F16, (8 + 12 + 7) * 2},
      {KvType::Q8_0, 5 * 34},
      {{KvType::F16, KvType::F32}, (8 + 7) * 2 + 12 * 4},
  };
  for (const Case& c : cases) {
    const KvCacheBytes bytes = HostKvCache::bytes_of(specs, c.types);
    EXPECT_EQ(bytes.per_slot, c.per_slot);
    EXPECT_EQ(bytes.per_state, 24u);
    const auto cache = make(64, c.types, 3);
    EXPECT_EQ(cache->size_bytes(), 64 * c.per_slot + 3 * 24);
    EXPECT_EQ(cache->block_bytes(), 32 * c.per_slot);
  }
  // Where no layer keeps a state there are none, whatever was asked for.
  auto stateless = HostKvCache::create(std::span(specs).first(2), {64, KvType::F16, 5});
  ASSERT_TRUE(stateless.ok());
  EXPECT_EQ((*stateless)->n_states(), 0u);
  EXPECT_EQ((*stateless)->state_bytes(), 0u);
}

// A block that leaves a cache and comes back elsewhere, in a cache of another size, is the same
// block: its bytes do not say where it lay, and no other slot changes.
TEST(HostKvCache, ABlocksBytesDoNotDependOnItsPlace) {
  for (const KvTypes types :
       {KvTypes(KvType::F32), KvTypes(KvType::F16), KvTypes(KvType::Q8_0, KvType::F16)}) {
    const auto from = make(96, types);
    const auto to = make(64, types);
    for (uint32_t slot = 0; slot < 96; ++slot) {
      fill_slot(*from, slot, slot < 64 ? 100 : slot - 64);
    }
    for (uint32_t slot = 0; slot < 64; ++slot) fill_slot(*to, slot, slot < 32 ? 0 : 200);
    std::vector<std::byte> bytes(from->block_bytes());
    EXPECT_TRUE(from->read_block(2, bytes).ok());
    EXPECT_TRUE(to->write_block(1, bytes).ok());
    std::vector<std::byte> again(to->block_bytes());
    EXPECT_TRUE(to->read_block(1, again).ok());
    EXPECT_EQ(bytes, again);
    for (uint32_t i = 0; i < 32; ++i) {
      EXPECT_EQ(std::memcmp(from->vector(0, 1, 1, 64 + i), to->vector(0, 1, 1, 32 + i),
                            to->plane(0, 1).stride_bytes),
                0);
      EXPECT_EQ(*from->vector(1, 0, 0, 64 + i), *to->vector(1, 0, 0, 32 + i));
    }
    EXPECT_EQ(*to->vector(1, 0, 0, 31), std::byte{8}) << "another block was written";
  }
}

class HostKvCacheStates : public testing::Test {
 protected:
  // What a recurrent layer does: the state becomes a function of itself and the token.
  void take_token(uint32_t state, uint8_t token) {
    auto* bytes = reinterpret_cast<uint8_t*>(cache_->state(2, state));
    for (uint32_t i = 0; i < 24; ++i) bytes[i] = static_cast<uint8_t>(bytes[i] * 3 + token + i);
    cache_->advance_state(state, 1);
  }
  void take(uint32_t state, const std::string& tokens) {
    for (const char token : tokens) take_token(state, static_cast<uint8_t>(token));
  }
  std::vector<std::byte> bytes_of(uint32_t state) const {
    std::vector<std::byte> bytes(cache_->state_bytes());
    EXPECT_TRUE(cache_->read_state(state, bytes).ok());
    return bytes;
  }

  std::unique_ptr<HostKvCache> cache_ = make(32, KvType::F16, 3);
};

// Guesses that turn out wrong: back to the snapshot, then the right tokens.
TEST_F(HostKvCacheStates, ASnapshotTakesBackWhatCameAfterIt) {
  take(0, "abc");
  cache_->copy_state(0, 1);
  take(0, "xy");
  EXPECT_EQ(cache_->state_tokens(0), 5u);
  EXPECT_EQ(cache_->state_tokens(1), 3u);
  cache_->copy_state(1, 0);
  take(0, "de");
  take(2, "abcde");
  EXPECT_EQ(bytes_of(0), bytes_of(2));
  EXPECT_EQ(cache_->state_tokens(0), 5u);
}

TEST_F(HostKvCacheStates, AStateGoesBackToNoPositionButItsStart) {
  take(0, "abc");
  const std::vector<std::byte> before = bytes_of(0);
  for (const uint32_t n_tokens : {1u, 2u, 4u, 1000u}) {
    EXPECT_FALSE(cache_->truncate_state(0, n_tokens)) << n_tokens;
  }
  EXPECT_TRUE(cache_->truncate_state(0, 3));
  EXPECT_EQ(bytes_of(0), before);
  EXPECT_EQ(cache_->state_tokens(0), 3u);
  EXPECT_TRUE(cache_->truncate_state(0, 0));
  EXPECT_EQ(bytes_of(0), bytes_of(2)) << "not as at the start";
  EXPECT_EQ(cache_->state_tokens(0), 0u);
}

TEST_F(HostKvCacheStates, AStateGoesOnInAnotherCache) {
  take(0, "abc");
  auto other = make(64, KvType::F16, 2);
  EXPECT_TRUE(other->write_state(1, cache_->state_tokens(0), bytes_of(0)).ok());
  EXPECT_EQ(other->state_tokens(1), 3u);
  take(0, "d");
  const std::vector<std::byte> here = bytes_of(0);
  cache_.swap(other);
  take(1, "d");
  EXPECT_EQ(bytes_of(1), here);
}

TEST_F(HostKvCacheStates, WhatIsOutsideStopsTheProcess) {
  std::vector<std::byte> bytes(23);
  EXPECT_DEATH(cache_->state_tokens(3), "n_states");
  EXPECT_DEATH((void)cache_->read_state(0, bytes), "state_bytes");
  EXPECT_DEATH(cache_->copy_state(0, 3), "n_states");
  bytes.resize(cache_->block_bytes());
  EXPECT_DEATH((void)cache_->read_block(1, bytes), "n_slots");
  bytes.pop_back();
  EXPECT_DEATH((void)cache_->write_block(0, bytes), "block_bytes");
}

}  // namespace
}  // namespace floe
