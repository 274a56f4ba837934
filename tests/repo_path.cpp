#include "repo_path.h"

#include <cstdlib>
#include <filesystem>

namespace floe {

std::string repo_path(std::string_view relative) {
  return std::string(FLOE_REPO_DIR "/").append(relative);
}

std::string golden_directory() {
  if (const char* chosen = std::getenv("FLOE_GOLDEN_DIR")) return chosen;
  const std::string whole = repo_path("../shared/golden");
  return std::filesystem::exists(whole) ? whole : FLOE_GOLDEN_UNPACKED;
}

}  // namespace floe
