#pragma once
// What a model remembers of the tokens it has seen, as everybody but the model sees it: slots,
// blocks, states and bytes, no addresses. The memory may be this process's own (HostKvCache), a
// device's, or spread over several machines.
//
// A slot holds what all layers keep of one cached token (keys, values, latent vectors). A block is
// kKvBlockTokens consecutive slots; which sequence owns which block is the business of KvBlockPool.
//
// A state holds what layers keep of a whole sequence, whatever its length: the recurrent state of a
// linear-attention layer. Models without such layers have none (state_bytes() is 0) and ignore all
// of it. Where a model has them, every sequence it runs owns a state, and the caller deals them
// out. A state stands behind a certain number of tokens and moves forward only: it cannot be cut
// back to an earlier position as a block table can. To go back, copy it before (copy_state) and
// copy it back.
//
// A cache belongs to the model that made it (Model::make_cache) and does not outlive it. It is not
// thread-safe, and no forward runs beside its calls.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "quant/kv_type.h"

namespace floe {

inline constexpr uint32_t kKvBlockTokens = 32;  // slots of one block
using KvBlockId = uint32_t;                     // slots [id * kKvBlockTokens, + kKvBlockTokens)

// A sequence of a model that keeps no states.
inline constexpr uint32_t kNoState = UINT32_MAX;

// How much a cache holds, fixed when it is made.
struct KvCacheLimits {
  uint32_t n_slots = 0;
  KvTypes types;
  uint32_t n_states = 0;  // running sequences and snapshots; ignored where the model keeps none
};

// What a cache needs of memory.
struct KvCacheBytes {
  uint64_t per_slot = 0;   // of one cached token, over all layers
  uint64_t per_state = 0;  // of one sequence, over all layers; 0: the model keeps no states
};

class KvCache {
 public:
  virtual ~KvCache() = default;
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  uint32_t n_slots() const { return limits_.n_slots; }
  KvTypes types() const { return limits_.types; }
  uint64_t slot_bytes() const { return bytes_.per_slot; }
  uint64_t size_bytes() const {
    return n_slots() * bytes_.per_slot + n_states() * bytes_.per_state;
  }

  // The bytes of a block, in an order that does not depend on where the block lies: what is read
  // from one block may be written to another, of this cache or of one whose model gives the same
  // Model::cache_fingerprint(). For blocks on disk and for sequences that make room for others.
  // Both fail with ErrorKind::runtime where the device that the cache lies on does; what was to be
  // written is unknown then.
  uint64_t block_bytes() const { return kKvBlockTokens * bytes_.per_slot; }
  virtual Result<void> read_block(KvBlockId block, std::span<std::byte> out) const = 0;
  virtual Result<void> write_block(KvBlockId block, std::span<const std::byte> bytes) = 0;

  // For tests: fills every vector of slots [begin, end) with NaN, so that the logits show when one
  // is read that nobody has written since.
  virtual void poison(uint32_t begin, uint32_t end) = 0;

  // States, by index below n_states(). A device that fails in clear_state() or copy_state() fails
  // in the next forward too.
  uint32_t n_states() const { return bytes_.per_state != 0 ? limits_.n_states : 0; }
  uint64_t state_bytes() const { return bytes_.per_state; }
  // How many tokens of its sequence the state has taken in.
  virtual uint32_t state_tokens(uint32_t state) const = 0;
  // The state of a sequence that has seen no token.
  virtual void clear_state(uint32_t state) = 0;
  // Takes a snapshot, and restores one.
  virtual void copy_state(uint32_t from, uint32_t to) = 0;
  // As read_block() and write_block(), of state_bytes(). n_tokens: as state_tokens() gave it.
  virtual Result<void> read_state(uint32_t state, std::span<std::byte> out) const = 0;
  virtual Result<void> write_state(uint32_t state, uint32_t n_tokens,
                                   std::span<const std::byte> bytes) = 0;
  // Makes the state that of the first n_tokens of its sequence. False, and the state stays as it
  // is, unless that is what it is already or n_tokens is 0: the tokens behind cannot be taken out.
  [[nodiscard]] bool truncate_state(uint32_t state, uint32_t n_tokens) {
    if (n_tokens == 0) clear_state(state);
    return state_tokens(state) == n_tokens;
  }

 protected:
  KvCache(const KvCacheLimits& limits, const KvCacheBytes& bytes)
      : limits_(limits), bytes_(bytes) {}

 private:
  const KvCacheLimits limits_;
  const KvCacheBytes bytes_;
};

}  // namespace floe
