#pragma once
// Rotary position embedding: which angle each pair of values turns by at a position.
#include <cstdint>
#include <span>
#include <vector>

#include "model/hparams.h"

namespace floe {

// Frequencies of one model; every layer and the indexer use the same.
class RopeFrequencies {
 public:
  RopeFrequencies() = default;
  // Linear and YaRN scaling as the hyperparameters say. divisors [rope_dim / 2] divide the
  // frequencies (rope_freqs.weight); empty: none.
  RopeFrequencies(const Hparams& hparams, std::span<const float> divisors);

  uint32_t n_pairs() const { return static_cast<uint32_t>(inverse_.size()); }
  // cos_sin f32 [n_pairs][2] of one position.
  void fill(uint32_t position, float* cos_sin) const;
  // The factor that YaRN puts on the attention scale; 1 without YaRN.
  float attention_multiplier() const { return attention_multiplier_; }

 private:
  std::vector<double> inverse_;  // radians per position
  double magnitude_ = 1.0;       // of cos and sin
  float attention_multiplier_ = 1.0f;
};

}  // namespace floe
