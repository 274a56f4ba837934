#include "tools/synth_weights.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "base/rng.h"
#include "quant/blocks.h"

namespace floe {

namespace {

// Standard deviation of n equally likely consecutive integers.
float uniform_deviation(float n) {
  return std::sqrt((n * n - 1) / 12);
}

void fill_random_bytes(uint64_t seed, std::span<std::byte> bytes) {
  size_t i = 0;
  uint64_t counter = mix64(seed);
  for (; i + 8 <= bytes.size(); i += 8) {
    const uint64_t value = mix64(counter++);
    std::memcpy(bytes.data() + i, &value, 8);
  }
  const uint64_t value = mix64(counter);
  std::memcpy(bytes.data() + i, &value, bytes.size() - i);
}

// Half of the blocks count downwards: codes from -8 to 7 are not centred, and a common offset of
// all weights would push every token to the same experts.
uint16_t with_random_sign(uint16_t scale, const uint8_t* quants) {
  return (quants[0] ^ (quants[1] >> 1)) & 1 ? scale ^ 0x8000 : scale;
}

template <typename Block, typename Patch>
void patch_blocks(std::span<std::byte> blocks, Patch&& patch) {
  auto* block = reinterpret_cast<Block*>(blocks.data());
  for (size_t i = 0; i < blocks.size() / sizeof(Block); ++i) patch(block[i]);
}

// All eight sub-blocks of Q4_K and Q5_K get this scale and this minimum.
constexpr uint8_t kSubScale = 32;

void set_k_scales(uint8_t (&scales)[12]) {
  for (int s = 0; s < 4; ++s) {
    scales[s] = kSubScale | static_cast<uint8_t>((kSubScale >> 4) << 6);
    scales[s + 4] = scales[s];
    scales[s + 8] = (kSubScale & 15) | static_cast<uint8_t>((kSubScale & 15) << 4);
  }
}

// E2M1 values, doubled, have this root mean square when all sixteen codes are equally likely.
constexpr float kE2m1DoubledRms = 5.852350f;

template <typename Store>
void fill_plain(float deviation, uint64_t seed, size_t n_values, Store&& store) {
  const float half_width = deviation * std::sqrt(3.0f);
  uint64_t counter = mix64(seed);
  for (size_t i = 0; i < n_values; ++i) {
    const float unit = static_cast<float>(mix64(counter++) >> 40) * 0x1p-23f - 1.0f;
    store(i, unit * half_width);
  }
}

}  // namespace

bool can_fill(QuantType type) {
  switch (type) {
    case QuantType::F32:
    case QuantType::F16:
    case QuantType::BF16:
    case QuantType::Q4_0:
    case QuantType::Q4_1:
    case QuantType::Q5_0:
    case QuantType::Q5_1:
    case QuantType::Q8_0:
    case QuantType::Q4_K:
    case QuantType::Q5_K:
    case QuantType::Q6_K:
    case QuantType::IQ4_NL:
    case QuantType::MXFP4:
      return true;
    default:
      return false;
  }
}

void fill_random_blocks(QuantType type, float deviation, uint64_t seed,
                        std::span<std::byte> blocks) {
  if (type == QuantType::F32 || type == QuantType::F16 || type == QuantType::BF16) {
    auto* f32 = reinterpret_cast<float*>(blocks.data());
    auto* half = reinterpret_cast<uint16_t*>(blocks.data());
    fill_plain(deviation, seed, blocks.size() / format_traits(type).block_bytes,
               [&](size_t i, float value) {
                 if (type == QuantType::F32) {
                   f32[i] = value;
                 } else {
                   half[i] = type == QuantType::F16 ? f32_to_f16(value) : f32_to_bf16(value);
                 }
               });
    return;
  }
  fill_random_bytes(seed, blocks);
  switch (type) {
    case QuantType::Q4_0: {
      const uint16_t d = f32_to_f16(deviation / uniform_deviation(16));
      return patch_blocks<BlockQ4_0>(blocks,
                                     [=](BlockQ4_0& b) { b.d = with_random_sign(d, b.qs); });
    }
    case QuantType::Q4_1: {
      const float d = deviation / uniform_deviation(16);
      const uint16_t scale = f32_to_f16(d);
      const uint16_t minimum = f32_to_f16(-7.5f * d);
      return patch_blocks<BlockQ4_1>(blocks, [=](BlockQ4_1& b) {
        b.d = scale;
        b.m = minimum;
      });
    }
    case QuantType::Q5_0: {
      const uint16_t d = f32_to_f16(deviation / uniform_deviation(32));
      return patch_blocks<BlockQ5_0>(blocks,
                                     [=](BlockQ5_0& b) { b.d = with_random_sign(d, b.qs); });
    }
    case QuantType::Q5_1: {
      const float d = deviation / uniform_deviation(32);
      const uint16_t scale = f32_to_f16(d);
      const uint16_t minimum = f32_to_f16(-15.5f * d);
      return patch_blocks<BlockQ5_1>(blocks, [=](BlockQ5_1& b) {
        b.d = scale;
        b.m = minimum;
      });
    }
    case QuantType::Q8_0: {
      const uint16_t d = f32_to_f16(deviation / uniform_deviation(256));
      return patch_blocks<BlockQ8_0>(blocks, [=](BlockQ8_0& b) {
        b.d = with_random_sign(d, reinterpret_cast<const uint8_t*>(b.qs));
      });
    }
    case QuantType::Q4_K: {
      const float d = deviation / (uniform_deviation(16) * kSubScale);
      return patch_blocks<BlockQ4_K>(blocks, [=](BlockQ4_K& b) {
        b.d = f32_to_f16(d);
        b.dmin = f32_to_f16(7.5f * d);
        set_k_scales(b.scales);
      });
    }
    case QuantType::Q5_K: {
      const float d = deviation / (uniform_deviation(32) * kSubScale);
      return patch_blocks<BlockQ5_K>(blocks, [=](BlockQ5_K& b) {
        b.d = f32_to_f16(d);
        b.dmin = f32_to_f16(15.5f * d);
        set_k_scales(b.scales);
      });
    }
    case QuantType::Q6_K: {
      const uint16_t d = f32_to_f16(deviation / (uniform_deviation(64) * kSubScale));
      return patch_blocks<BlockQ6_K>(blocks, [=](BlockQ6_K& b) {
        b.d = with_random_sign(d, b.ql);
        std::memset(b.scales, kSubScale, sizeof(b.scales));
      });
    }
    case QuantType::IQ4_NL: {
      float square = 0;
      for (const int8_t value : kIq4Values) square += static_cast<float>(value) * value / 16;
      const uint16_t d = f32_to_f16(deviation / std::sqrt(square));
      return patch_blocks<BlockIQ4_NL>(blocks,
                                       [=](BlockIQ4_NL& b) { b.d = with_random_sign(d, b.qs); });
    }
    case QuantType::MXFP4: {
      const float exponent = std::round(std::log2(deviation / kE2m1DoubledRms)) + 128;
      const auto e = static_cast<uint8_t>(std::fmin(254.0f, std::fmax(0.0f, exponent)));
      return patch_blocks<BlockMXFP4>(blocks, [=](BlockMXFP4& b) { b.e = e; });
    }
    default:
      FLOE_CHECK(can_fill(type));
  }
}

}  // namespace floe
