#pragma once
// Inside the kernels room: loops that are unrolled whatever the compiler thinks of their size, with
// the index a constant.
//
// Everything has internal linkage and is inlined: see avx2.h.
namespace floe {
namespace {

#define FLOE_INLINE inline __attribute__((always_inline))

template <int kValue>
struct Index {
  static constexpr int value = kValue;
};

template <int kFrom, int kCount, typename Body>
FLOE_INLINE void unroll(const Body& body) {
  if constexpr (kFrom < kCount) {
    body(Index<kFrom>{});
    unroll<kFrom + 1, kCount>(body);
  }
}

}  // namespace
}  // namespace floe
