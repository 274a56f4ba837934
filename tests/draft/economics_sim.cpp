#include "economics_sim.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <set>

#include "draft/decode_rows.h"

namespace floe {

namespace {

constexpr uint32_t kSimLayers = 4, kSimExperts = 77, kSimActive = 8;
constexpr double kStay = 0.15;
constexpr double kDenseBytes = 9.86e9, kBytesPerSecond = 19.772e9;  // one second with 8 experts

double unit(uint64_t key) {
  return static_cast<double>(mix64(key) >> 11) * 0x1p-53;
}

}  // namespace

StickyRouter::StickyRouter(uint32_t n_layers, uint32_t n_experts, uint32_t n_active, double stay,
                           uint64_t seed)
    : n_layers_(n_layers),
      n_experts_(n_experts),
      n_active_(n_active),
      stay_(stay),
      state_(seed << 32) {
  double sum = 0;
  for (uint32_t e = 0; e < n_experts; ++e) popularity_.push_back(sum += 1.0 / (20.0 + e));
  for (double& value : popularity_) value /= sum;
}

const std::vector<uint32_t>& StickyRouter::at(uint32_t position) {
  while (tokens_.size() <= position) {
    std::vector<uint32_t> chosen;
    for (uint32_t layer = 0; layer < n_layers_; ++layer) {
      std::set<uint32_t> set;
      if (!tokens_.empty()) {
        const uint32_t* last = tokens_.back().data() + layer * n_active_;
        for (uint32_t i = 0; i < n_active_; ++i) {
          if (uniform() < stay_) set.insert(last[i]);
        }
      }
      while (set.size() < n_active_) {
        const auto at = std::lower_bound(popularity_.begin(), popularity_.end(), uniform());
        const auto expert = static_cast<uint32_t>(at - popularity_.begin());
        // Every layer has favourites of its own.
        set.insert((std::min(expert, n_experts_ - 1) + 7 * layer) % n_experts_);
      }
      chosen.insert(chosen.end(), set.begin(), set.end());
    }
    tokens_.push_back(std::move(chosen));
  }
  return tokens_[position];
}

double SimResult::slowest(uint32_t n_window) const {
  double longest = 0;
  for (size_t i = n_window; i < token_seconds.size(); ++i) {
    longest = std::max(longest, token_seconds[i] - token_seconds[i - n_window]);
  }
  return longest > 0 ? n_window / longest : 0;
}

SimResult simulate(const SimOptions& options) {
  ModelInfo info;
  info.n_layers = kSimLayers;
  info.n_experts = options.expert_bytes > 0 ? kSimExperts : 0;
  info.n_active_experts = options.expert_bytes > 0 ? kSimActive : 0;
  Economics economics(options.policy, info, options.rates);
  const uint32_t n_sequences = options.n_sequences;
  std::vector<StickyRouter> routers;
  std::vector<uint32_t> position(n_sequences, 0);  // of the next row
  for (uint32_t s = 0; s < n_sequences; ++s) {
    routers.emplace_back(kSimLayers, kSimExperts, kSimActive, kStay, options.seed * 1000 + s);
    economics.begin(s + 1);
  }
  const auto truth = [&](uint32_t s, uint32_t p) {
    return static_cast<int32_t>(mix64((options.seed << 48) ^ (uint64_t{s} << 32) ^ p) & 0xffff);
  };
  uint64_t noise_state = options.seed << 40;
  const auto gauss = [&] {
    const double u = 1 - unit(noise_state++), v = unit(noise_state++);
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
  };

  SimResult result;
  result.n_accepted_of.resize(n_sequences);
  std::vector<std::vector<int32_t>> texts(n_sequences, std::vector<int32_t>(1));
  std::vector<uint32_t> routing;
  // Rows that a drafter's own layers have not seen.
  std::vector<std::vector<uint32_t>> n_waiting(n_sequences,
                                               std::vector<uint32_t>(options.drafters.size()));
  const double plain_step = (kDenseBytes + kSimActive * options.expert_bytes) / kBytesPerSecond;
  while (result.n_tokens < double{1} * options.n_tokens * n_sequences) {
    DraftSeconds draft_seconds{};
    const auto take = [&](const SimDrafter& drafter, double steps) {
      draft_seconds[static_cast<size_t>(drafter.source)] += steps * plain_step;
    };
    const auto catch_up = [&](uint32_t s, size_t d) {
      if (!economics.is_dropped(s + 1, options.drafters[d].source)) {
        take(options.drafters[d], n_waiting[s][d] * options.drafters[d].cost_of_row);
      }
      n_waiting[s][d] = 0;
    };
    std::vector<SequenceRows> step;
    for (uint32_t s = 0; s < n_sequences; ++s) {
      SequenceRows& rows = step.emplace_back(decode_rows(s + 1, position[s]));
      rows.max_draft = options.max_draft;
      std::vector<DraftToken>& draft = rows.draft;
      for (size_t d = 0; d < options.drafters.size(); ++d) {
        const SimDrafter& drafter = options.drafters[d];
        const DrafterKind kind{drafter.source, drafter.runs_layers};
        draft.resize(economics.tokens_to_keep(rows, kind));
        const uint32_t n_asked = economics.tokens_to_ask(rows, kind);
        take(drafter, n_asked * drafter.cost);
        if (n_asked != 0) catch_up(s, d);
        for (uint32_t j = 0; j < n_asked; ++j) {
          const uint32_t p = position[s] + static_cast<uint32_t>(draft.size()) + 1;
          const uint64_t key =
              (options.seed << 52) ^ (uint64_t{d + 1} << 44) ^ (uint64_t{s} << 32) ^ p;
          const size_t place = std::min<size_t>(draft.size(), drafter.by_place.size() - 1);
          const bool is_right = unit(key) < (drafter.by_place.empty() ? drafter.acceptance(s, p)
                                                                      : drafter.by_place[place]);
          draft.push_back({truth(s, p) + (is_right ? 0 : 1), drafter.source,
                           drafter.confidence ? drafter.confidence(s, p) : uint8_t{0}});
        }
      }
    }
    economics.allocate(step, 8 * n_sequences);

    uint32_t n_rows = 0;
    for (const SequenceRows& rows : step) n_rows += rows.n_all_rows();
    routing.assign(size_t{kSimLayers} * n_rows * kSimActive, 0);
    uint32_t row = 0;
    for (uint32_t s = 0; s < n_sequences; ++s) {
      for (uint32_t j = 0; j <= step[s].n_verify; ++j, ++row) {
        const std::vector<uint32_t>& chosen = routers[s].at(position[s] + j);
        for (uint32_t layer = 0; layer < kSimLayers; ++layer) {
          std::copy_n(chosen.begin() + layer * kSimActive, kSimActive,
                      routing.begin() + (size_t{layer} * n_rows + row) * kSimActive);
        }
      }
    }
    ByteLedger ledger;
    for (uint32_t layer = 0; layer < kSimLayers; ++layer) {
      const auto begin = routing.begin() + size_t{layer} * n_rows * kSimActive;
      ledger.experts_union += std::set<uint32_t>(begin, begin + n_rows * kSimActive).size();
    }
    ledger.n_moe_layers = kSimLayers;
    ledger.dense_bytes = static_cast<uint64_t>(kDenseBytes);
    ledger.dense_macs = static_cast<uint64_t>(kDenseBytes) * n_rows;
    ledger.routed_bytes = static_cast<uint64_t>(ledger.mean_union() * options.expert_bytes);
    ledger.routed_macs = static_cast<uint64_t>(kSimActive * options.expert_bytes) * n_rows;
    const MachineRates machine{
        kBytesPerSecond, {KernelRates({{1, options.macs_per_second}}, 1.0)}, 1e30};
    double seconds = options.overhead + floor_seconds(ledger, machine);
    if (n_rows > n_sequences) seconds *= options.verify_surprise;
    seconds *= std::max(0.5, 1 + options.noise * gauss());
    if (options.disturb) options.disturb(static_cast<uint32_t>(result.n_steps), &seconds);

    ++result.n_steps;
    uint32_t first_row = 0;
    for (uint32_t s = 0; s < n_sequences; ++s) {
      SequenceRows& rows = step[s];
      uint32_t n_accepted = 0;
      for (;; ++n_accepted) {
        const int32_t token = truth(s, position[s] + n_accepted + 1);
        texts[s].push_back(token);
        if (n_accepted == rows.n_verify || rows.draft[n_accepted].token != token) break;
      }
      rows.first_row = first_row;
      commit(rows, n_accepted, texts[s]);
      first_row += rows.n_all_rows();
      position[s] += n_accepted + 1;
      result.n_verified += rows.n_verify;
      result.n_accepted += n_accepted;
      result.n_accepted_of[s] += n_accepted;
      result.n_tokens += n_accepted + 1;
      for (size_t d = 0; d < options.drafters.size(); ++d) {
        n_waiting[s][d] += n_accepted + 1;
        if (n_waiting[s][d] >= 32) catch_up(s, d);
      }
    }
    result.seconds += std::accumulate(draft_seconds.begin(), draft_seconds.end(), seconds);
    result.token_seconds.resize(static_cast<size_t>(result.n_tokens), result.seconds);
    economics.observe(step, {seconds, draft_seconds, &ledger, routing});
  }
  return result;
}

}  // namespace floe
