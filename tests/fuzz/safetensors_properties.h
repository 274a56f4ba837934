#pragma once
// What must hold for any bytes given to the safetensors parsers; shared by the fuzzer and the
// replay of its corpus.
#include <cstddef>
#include <span>
#include <string>

namespace floe {

// Empty when every property holds, else the one that does not.
//  - parsing, as a file and as an index, allocates at most 64 KiB + 16 x the input
//  - accepted: tensors fill the bytes behind the header without gaps, names are unique
std::string check_safetensors_properties(std::span<const std::byte> input);

}  // namespace floe
