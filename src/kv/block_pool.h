#pragma once
// Who owns which blocks of a KvCache, counted by reference.
//
// A block is in one of three states:
//   free      nobody refers to it;
//   writable  one reference, held by its writer: only that owner may store keys and values in it;
//   sealed    any number of references, no writer: its contents do not change until it is free
//   again.
// Only sealed blocks are shared. A breach (a second writer, a write to a sealed block, a release by
// somebody who has no reference to give) stops the process: one request's cache must never reach
// another. Not thread-safe.
#include <cstdint>
#include <span>
#include <vector>

#include "kv/kv_cache.h"

namespace floe {

using KvOwnerId = uint64_t;  // 0 means nobody

inline constexpr uint32_t kv_blocks_of(uint64_t n_tokens) {
  return static_cast<uint32_t>((n_tokens + kKvBlockTokens - 1) / kKvBlockTokens);
}

class KvBlockPool {
 public:
  explicit KvBlockPool(uint32_t n_blocks);

  // For tests: from now on the slots of freed blocks are filled with NaN, so that a read of one
  // shows. The cache has at least n_blocks * kKvBlockTokens slots and outlives the pool.
  void poison_on_free(KvCache& cache);

  uint32_t n_blocks() const { return static_cast<uint32_t>(blocks_.size()); }
  uint32_t n_free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t n_used() const { return n_blocks() - n_free(); }

  // Takes a free block, writable by owner. False when there is none.
  [[nodiscard]] bool allocate(KvOwnerId owner, KvBlockId& block);
  // The writer is done: from now on the block is read-only and may be shared.
  void seal(KvBlockId block, KvOwnerId owner);
  // One more reference to a sealed block.
  void share(KvBlockId block);
  // Gives one reference back; owner is the writer's id for a writable block. Frees at zero.
  void release(KvBlockId block, KvOwnerId owner);

  bool writable_by(KvBlockId block, KvOwnerId owner) const;
  bool sealed(KvBlockId block) const;
  uint32_t n_references(KvBlockId block) const;

  // Stops the process unless the free list and the blocks agree and every block has exactly the
  // references that its holders count: references[block], size n_blocks.
  void audit(std::span<const uint32_t> references) const;

 private:
  struct Block {
    KvOwnerId writer = 0;
    uint32_t n_references = 0;
  };

  std::vector<Block> blocks_;
  std::vector<KvBlockId> free_;  // last in, first out
  KvCache* poisoned_cache_ = nullptr;
};

}  // namespace floe
