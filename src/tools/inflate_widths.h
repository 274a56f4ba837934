#pragma once
// Which widths of which tensor grow when a model is inflated.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/eagle3_config.h"
#include "model/hparams.h"
#include "store/gguf.h"
#include "store/safetensors.h"

namespace floe {

// What fills the width beside the values that were there.
enum class Padding : uint8_t { zeros, copies };

// A run of columns or of rows.
struct Run {
  uint64_t n = 0;         // in the input
  uint64_t n_padded = 0;  // in the output; a multiple of n where copies fill it
  Padding padding = Padding::zeros;
};

struct TensorPlan {
  std::string name;
  QuantType type = QuantType::F32;
  std::vector<Run> cols;  // of every row, in order
  std::vector<Run> rows;  // of every plane, in order
  uint64_t n_planes = 1;
  bool is_norm = false;  // a norm's weights: F32, to be multiplied by InflatePlan::norm_factor
  TensorDims dims;       // of the output
};

struct InflatePlan {
  float norm_factor = 1;
  float rms_eps = 0;
  std::vector<TensorPlan> tensors;  // in the input's order
};

// ErrorKind::model where the file holds something that cannot be padded: an unknown tensor, a width
// that is not the metadata's, a width that cuts a block.
Result<InflatePlan> plan_inflation(const GgufFile& file, const Hparams& hparams, uint32_t times);

// Of the head's tensors with fractions: vocabularies stay as they are and are left out. Norms are
// F32 whatever they were. The width of the trunk is that of fc.weight.
Result<InflatePlan> plan_head_inflation(const SafetensorsFile& file, const Eagle3Config& config,
                                        uint32_t times);

}  // namespace floe
