#pragma once
// How sure a softmax is of one of its tokens.
#include <cstdint>
#include <span>

#include "draft/sequence_rows.h"

namespace floe {

// Level k + 1 begins where the probability reaches the k-th of these. Close together near 1: that
// is where the guesses of a good head lie, and where long drafts begin to pay.
inline constexpr float kConfidenceBegins[kConfidenceLevels - 1] = {0.05f, 0.20f, 0.40f, 0.60f,
                                                                   0.80f, 0.90f, 0.97f};

// The probability that softmax(logits) gives the token, to about 1e-6. logits f32 [n], finite;
// token below n. One pass over the logits.
float softmax_probability(std::span<const float> logits, int32_t token);

uint8_t confidence_level(float probability);

}  // namespace floe
