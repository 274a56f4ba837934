#pragma once
// The blocks of one sequence in position order, and the slot of each position.
//
// Positions below n_sealed() lie in sealed blocks and are never written again; positions from there
// up to n_positions() are the sequence's own to write.
#include <cstdint>
#include <span>
#include <vector>

#include "kv/block_pool.h"

namespace floe {

class KvBlockTable {
 public:
  // owner is unique among the tables of a pool. Room for max_tokens positions is set aside now, so
  // that growing allocates no memory.
  KvBlockTable(KvBlockPool& pool, KvOwnerId owner, uint32_t max_tokens);
  ~KvBlockTable();
  KvBlockTable(const KvBlockTable&) = delete;
  KvBlockTable& operator=(const KvBlockTable&) = delete;

  // Takes blocks until positions 0 .. n_tokens - 1 have slots. False, with nothing taken, when the
  // pool has too few.
  [[nodiscard]] bool grow(uint32_t n_tokens);
  // The largest n_tokens that grow() can satisfy now.
  uint32_t growable_tokens() const;

  // Takes a reference to each of the blocks, which are sealed or cached. Only on a table whose
  // blocks are all sealed.
  void share(std::span<const KvBlockId> blocks);
  // Gives the i-th block, which is sealed, back for another one with the same contents.
  void replace(uint32_t i, KvBlockId block);
  // Seals the blocks whose positions are all below n_tokens: their contents are final.
  // n_written[w]: positions below it hold the values of writer w as well.
  void seal_full(uint32_t n_tokens, std::span<const uint32_t> n_written = {});
  // The first positions, all of them sealed, that hold the values of this writer.
  uint32_t n_written(uint32_t writer) const;
  // Gives back the blocks behind those of positions 0 .. n_tokens - 1; none of them is sealed.
  void truncate(uint32_t n_tokens);
  void release_all();

  uint32_t n_blocks() const { return static_cast<uint32_t>(blocks_.size()); }
  uint32_t n_positions() const { return static_cast<uint32_t>(slots_.size()); }
  uint32_t n_sealed() const { return n_sealed_blocks_ * kKvBlockTokens; }
  std::span<const KvBlockId> blocks() const { return blocks_; }
  // slots()[p] is the cache slot of position p.
  std::span<const uint32_t> slots() const { return slots_; }

  // Stops the process unless every position in [begin, end) may be written by this table's owner.
  void check_writable(uint32_t begin, uint32_t end) const;

 private:
  void append(KvBlockId block);

  KvBlockPool& pool_;
  const KvOwnerId owner_;
  const uint32_t max_blocks_;
  uint32_t n_sealed_blocks_ = 0;
  std::vector<KvBlockId> blocks_;
  std::vector<uint32_t> slots_;
};

}  // namespace floe
