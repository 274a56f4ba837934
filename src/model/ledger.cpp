#include "model/ledger.h"

namespace floe {

ByteLedger& ByteLedger::operator+=(const ByteLedger& other) {
  for (const LedgerClass& kind : kLedgerClasses) {
    this->*kind.bytes += other.*kind.bytes;
    this->*kind.macs += other.*kind.macs;
  }
  experts_union += other.experts_union;
  n_moe_layers += other.n_moe_layers;
  return *this;
}

ByteLedger as_draft(const ByteLedger& ledger) {
  ByteLedger draft;
  draft.draft_bytes = ledger.total_bytes() - ledger.head_bytes - ledger.kv_bytes;
  draft.head_bytes = ledger.head_bytes;
  draft.kv_bytes = ledger.kv_bytes;
  draft.draft_macs = ledger.total_macs() - ledger.head_macs - ledger.kv_macs;
  draft.head_macs = ledger.head_macs;
  draft.kv_macs = ledger.kv_macs;
  draft.experts_union = ledger.experts_union;
  draft.n_moe_layers = ledger.n_moe_layers;
  return draft;
}

}  // namespace floe
