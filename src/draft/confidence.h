#pragma once
// How sure a softmax is of one of its tokens.
#include <cstdint>
#include <span>

#include "draft/drafter.h"

namespace floe {

// Level k + 1 begins where the probability reaches the k-th of these. Close together near 1: that
// is where the guesses of a good head lie, and where long drafts begin to pay.
inline constexpr float kConfidenceBegins[kConfidenceLevels - 1] = {0.15f, 0.35f, 0.55f, 0.70f,
                                                                   0.82f, 0.91f, 0.97f};

// The probability that softmax(logits) gives the token, to about 1e-6. logits f32 [n], finite;
// token below n. One pass over the logits.
float softmax_probability(std::span<const float> logits, int32_t token);

uint8_t confidence_level(float probability);

}  // namespace floe
