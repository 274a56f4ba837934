#include "sim/fake_model.h"

#include <array>
#include <cstring>
#include <limits>

#include "base/rng.h"

namespace floe {

FakeModel::FakeModel(FakeModelOptions options) : options_(std::move(options)) {
  info_.architecture = "fake";
  info_.name = "fake";
  info_.format = "F32";
  info_.n_layers = 1;
  info_.hidden_dim = 1;
  info_.n_vocab = options_.n_vocab;
  info_.context_length = options_.context_length;
  info_.n_experts = 16;
  info_.n_active_experts = 4;
}

KvLayerSpec FakeModel::layer() const {
  // 16 values hold a Slot in both cache types.
  static_assert(sizeof(Slot) <= 16 * sizeof(uint16_t));
  return {{{1, 16}}, options_.state_bytes};
}

KvCacheBytes FakeModel::cache_bytes(KvTypes types) const {
  return HostKvCache::bytes_of(std::array{layer()}, types);
}

Result<std::unique_ptr<KvCache>> FakeModel::make_cache(const KvCacheLimits& limits) {
  FLOE_TRY(std::unique_ptr<KvCache> cache, HostKvCache::create(std::array{layer()}, limits));
  return cache;
}

Result<void> FakeModel::reserve(const ForwardLimits& limits) {
  limits_ = limits;
  logits_.resize(size_t{limits.max_logit_rows} * options_.n_vocab);
  hidden_.resize(limits.max_rows);
  return {};
}

uint64_t FakeModel::checksum(const Slot& slot) {
  return mix64(slot.hash ^
               mix64((uint64_t{slot.position} << 32) ^ static_cast<uint32_t>(slot.token)));
}

void FakeModel::violate(std::string what) {
  if (violation_.empty()) violation_ = std::move(what);
}

FakeModel::State FakeModel::next(State state, int32_t token, uint32_t position) const {
  if (position == 0) state.may_be_nan = token == options_.nan_marker;
  state.hash = mix64(state.hash ^ (uint64_t{static_cast<uint32_t>(token)} << 20) ^ position);
  return state;
}

bool FakeModel::row_is_nan(const State& state) const {
  return state.may_be_nan && mix64(state.hash ^ 0x6e616eu) % options_.nan_one_in == 0;
}

int32_t FakeModel::greedy_token(const State& state) const {
  return static_cast<int32_t>(state.hash % options_.n_vocab);
}

void FakeModel::logits(const State& state, std::span<float> out) const {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(mix64(state.hash + i) >> 40) * 0x1p-22f;  // 0 .. 4
  }
  out[static_cast<size_t>(greedy_token(state))] = 5.0f;
  if (row_is_nan(state)) {
    const bool infinite = (state.hash & 1) != 0;
    out[state.hash / 2 % out.size()] =
        infinite ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  }
}

Result<ForwardOutput> FakeModel::forward(const ForwardBatch& batch) {
  auto& cache = dynamic_cast<HostKvCache&>(batch.cache);
  ForwardOutput output;
  if (batch.rows.empty() || batch.rows.size() > limits_.max_rows) {
    violate(fmt::format("forward of {} rows, at most {}", batch.rows.size(), limits_.max_rows));
  }
  prefixes_.assign(batch.sequences.size(), Prefix{});
  hidden_.clear();
  for (const ForwardRow& row : batch.rows) {
    if (row.sequence >= batch.sequences.size() || row.position >= limits_.max_context ||
        row.token < 0 || static_cast<uint32_t>(row.token) >= options_.n_vocab) {
      violate("a row is outside the limits");
      break;
    }
    const std::span<const uint32_t> slots = batch.sequences[row.sequence].slots;
    if (slots.size() <= row.position) {
      violate(fmt::format("position {} has no slot", row.position));
      break;
    }
    Prefix& prefix = prefixes_[row.sequence];
    if (prefix.n_positions > row.position) {
      violate(fmt::format("position {} comes twice", row.position));
      break;
    }
    for (; prefix.n_positions < row.position; ++prefix.n_positions) {
      Slot slot;
      std::memcpy(&slot, cache.vector(0, 0, 0, slots[prefix.n_positions]), sizeof slot);
      prefix.state = next(prefix.state, slot.token, prefix.n_positions);
      if (slot.position != prefix.n_positions || slot.hash != prefix.state.hash ||
          slot.checksum != checksum(slot)) {
        violate(fmt::format("slot {} of position {} holds something else",
                            slots[prefix.n_positions], prefix.n_positions));
        prefix.n_positions = row.position;
        break;
      }
    }
    prefix.state = next(prefix.state, row.token, row.position);
    prefix.n_positions = row.position + 1;
    hidden_.push_back(hidden(prefix.state));
    Slot slot{prefix.state.hash, row.position, row.token, 0};
    slot.checksum = checksum(slot);
    std::memcpy(cache.vector(0, 0, 0, slots[row.position]), &slot, sizeof slot);
    if (!row.wants_logits) continue;
    if (output.n_logit_rows >= limits_.max_logit_rows) {
      violate("more rows want logits than were announced");
      break;
    }
    logits(prefix.state,
           {logits_.data() + size_t{output.n_logit_rows} * options_.n_vocab, options_.n_vocab});
    ++output.n_logit_rows;
  }
  const std::optional<Error> failure =
      options_.failure ? options_.failure(batch) : std::optional<Error>();
  if (failure) {
    for (const ForwardRow& row : batch.rows) {
      std::memset(cache.vector(0, 0, 0, batch.sequences[row.sequence].slots[row.position]), 0xee,
                  sizeof(Slot));
    }
    return *failure;
  }
  n_rows_ += batch.rows.size();
  output.logits = logits_.data();
  output.hidden = hidden_.data();
  output.ledger.routed_bytes = 1000 * batch.rows.size();
  output.ledger.dense_bytes = 5000;
  output.ledger.experts_union = std::min<uint64_t>(16, 4 * batch.rows.size());
  output.ledger.n_moe_layers = 1;
  if (options_.after_forward) options_.after_forward(batch.rows.size());
  return output;
}

Result<ForwardOutput> FakeModel::forward_mtp(const ForwardBatch&, const float*) {
  panic(__FILE__, __LINE__, "the fake model has no MTP layer");
}

}  // namespace floe
