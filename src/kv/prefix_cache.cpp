#include "kv/prefix_cache.h"

#include <algorithm>
#include <bit>
#include <random>

#include "base/error.h"
#include "base/rng.h"

namespace floe {

namespace {

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

std::span<const int32_t> tokens_of(std::span<const int32_t> tokens, uint32_t block) {
  return tokens.subspan(size_t{block} * kKvBlockTokens, kKvBlockTokens);
}

}  // namespace

PrefixCache::PrefixCache(KvBlockPool& pool, bool keeps, uint32_t hash_bits)
    : pool_(pool),
      keeps_(keeps),
      hash_mask_(hash_bits >= 64 ? UINT64_MAX : (uint64_t{1} << hash_bits) - 1),
      seed_(random_seed()),
      entries_(pool.n_blocks()),
      buckets_(std::bit_ceil(std::max(pool.n_blocks(), 1u)), kNone) {}

uint64_t PrefixCache::first_hash(const PrefixNamespace& space) const {
  return mix64(mix64(mix64(seed_ ^ space.key[0]) ^ space.key[1]) ^ space.request) & hash_mask_;
}

uint64_t PrefixCache::next_hash(uint64_t hash, std::span<const int32_t> block_tokens) const {
  hash ^= seed_;
  for (size_t i = 0; i < block_tokens.size(); i += 2) {
    hash = mix64(hash ^ (uint64_t{static_cast<uint32_t>(block_tokens[i])} << 32 |
                         static_cast<uint32_t>(block_tokens[i + 1])));
  }
  return hash & hash_mask_;
}

KvBlockId PrefixCache::child(const PrefixNamespace& space, KvBlockId parent, uint64_t hash,
                             std::span<const int32_t> block_tokens) const {
  KvBlockId block = buckets_[hash & (buckets_.size() - 1)];
  for (; block != kNone; block = entries_[block].next) {
    const Entry& entry = entries_[block];
    if (entry.hash == hash && entry.parent == parent && entry.space == space &&
        std::equal(block_tokens.begin(), block_tokens.end(), entry.tokens.begin())) {
      break;
    }
  }
  return block;
}

PrefixCache::Match PrefixCache::find(const PrefixNamespace& space, std::span<const int32_t> tokens,
                                     uint32_t max_blocks) const {
  Match match;
  KvBlockId parent = kNone;
  uint64_t hash = first_hash(space);
  while (match.n_blocks < max_blocks) {
    const std::span<const int32_t> block_tokens = tokens_of(tokens, match.n_blocks);
    hash = next_hash(hash, block_tokens);
    parent = child(space, parent, hash, block_tokens);
    if (parent == kNone) break;
    ++match.n_blocks;
    match.n_cached_blocks += pool_.cached(parent) ? 1 : 0;
  }
  return match;
}

PrefixChain PrefixCache::share(const PrefixNamespace& space, std::span<const int32_t> tokens,
                               uint32_t max_blocks, KvBlockTable& table) const {
  PrefixChain chain;
  chain.space = space;
  chain.hash = first_hash(space);
  while (chain.n_blocks < max_blocks) {
    const std::span<const int32_t> block_tokens = tokens_of(tokens, chain.n_blocks);
    const uint64_t hash = next_hash(chain.hash, block_tokens);
    const KvBlockId parent = chain.n_blocks == 0 ? kNone : chain.last;
    const KvBlockId block = child(space, parent, hash, block_tokens);
    if (block == kNone) break;
    table.share({&block, 1});
    chain.last = block;
    chain.hash = hash;
    ++chain.n_blocks;
  }
  return chain;
}

void PrefixCache::extend(PrefixChain& chain, std::span<const int32_t> tokens, KvBlockTable& table) {
  const uint32_t n_sealed = table.n_sealed() / kKvBlockTokens;
  while (chain.n_blocks < n_sealed && !chain.is_closed) {
    const std::span<const int32_t> block_tokens = tokens_of(tokens, chain.n_blocks);
    const uint64_t hash = next_hash(chain.hash, block_tokens);
    const KvBlockId parent = chain.n_blocks == 0 ? kNone : chain.last;
    const KvBlockId own = table.blocks()[chain.n_blocks];
    KvBlockId block = child(chain.space, parent, hash, block_tokens);
    if (block == kNone) {
      block = own;
      Entry& entry = entries_[block];
      FLOE_CHECK(!entry.is_known);
      std::copy(block_tokens.begin(), block_tokens.end(), entry.tokens.begin());
      entry.space = chain.space;
      entry.hash = hash;
      entry.parent = parent;
      entry.n_children = 0;
      entry.next = bucket(hash);
      entry.is_known = true;
      bucket(hash) = block;
      if (parent != kNone) ++entries_[parent].n_children;
      pool_.keep(block, keeps_ && chain.space.stays(), *this);
    } else if ((pool_.written(own) & ~pool_.written(block)) == 0) {
      table.replace(chain.n_blocks, block);
    } else {
      chain.is_closed = true;
      break;
    }
    chain.last = block;
    chain.hash = hash;
    ++chain.n_blocks;
  }
}

void PrefixCache::forget_from(PrefixChain& chain, uint32_t first_block, const KvBlockTable& table) {
  chain.is_closed = true;
  for (uint32_t i = chain.n_blocks; i > first_block; --i) {
    const KvBlockId block = table.blocks()[i - 1];
    if (entries_[block].n_children != 0 || pool_.n_references(block) != 1) return;
    pool_.unkeep(block);
    chain.n_blocks = i - 1;
  }
}

void PrefixCache::forget(KvBlockId block) {
  Entry& entry = entries_[block];
  FLOE_CHECK(entry.is_known && entry.n_children == 0);
  KvBlockId* link = &bucket(entry.hash);
  while (*link != block) link = &entries_[*link].next;
  *link = entry.next;
  if (entry.parent != kNone) --entries_[entry.parent].n_children;
  entry.is_known = false;
}

void PrefixCache::audit() const {
  std::vector<uint32_t> n_children(entries_.size(), 0);
  for (KvBlockId block = 0; block < entries_.size(); ++block) {
    const Entry& entry = entries_[block];
    if (!entry.is_known) continue;
    FLOE_CHECK(pool_.sealed(block) || pool_.cached(block));
    if (entry.parent == kNone) continue;
    FLOE_CHECK(entries_[entry.parent].is_known && entries_[entry.parent].space == entry.space);
    // Whoever refers to a block refers to those before it.
    FLOE_CHECK(pool_.cached(block) || pool_.sealed(entry.parent));
    ++n_children[entry.parent];
  }
  std::vector<bool> is_evicted(entries_.size(), false);  // were all cached blocks evicted in order
  pool_.each_cached([&](KvBlockId block) {
    FLOE_CHECK(entries_[block].is_known);
    const KvBlockId parent = entries_[block].parent;
    FLOE_CHECK(parent == kNone || !is_evicted[parent]);
    is_evicted[block] = true;
  });
  size_t n_in_buckets = 0;
  for (const KvBlockId first : buckets_) {
    for (KvBlockId block = first; block != kNone; block = entries_[block].next) {
      FLOE_CHECK(entries_[block].is_known && ++n_in_buckets <= entries_.size());
    }
  }
  size_t n_known = 0;
  for (KvBlockId block = 0; block < entries_.size(); ++block) {
    n_known += entries_[block].is_known ? 1 : 0;
    FLOE_CHECK(!entries_[block].is_known || entries_[block].n_children == n_children[block]);
  }
  FLOE_CHECK(n_known == n_in_buckets);
}

}  // namespace floe
