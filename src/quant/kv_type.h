#pragma once
// The formats in which the KV cache keeps a vector.
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace floe {

// Q8_0: per 32 values an f16 scale and 32 signed bytes, 34 bytes as in GGUF; the last block of a
// vector whose length is no multiple of 32 is filled up with zeros.
enum class KvType : uint8_t { F32, F16, Q8_0 };

inline constexpr size_t kv_vector_bytes(KvType type, uint32_t dim) {
  if (type == KvType::Q8_0) return size_t{(dim + 31) / 32} * 34;
  return size_t{dim} * (type == KvType::F32 ? 4 : 2);
}

// "f32", "f16", "q8_0", as llama.cpp calls them.
const char* to_string(KvType type);
// F16 for a name that is none of them.
KvType parse_kv_type(std::string_view name);

// The types of cached keys and values. The latent vector of MLA and the keys of an indexer are
// keys.
struct KvTypes {
  KvType keys = KvType::F16;
  KvType values = KvType::F16;

  KvTypes() = default;
  KvTypes(KvType key_type, KvType value_type) : keys(key_type), values(value_type) {}
  KvTypes(KvType both) : KvTypes(both, both) {}
};

}  // namespace floe
