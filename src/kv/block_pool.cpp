#include "kv/block_pool.h"

#include "base/error.h"

namespace floe {

KvBlockPool::KvBlockPool(uint32_t n_blocks) : blocks_(n_blocks) {
  free_.reserve(n_blocks);
  for (uint32_t i = n_blocks; i > 0; --i) free_.push_back(i - 1);
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
  if (free_.empty()) return false;
  block = free_.back();
  free_.pop_back();
  FLOE_CHECK(blocks_[block].n_references == 0 && blocks_[block].writer == 0);
  blocks_[block] = Block{owner, 1};
  return true;
}

void KvBlockPool::seal(KvBlockId block, KvOwnerId owner) {
  FLOE_CHECK(writable_by(block, owner));
  blocks_[block].writer = 0;
}

void KvBlockPool::share(KvBlockId block) {
  FLOE_CHECK(sealed(block));
  ++blocks_[block].n_references;
}

void KvBlockPool::release(KvBlockId block, KvOwnerId owner) {
  FLOE_CHECK(block < blocks_.size());
  Block& state = blocks_[block];
  FLOE_CHECK(state.n_references > 0);  // a second release of the same reference ends here
  FLOE_CHECK(state.writer == 0 || (state.writer == owner && state.n_references == 1));
  if (--state.n_references > 0) return;
  state.writer = 0;
  free_.push_back(block);
  if (poisoned_cache_ != nullptr) {
    poisoned_cache_->poison(block * kKvBlockTokens, (block + 1) * kKvBlockTokens);
  }
}

bool KvBlockPool::writable_by(KvBlockId block, KvOwnerId owner) const {
  FLOE_CHECK(block < blocks_.size());
  return owner != 0 && blocks_[block].writer == owner && blocks_[block].n_references == 1;
}

bool KvBlockPool::sealed(KvBlockId block) const {
  FLOE_CHECK(block < blocks_.size());
  return blocks_[block].n_references > 0 && blocks_[block].writer == 0;
}

uint32_t KvBlockPool::n_references(KvBlockId block) const {
  FLOE_CHECK(block < blocks_.size());
  return blocks_[block].n_references;
}

void KvBlockPool::audit(std::span<const uint32_t> references) const {
  FLOE_CHECK(references.size() == blocks_.size());
  std::vector<bool> is_free(blocks_.size(), false);
  for (const KvBlockId block : free_) {
    FLOE_CHECK(block < blocks_.size());
    FLOE_CHECK(!is_free[block]);
    is_free[block] = true;
  }
  for (size_t i = 0; i < blocks_.size(); ++i) {
    FLOE_CHECK(blocks_[i].n_references == references[i]);
    FLOE_CHECK(is_free[i] == (references[i] == 0));
    FLOE_CHECK(blocks_[i].writer == 0 || references[i] == 1);
  }
}

}  // namespace floe
