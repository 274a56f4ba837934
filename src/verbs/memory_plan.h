#pragma once
// Whether a model fits in memory, and which context does: decided before any weight is read. Pure
// arithmetic; model_flags.h says where the figures come from.
#include <cstdint>
#include <functional>
#include <string>

#include "base/error.h"

namespace floe {

// What a model and its drafters take, in bytes.
struct MemoryNeeds {
  uint64_t weight_bytes = 0;     // packed, of the model with its draft head
  uint64_t drafter_bytes = 0;    // the same of a draft model and an EAGLE-3 head
  uint64_t slot_bytes = 0;       // of one cached token in all their caches, and to find it again
  uint64_t slot_bytes_q8_0 = 0;  // the same with keys and values in Q8_0
  uint64_t sequence_bytes = 0;   // of one sequence, whatever its length
  uint32_t model_context = 0;    // the longest context that the model was made for, in tokens
  // The memory that forwards work in, where sequences have up to so many tokens: never falls.
  std::function<uint64_t(uint32_t context)> workspace_bytes;
};

// What is asked for.
struct MemoryRequest {
  uint32_t context = 0;      // tokens of one sequence; 0: as many as fit, at most model_context
  uint64_t n_kv_tokens = 0;  // that the cache holds; 0: those of all sequences, or what fits
  uint32_t n_sequences = 1;  // at the same time
  // For prefixes that are kept beside those tokens; kOfWhatIsLeft: half of what the rest leaves, at
  // most kMostPrefixBytes.
  static constexpr uint64_t kOfWhatIsLeft = UINT64_MAX;
  static constexpr uint64_t kMostPrefixBytes = uint64_t{8} << 30;
  uint64_t prefix_bytes = 0;
  // The options that set the two, for the advice: nullptr where the verb has none.
  const char* context_option = "-c";
  const char* sequences_option = "-np";
};

// How much there is.
struct MemoryBudget {
  uint64_t available_bytes = 0;  // that the machine can give; 0: not known, everything fits
  uint64_t mem_bytes = 0;        // --mem; 0: not given
};

struct MemoryPlan {
  uint32_t context = 0;
  uint64_t n_kv_tokens = 0;
  uint64_t n_prefix_tokens = 0;  // that fit in prefix_bytes, whole blocks
  uint64_t cache_bytes = 0;      // of both
  uint64_t workspace_bytes = 0;
  // One line, where the context or the cache is smaller than it would be with more memory.
  std::string note;
};

// ErrorKind::memory with every part's size in GB and the options that help.
Result<MemoryPlan> plan_memory(const MemoryNeeds& needs, const MemoryRequest& request,
                               const MemoryBudget& budget);

}  // namespace floe
