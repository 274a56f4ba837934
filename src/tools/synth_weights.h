#pragma once
// Random blocks of every format that synth writes, made without decoding or encoding: random quants
// under constant scales, so that a model is written as fast as the disk takes it.
#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/format.h"

namespace floe {

bool can_fill(QuantType type);

// Fills whole blocks with weights of mean near 0 and standard deviation near `deviation`. The bytes
// are a function of seed only.
void fill_random_blocks(QuantType type, float deviation, uint64_t seed,
                        std::span<std::byte> blocks);

}  // namespace floe
