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

}  // namespace floe
