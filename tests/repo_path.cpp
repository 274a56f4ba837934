#include "repo_path.h"

#include <cstdlib>
#include <filesystem>

namespace floe {

std::string repo_path(std::string_view relative) {
  return std::string(FLOE_REPO_DIR "/").append(relative);
}

std::vector<std::string> golden_directories() {
  if (const char* chosen = std::getenv("FLOE_GOLDEN_DIR")) return {chosen};
  std::vector<std::string> found;
  const std::string whole = repo_path("../shared/golden");
  if (std::filesystem::exists(whole)) found.push_back(whole);
  found.push_back(FLOE_GOLDEN_UNPACKED);
  return found;
}

std::string golden_directory() {
  return golden_directories().front();
}

}  // namespace floe
