#pragma once
// Synthetic models: random weights in the shape of a published one, for speed runs and for tests.
//
// Weights are drawn so that activations keep their size through the layers; routing is close to
// uniform and independent, the worst case for a union of experts. The words are another model's.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "quant/format.h"

namespace floe {

struct SynthOptions {
  std::string like;                  // a name of synth_shapes()
  std::optional<uint32_t> n_layers;  // default: the shape's
  std::optional<uint32_t>
      n_dense;  // leading dense layers; default: the shape's, 1 when n_layers is given
  std::optional<uint32_t> n_experts;  // default: the shape's
  std::optional<uint32_t> n_vocab;    // default: the shape's
  QuantType type = QuantType::Q4_0;   // of every matrix but routers; rows that are no multiple of
                                      // its block take Q5_0 for Q4_K, Q5_1 for Q5_K, Q8_0 for Q6_K,
                                      // and F16 where even that does not fit
  uint64_t seed = 1;
  std::string words_path;  // a GGUF file whose vocabulary is taken (add_words); empty: none, and
                           // the model takes token ids alone
  std::string output_path;
  bool show_progress = true;
};

struct SynthResult {
  uint64_t n_params = 0;
  uint64_t file_bytes = 0;
  double seconds = 0;
};

std::vector<std::string> synth_shapes();
std::vector<std::string> synth_types();

// ErrorKind::usage for an unknown shape or an impossible change to it; ErrorKind::runtime for the
// disk.
Result<SynthResult> synthesize(const SynthOptions& options);

}  // namespace floe
