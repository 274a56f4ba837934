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
  if (n_needed - n_blocks() > pool_.n_available()) return false;
  while (n_blocks() < n_needed) {
    KvBlockId block = 0;
    FLOE_CHECK(pool_.allocate(owner_, block));
    append(block);
  }
  return true;
}

uint32_t KvBlockTable::growable_tokens() const {
  return std::min(n_blocks() + pool_.n_available(), max_blocks_) * kKvBlockTokens;
}

void KvBlockTable::share(std::span<const KvBlockId> blocks) {
  FLOE_CHECK(n_sealed_blocks_ == n_blocks());
  for (const KvBlockId block : blocks) {
    pool_.share(block);
    append(block);
  }
  n_sealed_blocks_ = n_blocks();
}

void KvBlockTable::replace(uint32_t i, KvBlockId block) {
  FLOE_CHECK(i < n_sealed_blocks_);
  pool_.share(block);
  pool_.release(blocks_[i], owner_);
  blocks_[i] = block;
  for (uint32_t t = 0; t < kKvBlockTokens; ++t) {
    slots_[size_t{i} * kKvBlockTokens + t] = block * kKvBlockTokens + t;
  }
}

void KvBlockTable::seal_full(uint32_t n_tokens, std::span<const uint32_t> n_written) {
  const uint32_t n_full = n_tokens / kKvBlockTokens;
  FLOE_CHECK(n_full <= n_blocks());
  for (; n_sealed_blocks_ < n_full; ++n_sealed_blocks_) {
    KvWriters written = 0;
    for (size_t w = 0; w < n_written.size(); ++w) {
      const bool is_full = n_written[w] / kKvBlockTokens > n_sealed_blocks_;
      written |= KvWriters{is_full ? 1u : 0u} << w;
    }
    pool_.seal(blocks_[n_sealed_blocks_], owner_, written);
  }
}

uint32_t KvBlockTable::n_written(uint32_t writer) const {
  uint32_t n = 0;
  while (n < n_sealed_blocks_ && (pool_.written(blocks_[n]) >> writer & 1) != 0) ++n;
  return n * kKvBlockTokens;
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
  // Backwards, so that the next sequence takes them in position order, and so that of cached ones
  // those behind are evicted before those that they stand on.
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
