#include "fuzz/eagle3_properties.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "model/eagle3_head.h"
#include "tiny/tiny_head.h"
#include "tiny/tiny_model.h"

namespace floe::test {

namespace {

namespace fs = std::filesystem;

struct Seed {
  std::vector<std::byte> config;
  std::vector<std::byte> weights;
  uint64_t header_end = 0;
  uint64_t vocabulary_begin = 0;
};

Seed make_seed(TinyHead head) {
  // Behind everything else, so that a place reaches them.
  for (const char* name : {"d2t", "t2d"}) {
    TinyHeadTensor tensor = head.find(name);
    head.remove(name);
    head.tensors.push_back(std::move(tensor));
  }
  Seed seed;
  seed.config = head.config_file();
  seed.weights = head.weights_file(&seed.header_end);
  seed.vocabulary_begin =
      seed.weights.size() - head.find("d2t").bytes.size() - head.find("t2d").bytes.size();
  return seed;
}

const std::vector<Seed>& seeds() {
  static const std::vector<Seed> all = [] {
    std::vector<Seed> made;
    made.push_back(make_seed(tiny_head()));
    TinyHead own = tiny_head(24, "layers.0.");
    own.add("embed_tokens.weight", {kTinyVocab, 24});
    own.config.erase("eagle_config");
    own.config["eagle_aux_hidden_state_layer_ids"] = {1, 2, 2};
    own.config["norm_before_residual"] = true;
    made.push_back(make_seed(std::move(own)));
    return made;
  }();
  return all;
}

// A folder that is gone when the process ends in order.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "floe-fuzz-XXXXXX").string();
    FLOE_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  std::string write(const char* name, std::span<const std::byte> bytes) const {
    const std::string path = (path_ / name).string();
    fs::remove(path);  // what is cut and written again, some file systems write out at once
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    out.close();
    FLOE_CHECK(out.good());
    return path;
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

std::string check_error(const Error& error) {
  if (error.message.empty()) return "an error without a message";
  for (const char ch : error.message) {
    if (static_cast<unsigned char>(ch) < 0x20) return "a control character in: " + error.message;
  }
  return "";
}

std::string check_run(Eagle3Head& head, uint32_t n_trunk_layers) {
  for (const uint32_t layer : head.tap_layers()) {
    if (layer >= n_trunk_layers) return "a tap behind a layer that is not there";
  }
  ForwardLimits limits;
  limits.max_rows = 4;
  limits.max_logit_rows = 4;
  limits.max_context = 8;
  if (const auto reserved = head.reserve(limits); !reserved.ok()) {
    return check_error(reserved.error());
  }
  auto cache = head.make_cache({8, KvType::F16});
  if (!cache.ok()) return check_error(cache.error());
  const std::vector<uint32_t> slots{5, 3, 1, 7, 0, 2, 4, 6};
  const SequenceSlots sequence{slots};
  std::vector<ForwardRow> rows;
  for (uint32_t i = 0; i < 6; ++i) {
    rows.push_back({static_cast<int32_t>(i * 7 % head.n_vocab()), i, 0, true});
  }
  const std::vector<float> taps(size_t{4} * head.taps_dim(), 0.25f);
  ForwardOutput output = head.forward({std::span(rows).first(4), {&sequence, 1}, **cache},
                                      taps.data(), Eagle3Head::Features::taps);
  if (output.n_logit_rows != 4) return "a forward returned another number of rows";
  for (uint32_t i = 4; i < 6; ++i) {
    const std::vector<float> own(output.hidden, output.hidden + head.hidden_dim());
    output = head.forward({std::span(rows).subspan(i, 1), {&sequence, 1}, **cache}, own.data(),
                          Eagle3Head::Features::own);
  }
  uint32_t n_known = 0;
  for (uint32_t i = 0; i < head.n_vocab(); ++i) {
    n_known += output.logits[i] != Eagle3Head::kUnknownLogit ? 1 : 0;
  }
  return n_known > head.n_draft_vocab() ? "more logits than the head knows" : "";
}

}  // namespace

std::string check_eagle3_properties(std::span<const uint8_t> input) {
  static ThreadPool pool(1, false);
  static const Folder folder;
  static const std::unique_ptr<Model> trunk = [] {
    auto loaded = load_model(folder.write("trunk.gguf", tiny_llama().bytes()), {}, pool);
    FLOE_CHECK(loaded.ok());
    return std::move(loaded).value();
  }();
  if (input.empty()) return "";
  Seed seed = seeds()[input[0] % seeds().size()];
  for (size_t at = 1; at + 4 <= input.size(); at += 4) {
    const uint32_t place =
        input[at] | (uint32_t{input[at + 1]} << 8) | (uint32_t{input[at + 2]} << 16);
    const uint32_t part = place >> 22;
    const uint32_t offset = place & 0x3fffffu;
    const auto value = static_cast<std::byte>(input[at + 3]);
    const uint64_t n_bytes = seed.weights.size();
    if (part == 0) seed.weights[offset % n_bytes] = value;
    if (part == 1) seed.weights[offset % seed.header_end] = value;
    if (part == 2) seed.config[offset % seed.config.size()] = value;
    if (part == 3) {
      seed.weights[seed.vocabulary_begin + offset % (n_bytes - seed.vocabulary_begin)] = value;
    }
  }
  folder.write("config.json", seed.config);
  folder.write("model.safetensors", seed.weights);
  Eagle3Options options;
  options.quantize = input[0] / seeds().size() % 2 == 0;
  auto head = Eagle3Head::load(folder.path(), *trunk, options, pool);
  if (!head.ok()) return check_error(head.error());
  return check_run(**head, trunk->info().n_layers);
}

}  // namespace floe::test
