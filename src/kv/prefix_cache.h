#pragma once
// Finds the blocks that hold the beginning of a prompt, whoever computed them: other choices of its
// request, earlier turns of its conversation, or itself before a preemption.
//
// What a block holds depends on its 32 tokens and on all tokens before them, on nothing else. So a
// block that is full and final is known by its chain: the known block before it, and its tokens. It
// is looked up by a hash of the chain, and taken only where the tokens and the block before are the
// same: a collision costs a comparison and never another's contents. Chains of different namespaces
// have nothing in common.
//
// Blocks stay known while anybody refers to them, and afterwards, where their namespace stays,
// until the pool evicts them. A table holds the whole chain of the blocks that it has and gives
// them back from the last to the first, so a block is evicted before the one that it stands on, and
// no chain has a hole.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kv/block_pool.h"
#include "kv/block_table.h"

namespace floe {

// Whose prompts share blocks. `request` other than 0: those of one request alone, and with it they
// go.
struct PrefixNamespace {
  std::array<uint64_t, 2> key{};
  uint64_t request = 0;
  bool stays() const { return request == 0; }
  bool operator==(const PrefixNamespace&) const = default;
};

// How far a table's blocks are known: its first n_blocks.
struct PrefixChain {
  PrefixNamespace space;
  uint32_t n_blocks = 0;
  KvBlockId last = 0;  // where n_blocks is not 0
  uint64_t hash = 0;
  // What follows is known by another block, which lacks what this table's has: nothing more of the
  // table becomes known.
  bool is_closed = false;
};

// Not thread-safe. Allocates when it is made, never again.
class PrefixCache final : private KvBlockFinder {
 public:
  // keeps: blocks stay known without a reference. hash_bits: fewer for tests, so that hashes
  // collide.
  PrefixCache(KvBlockPool& pool, bool keeps, uint32_t hash_bits = 64);
  ~PrefixCache() override = default;
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  struct Match {
    uint32_t n_blocks = 0;
    uint32_t n_cached_blocks = 0;  // of those, without a reference now
  };
  // The longest known beginning of tokens, at most max_blocks of it.
  Match find(const PrefixNamespace& space, std::span<const int32_t> tokens,
             uint32_t max_blocks) const;
  // The same; the empty table shares the blocks that are found. Returns the table's chain.
  PrefixChain share(const PrefixNamespace& space, std::span<const int32_t> tokens,
                    uint32_t max_blocks, KvBlockTable& table) const;
  // Makes the table's sealed blocks known. Where one is known already by another block that has all
  // that the table's has, the table takes that one instead of its own.
  void extend(PrefixChain& chain, std::span<const int32_t> tokens, KvBlockTable& table);
  // The opposite: the blocks from first_block on that nobody else needs become unknown. For
  // contents that are not to be used again.
  void forget_from(PrefixChain& chain, uint32_t first_block, const KvBlockTable& table);

  // Bytes for each block of the pool, the pool's own included.
  static constexpr uint64_t kBytesPerBlock = 208 + KvBlockPool::kBytesPerBlock;

  // Stops the process where a known block is neither sealed nor cached, or a chain has a hole.
  void audit() const;

 private:
  static constexpr KvBlockId kNone = UINT32_MAX;
  struct Entry {
    std::array<int32_t, kKvBlockTokens> tokens;
    PrefixNamespace space;
    uint64_t hash = 0;
    KvBlockId parent = kNone;  // the block before it; kNone at the beginning
    uint32_t n_children = 0;
    KvBlockId next = kNone;  // of the same bucket
    bool is_known = false;
  };
  static_assert(sizeof(Entry) + 2 * sizeof(KvBlockId) <= 208);

  void forget(KvBlockId block) override;
  uint64_t first_hash(const PrefixNamespace& space) const;
  uint64_t next_hash(uint64_t hash, std::span<const int32_t> block_tokens) const;
  KvBlockId child(const PrefixNamespace& space, KvBlockId parent, uint64_t hash,
                  std::span<const int32_t> block_tokens) const;
  KvBlockId& bucket(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }

  KvBlockPool& pool_;
  const bool keeps_;
  const uint64_t hash_mask_;
  const uint64_t seed_;             // so that nobody can choose prompts whose hashes collide
  std::vector<Entry> entries_;      // [n_blocks], by block
  std::vector<KvBlockId> buckets_;  // a power of two of them
};

}  // namespace floe
