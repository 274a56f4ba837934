#include "draft/step_cost.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace floe {

namespace {

// 32 plain steps with 3 % of noise give tau0 within 0.5 %.
constexpr uint32_t kPlainSamples = 32;
constexpr uint32_t kResidualSamples = 12;
// As if so many forwards had taken what the nearest number of guesses says.
constexpr uint32_t kResidualPrior = 3;
// A residual that keeps guesses from being verified is forgotten slowly, or it would stay for good.
constexpr double kResidualDrift = 1.0 / 256;  // per plain step
// A step that took far longer than expected met something else on the machine: it moves a mean, but
// not by more than this.
constexpr double kMaxSurprise = 1.5;
// A time below value / kFaster is no accident, nor are kRunLength in a row beyond kDeviation.
constexpr double kFaster = 1.25;
constexpr double kDeviation = 1.15;
constexpr uint32_t kRunLength = 4;
// A run of verifies is explained by plain steps that changed by this much, soon after it.
constexpr double kChanged = 1.1;
constexpr uint32_t kPlainsOfRun = 16;

uint64_t scaled(uint64_t count, double factor) {
  return static_cast<uint64_t>(static_cast<double>(count) * factor);
}

// 1 longer, -1 shorter, 0 neither.
int32_t way_of(double ratio, double limit) {
  return ratio > limit ? 1 : ratio < 1 / limit ? -1 : 0;
}

}  // namespace

void TimeMean::add(double seconds, uint32_t max_samples) {
  if (n_samples_ != 0) {
    n_longer_ = seconds > kDeviation * value_ ? n_longer_ + 1 : 0;
    if (seconds < value_ / kFaster || n_longer_ == kRunLength) n_samples_ = 0;
  }
  if (n_samples_ < first_.size()) {
    n_longer_ = 0;
    first_[n_samples_++] = seconds;
    const auto [a, b, c] = first_;
    value_ = n_samples_ == 1   ? a
             : n_samples_ == 2 ? std::min(a, b)
                               : std::max(std::min(a, b), std::min(std::max(a, b), c));
    return;
  }
  n_samples_ = std::min(n_samples_ + 1, max_samples);
  value_ += (std::min(seconds, kMaxSurprise * value_) - value_) / n_samples_;
}

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
    if (!plain_[n].seconds.is_known()) continue;
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
  basis.unexplained = rates_ ? std::max(0.0, plain.seconds.value() - floor_then) : 0.0;
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
  basis.plain_seconds = plain.seconds.value();
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
  if (!(seconds > 0)) return;  // the clock stands still
  reserve(n_sequences);
  Plain& plain = plain_[n_sequences];
  if (!plain.seconds.is_known()) {
    ++n_known_;
  } else {
    // The mean moves with what a step reads: contexts grow.
    const double then = floor_of(plain.ledger);
    const double rest = rates_ ? std::max(0.0, plain.seconds.value() - then) : 0.0;
    if (rest + then > 0) plain.seconds.scale((rest + floor_of(ledger)) / (rest + then));
  }
  plain.seconds.add(seconds, kPlainSamples);
  plain.n_positions = n_positions;
  plain.experts_union = experts_union;
  plain.ledger = ledger;
  for (RunningMean& mean : residuals_[bucket_of(n_sequences)]) {
    if (mean.n_samples != 0) mean.value += kResidualDrift * (1 - mean.value);
  }
  explain_by_machine(n_sequences);
}

void StepCost::explain_by_machine(uint32_t n_sequences) {
  if (run_.length == 0) return;
  const double now = plain_[n_sequences].seconds.value();
  const bool is_machine = run_.n_sequences == n_sequences &&
                          way_of(now / run_.plain_seconds, kChanged) == (run_.length > 0 ? 1 : -1);
  if (is_machine) residuals_ = run_.residuals;
  if (is_machine || ++run_.n_plains > kPlainsOfRun) run_.length = 0;
}

bool StepCost::observe_verify(const Basis& basis, uint32_t n_rows, double predicted,
                              double seconds) {
  if (predicted <= 0) return false;
  const int32_t way = way_of(seconds / predicted, kDeviation);
  if (way == 0 || way * run_.length < 0 || run_.n_sequences != basis.n_sequences) run_.length = 0;
  if (way != 0 && run_.length == 0) {
    run_ = {0, 0, basis.n_sequences, basis.plain_seconds, residuals_};
  }
  run_.length += way;
  run_.n_plains = 0;
  const uint32_t n_guesses = n_rows - basis.n_sequences;
  RunningMean& mean = residuals_[bucket_of(basis.n_sequences)][bucket_of(n_guesses)];
  const double before = residual(basis.n_sequences, n_guesses);
  if (mean.n_samples == 0) mean = {before, kResidualPrior};
  mean.add(before * std::clamp(seconds / predicted, 1 / kMaxSurprise, kMaxSurprise),
           kResidualSamples);
  const bool is_time = run_.length != 0 && run_.length % static_cast<int32_t>(kRunLength) == 0;
  if (is_time && basis.measured) plain_[basis.n_sequences].seconds.restart();
  return is_time;
}

}  // namespace floe
