#pragma once
// One tensor, padded as its plan says.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/error.h"
#include "quant/format.h"
#include "tools/inflate_widths.h"

namespace floe {

// Fills out with the tensor's bytes from `begin` on, in the plan's format.
using ReadTensor = std::function<Result<void>(uint64_t begin, std::span<std::byte> out)>;
// Takes the next bytes of the padded tensor.
using WriteTensor = std::function<Result<void>(std::span<const std::byte> bytes)>;

// norm_factor: InflatePlan's. Memory: 4 MiB of input and of output, a row each at least.
Result<void> pad_tensor(const TensorPlan& plan, float norm_factor, const ReadTensor& read,
                        const WriteTensor& write);

// A block of the format whose weights are all exactly zero.
std::vector<std::byte> zero_block(QuantType type);

}  // namespace floe
