#include "kv/block_table.h"

#include <algorithm>

#include "base/error.h"

namespace floe {

KvBlockTable::KvBlockTable(KvBlockPool& pool, KvOwnerId owner, uint32_t max_tokens)
    : pool_(pool), owner_(owner), max_blocks_(kv_blocks_of(max_tokens)) {
  blocks_.reserve(max_blocks_);
  slots_.reserve(size_t{max_blocks_} * kKvBlockTokens);
}

KvBlockTable::~KvBlockTable() {
  release_all();
}

void KvBlockTable::append(KvBlockId block) {
  FLOE_CHECK(blocks_.size() < max_blocks_);
  blocks_.push_back(block);
  for (uint32_t i = 0; i < kKvBlockTokens; ++i) slots_.push_back(block * kKvBlockTokens + i);
}

bool KvBlockTable::grow(uint32_t n_tokens) {
  const uint32_t n_needed = kv_blocks_of(n_tokens);
  if (n_needed <= n_blocks()) return true;
  if (n_needed - n_blocks() > pool_.n_free()) return false;
  while (n_blocks() < n_needed) {
    KvBlockId block = 0;
    FLOE_CHECK(pool_.allocate(owner_, block));
    append(block);
  }
  return true;
}

uint32_t KvBlockTable::growable_tokens() const {
  return std::min(n_blocks() + pool_.n_free(), max_blocks_) * kKvBlockTokens;
}

void KvBlockTable::share_prefix(const KvBlockTable& donor, uint32_t n_shared) {
  FLOE_CHECK(blocks_.empty());
  FLOE_CHECK(n_shared <= donor.n_sealed_blocks_);
  for (uint32_t i = 0; i < n_shared; ++i) {
    pool_.share(donor.blocks_[i]);
    append(donor.blocks_[i]);
  }
  n_sealed_blocks_ = n_shared;
}

void KvBlockTable::seal_full(uint32_t n_tokens) {
  const uint32_t n_full = n_tokens / kKvBlockTokens;
  FLOE_CHECK(n_full <= n_blocks());
  while (n_sealed_blocks_ < n_full) pool_.seal(blocks_[n_sealed_blocks_++], owner_);
}

void KvBlockTable::truncate(uint32_t n_tokens) {
  const uint32_t n_kept = kv_blocks_of(n_tokens);
  FLOE_CHECK(n_kept >= n_sealed_blocks_);
  while (n_blocks() > n_kept) {
    pool_.release(blocks_.back(), owner_);
    blocks_.pop_back();
  }
  slots_.resize(std::min(slots_.size(), size_t{n_kept} * kKvBlockTokens));
}

void KvBlockTable::release_all() {
  // Backwards, so that the next sequence takes them in position order.
  for (size_t i = blocks_.size(); i > 0; --i) pool_.release(blocks_[i - 1], owner_);
  blocks_.clear();
  slots_.clear();
  n_sealed_blocks_ = 0;
}

void KvBlockTable::check_writable(uint32_t begin, uint32_t end) const {
  FLOE_CHECK(end <= n_positions());
  for (uint32_t p = begin; p < end; p = (p / kKvBlockTokens + 1) * kKvBlockTokens) {
    FLOE_CHECK(pool_.writable_by(blocks_[p / kKvBlockTokens], owner_));
  }
}

}  // namespace floe
