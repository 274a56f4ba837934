#pragma once
// Larger models that say the same: widths padded K times so that a trained model too small to
// leave the cache reads as many bytes per token as one that does not, with its own routing, its own
// text and its own draft head.
//
// Hidden state, low ranks (MLA) and FFN inner widths grow; heads, experts, layers and vocabulary
// stay. A matrix keeps its blocks bit for bit in the corner of a larger one, whose other blocks are
// zero, so nothing is quantised again. An RMS norm over n values of which all but n / K are zero:
//   x / sqrt(mean(x^2) / K + eps / K) * (w / sqrt(K)) = x / sqrt(mean(x^2) + eps) * w
// Every norm of a file shares its epsilon. Where one of them is over a head and so does not grow
// (qwen3's queries and keys), the epsilon stays and the hidden state is held K times over instead:
// its mean square is then the same, and the norms' weights, zero beyond the first copy, leave one
// copy for the matrices to read.
//
// K = 4, 16, 64 scale by powers of two: every logit keeps its bits where the normed widths are
// multiples of 32 and no norm is over a head. Elsewhere logits move by rounding errors of F32,
// which 8-bit activations turn into a step of 1/127 here and there: the same text but for close
// calls.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "quant/format.h"

namespace floe {

inline constexpr uint32_t kMaxInflation = 64;

struct InflateOptions {
  std::string model_path;  // GGUF, or the folder of an EAGLE-3 head
  std::string output_path;
  uint32_t times = 2;  // K, 2 .. kMaxInflation
  bool show_progress = true;
};

struct InflateResult {
  uint64_t input_bytes = 0;  // of tensor data
  uint64_t output_bytes = 0;
  double seconds = 0;
};

// ErrorKind::usage where the output is a file of the input; ErrorKind::model for an architecture or
// a tensor that cannot be padded; ErrorKind::runtime for the disk. Memory: a few rows.
Result<InflateResult> inflate(const InflateOptions& options);

}  // namespace floe
