#pragma once
// Who owns which blocks of a KvCache, counted by reference.
//
// A block is in one of four states:
//   free      nobody refers to it;
//   writable  one reference, held by its writer: only that owner may store keys and values in it;
//   sealed    references and no writer: its contents do not change until it is free again;
//   cached    as sealed, without a reference: it is shared again or, when no block is free and
//             somebody needs one, evicted, the one that was released first before all others.
// Only sealed and cached blocks are shared. A breach (a second writer, a write to a sealed block, a
// release by somebody who has no reference to give) stops the process: one request's cache must
// never reach another. Not thread-safe.
#include <cstdint>
#include <span>
#include <vector>

#include "kv/kv_cache.h"

namespace floe {

using KvOwnerId = uint64_t;  // 0 means nobody

inline constexpr uint32_t kv_blocks_of(uint64_t n_tokens) {
  return static_cast<uint32_t>((n_tokens + kKvBlockTokens - 1) / kKvBlockTokens);
}

// Who finds blocks again by what is in them (PrefixCache).
class KvBlockFinder {
 public:
  virtual ~KvBlockFinder() = default;
  // The block is about to be free: it must not be found any more.
  virtual void forget(KvBlockId block) = 0;
};

// A bit for each of those who store values of their own beside the trunk's keys and values.
using KvWriters = uint32_t;

class KvBlockPool {
 public:
  explicit KvBlockPool(uint32_t n_blocks);

  // For tests: from now on the slots of freed blocks are filled with NaN, so that a read of one
  // shows. The cache has at least n_blocks * kKvBlockTokens slots and outlives the pool.
  void poison_on_free(KvCache& cache);

  uint32_t n_blocks() const { return static_cast<uint32_t>(blocks_.size() - 1); }
  uint32_t n_free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t n_cached() const { return n_cached_; }
  // What allocate() can give.
  uint32_t n_available() const { return n_free() + n_cached(); }
  uint32_t n_used() const { return n_blocks() - n_available(); }  // with a reference
  uint64_t n_evictions() const { return n_evictions_; }           // since the pool was made

  // Takes a free block, or evicts a cached one for it; writable by owner. False when there is none.
  [[nodiscard]] bool allocate(KvOwnerId owner, KvBlockId& block);
  // The writer is done: from now on the block is read-only and may be shared. written: who else
  // has stored what belongs to all of its positions.
  void seal(KvBlockId block, KvOwnerId owner, KvWriters written = 0);
  KvWriters written(KvBlockId block) const;
  // A sealed block is found by its contents from now on. stays: it becomes cached with its last
  // release, and free otherwise. finder outlives the pool's use.
  void keep(KvBlockId block, bool stays, KvBlockFinder& finder);
  // The opposite, of a sealed block.
  void unkeep(KvBlockId block);
  // One more reference to a sealed or cached block.
  void share(KvBlockId block);
  // Gives one reference back; owner is the writer's id for a writable block. At zero a block that
  // stays is cached, another one is free.
  void release(KvBlockId block, KvOwnerId owner);

  bool writable_by(KvBlockId block, KvOwnerId owner) const;
  bool sealed(KvBlockId block) const;
  bool cached(KvBlockId block) const;
  uint32_t n_references(KvBlockId block) const;

  // The cached blocks, the next one to be evicted first.
  template <typename Visit>
  void each_cached(const Visit& visit) const {
    for (KvBlockId b = blocks_[end()].next; b != end(); b = blocks_[b].next) visit(b);
  }

  // Stops the process unless the lists and the blocks agree and every block has exactly the
  // references that its holders count: references[block], size n_blocks.
  void audit(std::span<const uint32_t> references) const;

  // Bytes that the pool itself takes for each block.
  static constexpr uint64_t kBytesPerBlock = 48;

 private:
  struct Block {
    KvOwnerId writer = 0;
    KvBlockFinder* finder = nullptr;  // null: it is not kept
    uint32_t n_references = 0;
    KvWriters written = 0;
    bool stays = false;
    bool is_cached = false;
    KvBlockId previous = 0;  // of the cached blocks, a ring around end()
    KvBlockId next = 0;
  };
  static_assert(sizeof(Block) + sizeof(KvBlockId) <= kBytesPerBlock);

  KvBlockId end() const { return n_blocks(); }
  void link_last(KvBlockId block);
  void unlink(KvBlockId block);
  void free(KvBlockId block);

  std::vector<Block> blocks_;    // [n_blocks + 1]
  std::vector<KvBlockId> free_;  // last in, first out
  uint32_t n_cached_ = 0;
  uint64_t n_evictions_ = 0;
  KvCache* poisoned_cache_ = nullptr;
};

}  // namespace floe
