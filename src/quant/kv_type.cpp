#include "quant/kv_type.h"

namespace floe {

const char* to_string(KvType type) {
  switch (type) {
    case KvType::F32:
      return "f32";
    case KvType::F16:
      return "f16";
    case KvType::Q8_0:
      return "q8_0";
  }
  return "";
}

KvType parse_kv_type(std::string_view name) {
  for (const KvType type : {KvType::F32, KvType::Q8_0}) {
    if (name == to_string(type)) return type;
  }
  return KvType::F16;
}

}  // namespace floe
