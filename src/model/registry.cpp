#include "model/architecture.h"

namespace floe {

// Each defined in its family's file, arch_NAME.cpp.
extern const Architecture kLlama, kQwen3, kQwen3Moe, kDeepseek2, kDeepseek32, kGlm4Moe, kGlmDsa,
    kGptOss;

namespace {

constexpr const Architecture* kArchitectures[] = {
    &kLlama, &kQwen3, &kQwen3Moe, &kDeepseek2, &kDeepseek32, &kGlm4Moe, &kGlmDsa, &kGptOss,
};

}  // namespace

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture* architecture : kArchitectures) {
    if (name == architecture->name) return architecture;
  }
  return nullptr;
}

std::string supported_architectures() {
  std::string names;
  for (const Architecture* architecture : kArchitectures) {
    if (!names.empty()) names += ", ";
    names += architecture->name;
  }
  return names;
}

}  // namespace floe
