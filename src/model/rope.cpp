#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace floe {

namespace {

// The pair index whose wavelength makes n_turns turns within the original context.
double yarn_boundary(double n_turns, const Hparams& hparams) {
  return hparams.rope_dim *
         std::log(hparams.rope_original_context / (n_turns * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(static_cast<double>(hparams.rope_base)));
}

}  // namespace

RopeFrequencies::RopeFrequencies(const Hparams& hparams, std::span<const float> divisors) {
  const uint32_t n_pairs = hparams.rope_dim / 2;
  const double factor = hparams.rope_factor;
  const bool linear = hparams.rope_scaling == "linear";
  const bool yarn = hparams.rope_scaling == "yarn" && hparams.rope_base > 1.0f;
  double low = 0.0;
  double high = 0.0;
  magnitude_ = hparams.rope_attention_factor;
  if (yarn) {
    // Whole pairs, as the reference data has it for every family. gpt-oss was published with
    // boundaries that are not rounded; GGUF has no key that says so.
    low = std::max(0.0, std::floor(yarn_boundary(hparams.yarn_beta_fast, hparams)));
    high =
        std::min(hparams.rope_dim - 1.0, std::ceil(yarn_boundary(hparams.yarn_beta_slow, hparams)));
    // Either the attention scale or cos and sin carry the correction for the longer context.
    if (hparams.yarn_log_multiplier != 0.0f) {
      const double mscale = 1.0 + hparams.yarn_log_multiplier * std::log(factor);
      attention_multiplier_ = static_cast<float>(mscale * mscale);
    } else {
      magnitude_ *= 1.0 + 0.1 * std::log(factor);
    }
  }
  inverse_.resize(n_pairs);
  for (uint32_t i = 0; i < n_pairs; ++i) {
    double inverse = std::pow(static_cast<double>(hparams.rope_base), -2.0 * i / hparams.rope_dim);
    if (!divisors.empty()) inverse /= divisors[i];
    if (linear) inverse /= factor;
    if (yarn) {
      // Fast pairs keep their frequency, slow ones are stretched, those between are blended.
      const double ramp = std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
      inverse = inverse * (1.0 - ramp) + inverse / factor * ramp;
    }
    inverse_[i] = inverse;
  }
}

void RopeFrequencies::fill(uint32_t position, float* cos_sin) const {
  for (size_t i = 0; i < inverse_.size(); ++i) {
    const double angle = position * inverse_[i];
    cos_sin[2 * i] = static_cast<float>(std::cos(angle) * magnitude_);
    cos_sin[2 * i + 1] = static_cast<float>(std::sin(angle) * magnitude_);
  }
}

}  // namespace floe
