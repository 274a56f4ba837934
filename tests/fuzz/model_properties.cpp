#include "fuzz/model_properties.h"

#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "model/model.h"
#include "store/gguf.h"
#include "tiny/tiny_model.h"

namespace floe::test {

namespace {

struct Seed {
  std::vector<std::byte> bytes;
  uint64_t header_bytes = 0;
  bool has_head = false;
};

const std::vector<Seed>& seeds() {
  static const std::vector<Seed> all = [] {
    std::vector<Seed> made;
    for (const auto& [name, model] : all_tiny_models()) {
      Seed seed;
      seed.bytes = model.bytes();
      const auto index = parse_gguf(seed.bytes, name);
      FLOE_CHECK(index.ok());
      seed.header_bytes = index->data_begin;
      seed.has_head = name == "glm_dsa";
      made.push_back(std::move(seed));
    }
    return made;
  }();
  return all;
}

// A file that lives as long as this object and has a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const std::byte> bytes)
      : file_(memfd_create("model", MFD_CLOEXEC)) {
    FLOE_CHECK(file_ >= 0);
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = write(file_, bytes.data() + done, bytes.size() - done);
      FLOE_CHECK(n > 0);
      done += static_cast<size_t>(n);
    }
  }
  ~MemoryFile() { close(file_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

std::string check_error(const Error& error) {
  if (error.message.empty()) return "an error without a message";
  for (const char ch : error.message) {
    if (static_cast<unsigned char>(ch) < 0x20) return "a control character in: " + error.message;
  }
  return "";
}

std::string check_load(const std::string& path, const ModelOptions& options) {
  static ThreadPool pool(1, false);
  auto loaded = load_model(path, options, pool);
  if (!loaded.ok()) return check_error(loaded.error());
  Model& model = **loaded;

  ForwardLimits limits;
  limits.max_rows = 8;
  limits.max_logit_rows = 8;
  limits.max_context = 16;
  if (const auto reserved = model.reserve(limits); !reserved.ok())
    return check_error(reserved.error());
  auto cache = model.make_cache({16, KvType::F16});
  if (!cache.ok()) return check_error(cache.error());
  std::vector<uint32_t> slots(16);
  for (uint32_t i = 0; i < 16; ++i) slots[i] = 15 - i;
  const SequenceSlots sequence{slots};
  const uint32_t n_vocab = model.info().n_vocab;
  std::vector<ForwardRow> rows;
  for (uint32_t i = 0; i < 10; ++i)
    rows.push_back({static_cast<int32_t>(i * 7 % n_vocab), i, 0, true});
  // A prefill and two decode steps, then a draft.
  uint32_t n_logit_rows = 0;
  for (const auto& [first, count] : {std::pair<uint32_t, uint32_t>{0, 8}, {8, 1}, {9, 1}}) {
    const ForwardOutput output =
        model.forward({std::span(rows).subspan(first, count), {&sequence, 1}, **cache}).value();
    n_logit_rows += output.n_logit_rows;
  }
  if (n_logit_rows != 10) return "a forward returned another number of rows";
  if (model.info().has_mtp) {
    const std::vector<float> hidden(model.info().hidden_dim, 0.25f);
    model.forward_mtp({std::span(rows).first(1), {&sequence, 1}, **cache}, hidden.data()).value();
  }
  return "";
}

}  // namespace

std::string check_model_properties(std::span<const uint8_t> input) {
  if (input.empty()) return "";
  const Seed& seed = seeds()[input[0] % seeds().size()];
  std::vector<std::byte> bytes = seed.bytes;
  for (size_t at = 1; at + 4 <= input.size(); at += 4) {
    const uint32_t place =
        input[at] | (uint32_t{input[at + 1]} << 8) | (uint32_t{input[at + 2]} << 16);
    const bool in_header = (place & 0x800000u) != 0;
    const uint64_t range = in_header ? seed.header_bytes : bytes.size();
    bytes[(place & 0x7fffffu) % range] = static_cast<std::byte>(input[at + 3]);
  }
  const MemoryFile file(bytes);
  if (std::string broken = check_load(file.path(), {}); !broken.empty()) return broken;
  if (!seed.has_head) return "";
  // The same bytes as the file of the head of a model that is whole.
  const MemoryFile trunk(seed.bytes);
  ModelOptions options;
  options.mtp_path = file.path();
  return check_load(trunk.path(), options);
}

}  // namespace floe::test
