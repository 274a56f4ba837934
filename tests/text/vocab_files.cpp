#include "text/vocab_files.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "repo_path.h"
#include "store/gguf.h"

namespace floe::testing {

std::string shared_dir() {
  const std::string path = repo_path("../shared");
  return std::filesystem::exists(path) ? path : std::string();
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

const Tokenizer* reference_tokenizer(const std::string& name) {
  static std::map<std::string, std::unique_ptr<const Tokenizer>> loaded;
  const auto found = loaded.find(name);
  if (found != loaded.end()) return found->second.get();
  const std::string path = shared_dir() + "/vocab/ggml-vocab-" + name + ".gguf";
  if (shared_dir().empty() || !std::filesystem::exists(path)) return nullptr;
  const Result<GgufFile> file = GgufFile::open(path, NoTensors::allow);
  FLOE_CHECK(file.ok());
  Result<std::unique_ptr<const Tokenizer>> tokenizer = Tokenizer::load(*file);
  FLOE_CHECK(tokenizer.ok());
  return loaded.emplace(name, std::move(tokenizer).value()).first->second.get();
}

}  // namespace floe::testing
