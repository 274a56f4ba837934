#pragma once
// What a forward reads and computes, counted by the code that does it.
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace floe {

// Bytes read from weights and cache, the multiply-adds (MACs) done with them, and how many experts
// were read.
struct ByteLedger {
  uint64_t attention_bytes = 0;  // projections, norms, indexer weights
  uint64_t dense_bytes = 0;      // FFN of dense layers, routers
  uint64_t shared_bytes = 0;     // shared experts
  uint64_t routed_bytes = 0;     // distinct routed experts, once each
  uint64_t head_bytes = 0;       // lm_head and embedding rows
  uint64_t kv_bytes = 0;         // cached keys, values and indexer keys
  uint64_t draft_bytes = 0;      // weights of a drafter's own layers

  // Multiply-adds, by the kind of bytes that they use.
  uint64_t attention_macs = 0;
  uint64_t dense_macs = 0;
  uint64_t shared_macs = 0;
  uint64_t routed_macs = 0;
  uint64_t head_macs = 0;
  uint64_t kv_macs = 0;  // scores and weighted values of attention, scores of the indexer
  uint64_t draft_macs = 0;

  // The union of a MoE layer is the set of experts that at least one row of the forward chose.
  uint64_t experts_union = 0;  // sizes of the unions, summed over MoE layers
  uint64_t n_moe_layers = 0;   // how many those are

  uint64_t total_bytes() const {
    return attention_bytes + dense_bytes + shared_bytes + routed_bytes + head_bytes + kv_bytes +
           draft_bytes;
  }
  uint64_t total_macs() const {
    return attention_macs + dense_macs + shared_macs + routed_macs + head_macs + kv_macs +
           draft_macs;
  }
  double mean_union() const {
    return n_moe_layers != 0
               ? static_cast<double>(experts_union) / static_cast<double>(n_moe_layers)
               : 0.0;
  }
  ByteLedger& operator+=(const ByteLedger& other);
};

// The same ledger, booked for a drafter: weights of its own layers count as draft, whatever their
// kind; the lm_head, which it may share with the trunk, stays head, and cached vectors stay KV.
ByteLedger as_draft(const ByteLedger& ledger);

// One class of a ledger: its bytes and its multiply-adds.
struct LedgerClass {
  uint64_t ByteLedger::*bytes;
  uint64_t ByteLedger::*macs;
};

inline constexpr LedgerClass kAttentionClass{&ByteLedger::attention_bytes,
                                             &ByteLedger::attention_macs};
inline constexpr LedgerClass kDenseClass{&ByteLedger::dense_bytes, &ByteLedger::dense_macs};
inline constexpr LedgerClass kSharedClass{&ByteLedger::shared_bytes, &ByteLedger::shared_macs};
inline constexpr LedgerClass kRoutedClass{&ByteLedger::routed_bytes, &ByteLedger::routed_macs};
inline constexpr LedgerClass kHeadClass{&ByteLedger::head_bytes, &ByteLedger::head_macs};
inline constexpr LedgerClass kKvClass{&ByteLedger::kv_bytes, &ByteLedger::kv_macs};
inline constexpr LedgerClass kDraftClass{&ByteLedger::draft_bytes, &ByteLedger::draft_macs};

inline constexpr LedgerClass kLedgerClasses[] = {
    kAttentionClass, kDenseClass, kSharedClass, kRoutedClass, kHeadClass, kKvClass, kDraftClass};
inline constexpr size_t kLedgerClassCount = std::size(kLedgerClasses);

}  // namespace floe
