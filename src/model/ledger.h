#pragma once
// What a forward touched, counted by the code that reads it.
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace floe {

// Bytes read from weights and cache, multiply-adds done with them, and the experts behind both.
struct ByteLedger {
  uint64_t attention_bytes = 0;  // projections, norms, indexer weights
  uint64_t dense_bytes = 0;      // FFN of dense layers, routers
  uint64_t shared_bytes = 0;     // shared experts
  uint64_t routed_bytes = 0;     // distinct routed experts, once each
  uint64_t head_bytes = 0;       // lm_head and embedding rows
  uint64_t kv_bytes = 0;         // cached keys, values and indexer keys
  uint64_t draft_bytes = 0;      // weights of a drafter's own layers

  // Multiply-adds, by the bytes they are done with.
  uint64_t attention_macs = 0;
  uint64_t dense_macs = 0;
  uint64_t shared_macs = 0;
  uint64_t routed_macs = 0;
  uint64_t head_macs = 0;
  uint64_t kv_macs = 0;  // scores and weighted values of attention, scores of the indexer
  uint64_t draft_macs = 0;

  uint64_t experts_union = 0;  // distinct routed experts, summed over MoE layers
  uint64_t n_moe_layers = 0;   // MoE layers walked: experts_union / n_moe_layers is the mean union

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

// The ledger of a drafter: its own layers' weights are all draft; the head, which it may share with
// the trunk, stays head, and what it cached stays KV.
ByteLedger as_draft(const ByteLedger& ledger);

// A kind of reading: the bytes, and the multiply-adds they serve.
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
