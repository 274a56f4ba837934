#pragma once
// Inner loops of the floor probes, one set per instruction set. They return a value that depends on
// all the work, so that nothing can be left out.
#include <cstddef>
#include <cstdint>
#include <span>

namespace floe {

// A way to stream through memory; the probe takes the fastest, since which that is depends on the
// processor's own prefetchers.
struct ReadLoop {
  const char* name;
  // The sum of size_bytes (a multiple of 1024) taken as 64-bit words.
  uint64_t (*run)(const std::byte* data, size_t size_bytes);
};

// n_rounds of register-only work of macs_per_round multiply-adds each.
struct ComputeLoop {
  uint64_t (*run)(uint64_t n_rounds);
  uint64_t macs_per_round;
};

struct ProbeLoops {
  const char* isa;
  std::span<const ReadLoop> read;
  ComputeLoop int8;  // u8 x i8 products summed to i32
  ComputeLoop f32;
};

const ProbeLoops& portable_probe_loops();
// nullptr where the build or the processor lacks the instruction set. The AVX-512 set reads as the
// AVX2 one does: its read is empty.
const ProbeLoops* avx2_probe_loops();
const ProbeLoops* avx512vnni_probe_loops();

}  // namespace floe
