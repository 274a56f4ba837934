#include "tiny/tiny_head.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "tiny/tiny_model.h"

namespace floe::test {

TinyHeadTensor& TinyHead::add(const std::string& name, std::vector<uint32_t> shape, double gain) {
  size_t n = 1;
  for (const uint32_t size : shape) n *= size;
  std::normal_distribution<double> noise;
  std::vector<float> values(n);
  for (float& v : values) {
    v = static_cast<float>(shape.size() == 1 ? 1 + 0.1 * noise(random)
                                             : gain * noise(random) / std::sqrt(shape[1]));
  }
  const auto raw = std::as_bytes(std::span(values));
  return tensors.emplace_back(TinyHeadTensor{name, "F32", shape, {raw.begin(), raw.end()}});
}

TinyHeadTensor& TinyHead::find(std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const auto& tensor) { return tensor.name == name; });
  FLOE_CHECK(found != tensors.end());
  return *found;
}

bool TinyHead::has(std::string_view name) const {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const auto& tensor) { return tensor.name == name; });
}

void TinyHead::remove(std::string_view name) {
  std::erase_if(tensors, [&](const auto& tensor) { return tensor.name == name; });
}

std::vector<std::byte> TinyHead::config_file() const {
  const std::string text = dump_json(config);
  const auto raw = std::as_bytes(std::span(text));
  return {raw.begin(), raw.end()};
}

std::vector<std::byte> TinyHead::weights_file(uint64_t* header_end) const {
  Json header = Json::object();
  std::vector<std::byte> data;
  for (const TinyHeadTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data.insert(data.end(), tensor.bytes.begin(), tensor.bytes.end());
  }
  const std::string text = dump_json(header);
  const uint64_t n = text.size();
  std::vector<std::byte> file(8 + n);
  std::memcpy(file.data(), &n, 8);
  std::memcpy(file.data() + 8, text.data(), n);
  file.insert(file.end(), data.begin(), data.end());
  if (header_end != nullptr) *header_end = 8 + n;
  return file;
}

TinyHead tiny_head(uint32_t hidden, const std::string& p) {
  TinyHead head;
  head.config = {{"hidden_size", hidden},
                 {"intermediate_size", TinyHead::kFfn},
                 {"num_hidden_layers", 1},
                 {"num_attention_heads", TinyHead::kHeads},
                 {"num_key_value_heads", TinyHead::kKvHeads},
                 {"head_dim", TinyHead::kHeadDim},
                 {"hidden_act", "silu"},
                 {"rms_norm_eps", TinyHead::kEps},
                 {"rope_theta", TinyHead::kTheta},
                 {"eagle_config", {{"eagle_aux_hidden_state_layer_ids", {1, 0, 1}}}}};
  head.add("fc.weight", {hidden, 3 * TinyHead::kTrunkHidden});
  head.add(p + "input_layernorm.weight", {hidden});
  head.add(p + "hidden_norm.weight", {hidden});
  head.add(p + "self_attn.q_proj.weight", {TinyHead::kHeads * TinyHead::kHeadDim, 2 * hidden}, 2.0);
  head.add(p + "self_attn.k_proj.weight", {TinyHead::kKvHeads * TinyHead::kHeadDim, 2 * hidden},
           2.0);
  head.add(p + "self_attn.v_proj.weight", {TinyHead::kKvHeads * TinyHead::kHeadDim, 2 * hidden});
  head.add(p + "self_attn.o_proj.weight", {hidden, TinyHead::kHeads * TinyHead::kHeadDim});
  head.add(p + "post_attention_layernorm.weight", {hidden});
  head.add(p + "mlp.gate_proj.weight", {TinyHead::kFfn, hidden});
  head.add(p + "mlp.up_proj.weight", {TinyHead::kFfn, hidden});
  head.add(p + "mlp.down_proj.weight", {hidden, TinyHead::kFfn});
  head.add("norm.weight", {hidden});
  head.add("lm_head.weight", {TinyHead::kDraftVocab, hidden});
  std::vector<int64_t> offsets;
  std::vector<uint8_t> mask(kTinyVocab, 0);
  for (uint32_t i = 0; i < TinyHead::kDraftVocab; ++i) {
    offsets.push_back(static_cast<int64_t>(TinyHead::target_of(i)) - i);
    mask[TinyHead::target_of(i)] = 1;
  }
  head.add_raw("d2t", "I64", offsets);
  head.add_raw("t2d", "BOOL", mask);
  return head;
}

}  // namespace floe::test
