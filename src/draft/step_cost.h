#pragma once
// Predicted seconds of a forward that carries guesses, from those of plain ones.
//
// A plain forward of B sequences gives the time tau0(B) and the ledger of bytes and products. A
// forward of N rows reads the same weights once, more routed experts (their union grows) and does
// N/B times the products:
//   t(N) = tau0(B) * (t0 + floor(N)) / (t0 + floor(B)) * residual
// floor() is the time model's where the machine's rates are known, and bytes alone where they are
// not. The residual is what forwards took over what that says, kept per number of guesses, so that
// the prediction becomes a measurement where one was made.
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "draft/time_model.h"
#include "model/ledger.h"

namespace floe {

// A running mean: of all samples until there are max_samples, then exponential over about the last
// max_samples.
struct RunningMean {
  double value = 0;
  uint32_t n_samples = 0;
  void add(double sample, uint32_t max_samples) {
    n_samples = n_samples < max_samples ? n_samples + 1 : max_samples;
    value += (sample - value) / n_samples;
  }
};

// What something takes, of which samples are long by accident and never short: one that is clearly
// shorter than the mean, or several in a row that are longer, say that the machine has changed, and
// the mean starts again. The first three samples count as their median.
class TimeMean {
 public:
  bool is_known() const { return value_ > 0; }
  double value() const { return value_; }
  void add(double seconds, uint32_t max_samples);
  void scale(double factor) { value_ *= factor; }
  void restart() { n_samples_ = 0; }  // with the next sample; the value stays until then

 private:
  double value_ = 0;
  uint32_t n_samples_ = 0;
  uint32_t n_longer_ = 0;  // in a row
  std::array<double, 3> first_{};
};

class StepCost {
 public:
  explicit StepCost(std::optional<MachineRates> rates) : rates_(std::move(rates)) {}

  // The forwards to come of a batch, as far as they are the same whatever is guessed.
  struct Basis {
    uint32_t n_sequences = 0;
    double plain_seconds = 0;  // tau0
    bool measured = false;     // at this batch size; else carried over from the nearest one
    // of the plain forward
    ByteLedger ledger;
    double union_of_plain = 0;  // experts per MoE layer
    double floor = 0;
    double unexplained = 0;  // t0
  };

  // Allocates while batches are larger than before.
  void reserve(uint32_t n_sequences);
  bool knows_any() const { return n_known_ != 0; }
  // n_positions: cached positions of all sequences together. union_of_plain: predicted. Needs
  // knows_any().
  Basis basis(uint32_t n_sequences, double n_positions, double union_of_plain) const;
  // n_rows: n_sequences plus the guesses.
  double seconds(const Basis& basis, uint32_t n_rows, double experts_union) const;

  // A forward without guesses and prompts.
  void observe_plain(uint32_t n_sequences, double n_positions, double experts_union, double seconds,
                     const ByteLedger& ledger);
  // One with guesses: what seconds() said before it, and what it took. True: they have deviated the
  // same way for a while, so that the time of plain forwards should be taken anew; it starts again.
  bool observe_verify(const Basis& basis, uint32_t n_rows, double predicted, double seconds);
  // The residual at hand of a number of guesses.
  double residual(uint32_t n_sequences, uint32_t n_guesses) const;

 private:
  static constexpr uint32_t kBuckets = 11;
  static uint32_t bucket_of(uint32_t n_rows);

  struct Plain {
    TimeMean seconds;
    double n_positions = 0;
    double experts_union = 0;
    ByteLedger ledger;
  };

  using Residuals = std::array<std::array<RunningMean, kBuckets>, kBuckets>;
  // Verifies in a row that took longer (or shorter) than predicted, and what was known before them:
  // where plain forwards turn out to take longer as well, it is the machine.
  struct Run {
    int32_t length = 0;     // below 0: of shorter ones
    uint32_t n_plains = 0;  // plain forwards since
    uint32_t n_sequences = 0;
    double plain_seconds = 0;
    Residuals residuals;
  };

  double floor_of(const ByteLedger& ledger) const;
  void explain_by_machine(uint32_t n_sequences);

  std::optional<MachineRates> rates_;
  std::vector<Plain> plain_;  // by number of sequences
  uint32_t n_known_ = 0;
  Residuals residuals_;  // of sequences, of guesses
  Run run_;
};

}  // namespace floe
