#include "model/architecture.h"

namespace floe {

namespace {

std::span<const Architecture> architectures() {
  static const Architecture table[] = {
      {"llama", kLlamaKeys, build_llama},
      {"qwen3", kQwen3Keys, build_qwen3},
      {"qwen3moe", kQwen3MoeKeys, build_qwen3},
      {"deepseek2", kDeepseek2Keys, build_deepseek2},
      {"deepseek32", kDeepseek32Keys, build_deepseek2},
      {"glm-dsa", kGlmDsaKeys, build_glm_dsa},
      {"gpt-oss", kGptOssKeys, build_gpt_oss},
  };
  return table;
}

}  // namespace

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture& architecture : architectures()) {
    if (name == architecture.name) return &architecture;
  }
  return nullptr;
}

std::string supported_architectures() {
  std::string names;
  for (const Architecture& architecture : architectures()) {
    if (!names.empty()) names += ", ";
    names += architecture.name;
  }
  return names;
}

}  // namespace floe
