#include "kv/block_pool.h"

#include "base/error.h"

namespace floe {

KvBlockPool::KvBlockPool(uint32_t n_blocks) : blocks_(size_t{n_blocks} + 1) {
  free_.reserve(n_blocks);
  for (uint32_t i = n_blocks; i > 0; --i) free_.push_back(i - 1);
  blocks_[end()].previous = blocks_[end()].next = end();
}

void KvBlockPool::poison_on_free(KvCache& cache) {
  FLOE_CHECK(cache.n_slots() >= uint64_t{n_blocks()} * kKvBlockTokens);
  poisoned_cache_ = &cache;
  for (const KvBlockId block : free_) {
    cache.poison(block * kKvBlockTokens, (block + 1) * kKvBlockTokens);
  }
}

bool KvBlockPool::allocate(KvOwnerId owner, KvBlockId& block) {
  FLOE_CHECK(owner != 0);
  if (free_.empty()) {
    if (n_cached_ == 0) return false;
    const KvBlockId oldest = blocks_[end()].next;
    unlink(oldest);
    free(oldest);
    ++n_evictions_;
  }
  block = free_.back();
  free_.pop_back();
  FLOE_CHECK(blocks_[block].n_references == 0 && blocks_[block].writer == 0);
  blocks_[block].writer = owner;
  blocks_[block].n_references = 1;
  return true;
}

void KvBlockPool::seal(KvBlockId block, KvOwnerId owner, KvWriters written) {
  FLOE_CHECK(writable_by(block, owner));
  blocks_[block].writer = 0;
  blocks_[block].written = written;
}

KvWriters KvBlockPool::written(KvBlockId block) const {
  FLOE_CHECK(sealed(block) || cached(block));
  return blocks_[block].written;
}

void KvBlockPool::keep(KvBlockId block, bool stays, KvBlockFinder& finder) {
  FLOE_CHECK(sealed(block) && blocks_[block].finder == nullptr);
  blocks_[block].finder = &finder;
  blocks_[block].stays = stays;
}

void KvBlockPool::unkeep(KvBlockId block) {
  FLOE_CHECK(sealed(block) && blocks_[block].finder != nullptr);
  blocks_[block].finder->forget(block);
  blocks_[block].finder = nullptr;
  blocks_[block].stays = false;
}

void KvBlockPool::share(KvBlockId block) {
  FLOE_CHECK(sealed(block) || cached(block));
  if (blocks_[block].is_cached) unlink(block);
  ++blocks_[block].n_references;
}

void KvBlockPool::release(KvBlockId block, KvOwnerId owner) {
  FLOE_CHECK(block < n_blocks());
  Block& state = blocks_[block];
  FLOE_CHECK(state.n_references > 0);  // a second release of the same reference ends here
  FLOE_CHECK(state.writer == 0 || (state.writer == owner && state.n_references == 1));
  if (--state.n_references > 0) return;
  if (state.stays) {
    link_last(block);
  } else {
    free(block);
  }
}

void KvBlockPool::free(KvBlockId block) {
  if (blocks_[block].finder != nullptr) blocks_[block].finder->forget(block);
  blocks_[block] = Block{};
  free_.push_back(block);
  if (poisoned_cache_ != nullptr) {
    poisoned_cache_->poison(block * kKvBlockTokens, (block + 1) * kKvBlockTokens);
  }
}

void KvBlockPool::link_last(KvBlockId block) {
  Block& state = blocks_[block];
  state.is_cached = true;
  state.next = end();
  state.previous = blocks_[end()].previous;
  blocks_[state.previous].next = block;
  blocks_[end()].previous = block;
  ++n_cached_;
}

void KvBlockPool::unlink(KvBlockId block) {
  Block& state = blocks_[block];
  blocks_[state.previous].next = state.next;
  blocks_[state.next].previous = state.previous;
  state.is_cached = false;
  --n_cached_;
}

bool KvBlockPool::writable_by(KvBlockId block, KvOwnerId owner) const {
  FLOE_CHECK(block < n_blocks());
  return owner != 0 && blocks_[block].writer == owner && blocks_[block].n_references == 1;
}

bool KvBlockPool::sealed(KvBlockId block) const {
  FLOE_CHECK(block < n_blocks());
  return blocks_[block].n_references > 0 && blocks_[block].writer == 0;
}

bool KvBlockPool::cached(KvBlockId block) const {
  FLOE_CHECK(block < n_blocks());
  return blocks_[block].is_cached;
}

uint32_t KvBlockPool::n_references(KvBlockId block) const {
  FLOE_CHECK(block < n_blocks());
  return blocks_[block].n_references;
}

void KvBlockPool::audit(std::span<const uint32_t> references) const {
  FLOE_CHECK(references.size() == n_blocks());
  std::vector<bool> is_free(n_blocks(), false);
  for (const KvBlockId block : free_) {
    FLOE_CHECK(block < n_blocks());
    FLOE_CHECK(!is_free[block]);
    is_free[block] = true;
  }
  uint32_t n_cached = 0;
  each_cached(
      [&](KvBlockId block) { FLOE_CHECK(blocks_[block].is_cached && ++n_cached <= n_cached_); });
  FLOE_CHECK(n_cached == n_cached_);
  for (size_t i = 0; i < n_blocks(); ++i) {
    const Block& block = blocks_[i];
    FLOE_CHECK(block.n_references == references[i]);
    FLOE_CHECK((is_free[i] || block.is_cached) == (references[i] == 0));
    FLOE_CHECK(!(is_free[i] && block.is_cached));
    FLOE_CHECK(block.writer == 0 || (references[i] == 1 && block.finder == nullptr));
    FLOE_CHECK(!is_free[i] || block.finder == nullptr);
    FLOE_CHECK(!block.is_cached || (block.stays && block.finder != nullptr));
  }
}

}  // namespace floe
