#include "draft/step_cost.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace floe {

namespace {

// 32 plain steps with 3 % of noise give tau0 within 0.5 %.
constexpr uint32_t kPlainSamples = 32;
constexpr uint32_t kResidualSamples = 12;
// A step that took far longer than expected met something else on the machine: it moves a mean, but
// not by more than this.
constexpr double kMaxSurprise = 1.5;

uint64_t scaled(uint64_t count, double factor) {
  return static_cast<uint64_t>(static_cast<double>(count) * factor);
}

double without_surprise(double sample, const RunningMean& mean) {
  if (mean.n_samples < 2) return sample;
  return std::clamp(sample, mean.value / kMaxSurprise, mean.value * kMaxSurprise);
}

}  // namespace

// 1, 2, 3, 4, 5-6, 7-8, 9-12, 13-16, 17-32, 33-64, more
uint32_t StepCost::bucket_of(uint32_t n_rows) {
  if (n_rows <= 4) return n_rows - 1;
  if (n_rows <= 8) return 4 + (n_rows - 5) / 2;
  if (n_rows <= 16) return 6 + (n_rows - 9) / 4;
  return n_rows <= 32 ? 8 : n_rows <= 64 ? 9 : 10;
}

void StepCost::reserve(uint32_t n_sequences) {
  if (plain_.size() <= n_sequences) plain_.resize(n_sequences + 1);
}

double StepCost::floor_of(const ByteLedger& ledger) const {
  return rates_ ? floor_seconds(ledger, *rates_) : static_cast<double>(ledger.total_bytes());
}

StepCost::Basis StepCost::basis(uint32_t n_sequences, double n_positions,
                                double union_of_plain) const {
  FLOE_CHECK(knows_any() && n_sequences > 0);
  // The nearest batch size that was measured.
  uint32_t nearest = 0;
  for (uint32_t n = 1; n < plain_.size(); ++n) {
    if (plain_[n].seconds.n_samples == 0) continue;
    const auto distance = [&](uint32_t m) {
      return m > n_sequences ? m - n_sequences : n_sequences - m;
    };
    if (nearest == 0 || distance(n) < distance(nearest)) nearest = n;
  }
  const Plain& plain = plain_[nearest];
  Basis basis;
  basis.n_sequences = n_sequences;
  basis.measured = nearest == n_sequences;
  basis.union_of_plain = union_of_plain;
  basis.ledger = plain.ledger;
  const double floor_then = floor_of(plain.ledger);
  basis.unexplained = rates_ ? std::max(0.0, plain.seconds.value - floor_then) : 0.0;
  const double more_rows = double{1} * n_sequences / nearest;
  for (const LedgerClass& kind : kLedgerClasses) {
    basis.ledger.*kind.macs = scaled(plain.ledger.*kind.macs, more_rows);
  }
  if (plain.n_positions > 0) {
    const double longer = n_positions / plain.n_positions;
    basis.ledger.kv_bytes = scaled(plain.ledger.kv_bytes, longer);
    basis.ledger.kv_macs = scaled(plain.ledger.kv_macs, longer);
  }
  if (plain.experts_union > 0) {
    basis.ledger.routed_bytes =
        scaled(plain.ledger.routed_bytes, union_of_plain / plain.experts_union);
  }
  basis.floor = floor_of(basis.ledger);
  const double floor_and_rest = basis.unexplained + basis.floor;
  basis.plain_seconds = plain.seconds.value;
  if (floor_then > 0) basis.plain_seconds *= floor_and_rest / (basis.unexplained + floor_then);
  return basis;
}

double StepCost::seconds(const Basis& basis, uint32_t n_rows, double experts_union) const {
  const uint32_t n_guesses = n_rows - basis.n_sequences;
  if (n_guesses == 0) return basis.plain_seconds;
  ByteLedger many = basis.ledger;
  const double more_rows = double{1} * n_rows / basis.n_sequences;
  for (const LedgerClass& kind : kLedgerClasses)
    many.*kind.macs = scaled(many.*kind.macs, more_rows);
  if (basis.union_of_plain > 0) {
    many.routed_bytes = scaled(many.routed_bytes, experts_union / basis.union_of_plain);
  }
  const double below = basis.unexplained + basis.floor;
  const double ratio = below > 0 ? (basis.unexplained + floor_of(many)) / below : 1.0;
  return basis.plain_seconds * ratio * residual(basis.n_sequences, n_guesses);
}

double StepCost::residual(uint32_t n_sequences, uint32_t n_guesses) const {
  const auto& row = residuals_[bucket_of(n_sequences)];
  const uint32_t at = bucket_of(n_guesses);
  for (uint32_t distance = 0; distance < kBuckets; ++distance) {
    if (at >= distance && row[at - distance].n_samples != 0) return row[at - distance].value;
    if (at + distance < kBuckets && row[at + distance].n_samples != 0) {
      return row[at + distance].value;
    }
  }
  return 1.0;
}

void StepCost::observe_plain(uint32_t n_sequences, double n_positions, double experts_union,
                             double seconds, const ByteLedger& ledger) {
  reserve(n_sequences);
  Plain& plain = plain_[n_sequences];
  if (plain.seconds.n_samples == 0) ++n_known_;
  plain.seconds.add(without_surprise(seconds, plain.seconds), kPlainSamples);
  plain.n_positions = n_positions;
  plain.experts_union = experts_union;
  plain.ledger = ledger;
}

void StepCost::observe_verify(const Basis& basis, uint32_t n_rows, double predicted,
                              double seconds) {
  if (predicted <= 0) return;
  const uint32_t n_guesses = n_rows - basis.n_sequences;
  RunningMean& mean = residuals_[bucket_of(basis.n_sequences)][bucket_of(n_guesses)];
  const double before = residual(basis.n_sequences, n_guesses);
  mean.add(without_surprise(before * seconds / predicted, mean), kResidualSamples);
}

}  // namespace floe
