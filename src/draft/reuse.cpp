#include "draft/reuse.h"

#include <algorithm>

#include "base/error.h"

namespace floe {

namespace {

// Tokens that the histogram remembers: the topic of a text outlives them, a change of topic shows.
constexpr double kTokensRemembered = 512;
constexpr double kDecay = 1 - 1 / kTokensRemembered;
// Tokens' worth of independent routing that is believed before anything was seen.
constexpr double kPriorTokens = 4;
constexpr double kCorrectionRate = 0.1;
constexpr double kMaxCorrection = 2.0;
// Fewer experts than this beyond one row's say nothing about the correction.
constexpr double kMinExperts = 0.25;

}  // namespace

RouterHistory::RouterHistory(uint32_t max_layers, uint32_t n_experts, uint32_t n_active)
    : max_layers_(max_layers), n_experts_(n_experts), n_active_(n_active) {
  if (n_experts_ == 0 || n_active_ == 0) {
    n_experts_ = 0;
    return;
  }
  // Independent routing finds an expert at every distance with probability k/E, if not before.
  const double share = std::min(1.0, double{1} * n_active_ / n_experts_);
  double left = 1;
  for (uint32_t d = 1; d < kMaxRows; ++d) {
    looked_[d] = kPriorTokens * n_active_;
    found_[d] = looked_[d] * left * share;
    left *= 1 - share;
  }
  refresh();
}

void RouterHistory::begin(RouterMemory& memory) const {
  memory.n_rows = 0;
  memory.last_seen.assign(size_t{max_layers_} * n_experts_, 0);
}

void RouterHistory::commit(RouterMemory& memory, std::span<const uint32_t> routing, uint32_t n_rows,
                           uint32_t first_row, uint32_t n_committed) {
  if (n_experts_ == 0 || routing.empty()) return;
  const size_t layer_size = size_t{n_rows} * n_active_;
  FLOE_CHECK(first_row + n_committed <= n_rows && routing.size() % layer_size == 0);
  const auto n_layers =
      static_cast<uint32_t>(std::min<size_t>(routing.size() / layer_size, max_layers_));
  for (uint32_t row = 0; row < n_committed; ++row) {
    const uint32_t now = ++memory.n_rows;
    std::array<uint32_t, kMaxRows> n_found{};
    for (uint32_t layer = 0; layer < n_layers; ++layer) {
      uint32_t* seen = memory.last_seen.data() + size_t{layer} * n_experts_;
      const uint32_t* chosen = routing.data() + layer * layer_size + (first_row + row) * n_active_;
      for (uint32_t rank = 0; rank < n_active_; ++rank) {
        if (chosen[rank] >= n_experts_) continue;
        uint32_t& last = seen[chosen[rank]];
        const uint32_t distance = now - last;
        if (last != 0 && distance < kMaxRows) ++n_found[distance];
        last = now;
      }
    }
    // A layer counts as one part of a token, so that what is remembered is in tokens. Only
    // distances that are looked at decay: short answers teach nothing of the long ones.
    const double weight = 1.0 / n_layers;
    for (uint32_t d = 1; d < std::min(now, kMaxRows); ++d) {
      found_[d] = kDecay * found_[d] + n_found[d] * weight;
      looked_[d] = kDecay * looked_[d] + n_active_;
    }
  }
  refresh();
}

void RouterHistory::refresh() {
  double fresh = 1;  // 1 - R(m)
  double sum = 0;
  for (uint32_t m = 0; m < kMaxRows; ++m) {
    if (m > 0 && looked_[m] > 0) fresh = std::max(0.0, fresh - found_[m] / looked_[m]);
    sum += n_active_ * fresh;
    unions_[m] = std::min<double>(sum, n_experts_);
  }
}

double RouterHistory::union_of_batch(double none_chosen, bool many_sequences) const {
  const double independent = n_experts_ * (1 - none_chosen);
  const double beyond = std::max(0.0, independent - n_active_);
  return std::min<double>(n_active_ + correction_[many_sequences ? 1 : 0] * beyond, n_experts_);
}

void RouterHistory::observe_union(double none_chosen, bool many_sequences, double experts_read) {
  const double beyond = n_experts_ * (1 - none_chosen) - n_active_;
  if (beyond < kMinExperts) return;
  double& correction = correction_[many_sequences ? 1 : 0];
  const double seen = std::clamp((experts_read - n_active_) / beyond, 0.0, kMaxCorrection);
  correction += kCorrectionRate * (seen - correction);
}

}  // namespace floe
