#pragma once
// Arithmetic on sizes that come from files. Every sum, product and round-up of such numbers goes
// through here: an overflow is reported, and never becomes a small number.
#include <cstdint>
#include <optional>

namespace floe {

[[nodiscard]] inline bool checked_add(uint64_t a, uint64_t b, uint64_t& sum) {
  return !__builtin_add_overflow(a, b, &sum);
}

[[nodiscard]] inline bool checked_mul(uint64_t a, uint64_t b, uint64_t& product) {
  return !__builtin_mul_overflow(a, b, &product);
}

inline constexpr bool is_power_of_two(uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

// value rounded up to a multiple of `alignment`, a power of two; nothing where that overflows.
inline std::optional<uint64_t> checked_align_up(uint64_t value, uint64_t alignment) {
  uint64_t sum = 0;
  if (!checked_add(value, alignment - 1, sum)) return std::nullopt;
  return sum & ~(alignment - 1);
}

}  // namespace floe
