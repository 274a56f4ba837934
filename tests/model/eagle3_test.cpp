// EAGLE-3: a tiny head against a reference in double precision, and heads that
// are refused.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>

#include "base/json.h"
#include "model/eagle3_head.h"
#include "model/harness.h"
#include "quant/format.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_head.h"
#include "tiny/tiny_model.h"

namespace floe::test {
namespace {

constexpr uint32_t kHidden = 32;  // of the tiny models

using Values = std::vector<double>;

Values norm(const Values& x, const Values& weight, double eps) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  const double factor = 1.0 / std::sqrt(sum / static_cast<double>(x.size()) + eps);
  Values out(x.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * factor * weight[i];
  return out;
}

Values operator+(Values a, const Values& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

Values joined(Values a, const Values& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Values values(TinyHead& head, const std::string& name) {
  const TinyHeadTensor& tensor = head.find(name);
  std::vector<float> floats(tensor.bytes.size() / 4);
  std::memcpy(floats.data(), tensor.bytes.data(), tensor.bytes.size());
  return {floats.begin(), floats.end()};
}

Values row(TinyHead& head, const std::string& name, uint32_t index) {
  const Values all = values(head, name);
  const uint32_t n_cols = head.find(name).shape[1];
  return {all.begin() + index * n_cols, all.begin() + (index + 1) * n_cols};
}

Values times(TinyHead& head, const std::string& name, const Values& x) {
  const Values all = values(head, name);
  const TinyHeadTensor& tensor = head.find(name);
  EXPECT_EQ(tensor.shape[1], x.size());
  Values out(tensor.shape[0], 0.0);
  for (size_t r = 0; r < out.size(); ++r) {
    for (size_t c = 0; c < x.size(); ++c) out[r] += all[r * x.size() + c] * x[c];
  }
  return out;
}

// The head as it is once its matrices of whole blocks are Q4_0.
TinyHead rounded(TinyHead head) {
  const FormatTraits& format = format_traits(QuantType::Q4_0);
  for (TinyHeadTensor& tensor : head.tensors) {
    if (tensor.dtype != "F32" || tensor.shape.size() != 2) continue;
    if (tensor.shape[1] % format.block_elems != 0) continue;
    std::vector<float> floats(tensor.bytes.size() / sizeof(float));
    std::memcpy(floats.data(), tensor.bytes.data(), tensor.bytes.size());
    std::vector<std::byte> blocks(row_bytes(QuantType::Q4_0, floats.size()));
    format.encode(floats.data(), blocks.data(), floats.size());
    format.decode(blocks.data(), floats.data(), floats.size());
    std::memcpy(tensor.bytes.data(), floats.data(), tensor.bytes.size());
  }
  return head;
}

// The published formulas, one row after the other.
class Reference {
 public:
  Reference(TinyHead head, std::string prefix, bool norms_residual,
            std::function<Values(int32_t)> embed)
      : head_(std::move(head)),
        p_(std::move(prefix)),
        norms_residual_(norms_residual),
        embed_(std::move(embed)) {}

  Values fuse(const Values& taps) { return times(head_, "fc.weight", taps); }

  // The next row, at the position after the last one's. Keeps `features` for what follows.
  Values step(int32_t token, const Values& features) {
    const Values normed = norm(features, values(head_, p_ + "hidden_norm.weight"), TinyHead::kEps);
    const Values x = joined(
        norm(embed_(token), values(head_, p_ + "input_layernorm.weight"), TinyHead::kEps), normed);
    Values q = times(head_, p_ + "self_attn.q_proj.weight", x);
    Values k = times(head_, p_ + "self_attn.k_proj.weight", x);
    turn(q);
    turn(k);
    keys_.push_back(k);
    values_.push_back(times(head_, p_ + "self_attn.v_proj.weight", x));
    Values attended;
    for (uint32_t h = 0; h < TinyHead::kHeads; ++h) {
      const size_t kv = h / (TinyHead::kHeads / TinyHead::kKvHeads) * TinyHead::kHeadDim;
      Values weights;
      double sum = 0;
      for (const Values& key : keys_) {
        double score = 0;
        for (uint32_t i = 0; i < TinyHead::kHeadDim; ++i)
          score += q[h * TinyHead::kHeadDim + i] * key[kv + i];
        weights.push_back(std::exp(score / std::sqrt(static_cast<double>(TinyHead::kHeadDim))));
        sum += weights.back();
      }
      Values mean(TinyHead::kHeadDim, 0.0);
      for (size_t t = 0; t < weights.size(); ++t) {
        for (uint32_t i = 0; i < TinyHead::kHeadDim; ++i)
          mean[i] += weights[t] / sum * values_[t][kv + i];
      }
      attended = joined(attended, mean);
    }
    Values hidden = (norms_residual_ ? normed : features) +
                    times(head_, p_ + "self_attn.o_proj.weight", attended);
    const Values y =
        norm(hidden, values(head_, p_ + "post_attention_layernorm.weight"), TinyHead::kEps);
    Values inner = times(head_, p_ + "mlp.gate_proj.weight", y);
    const Values up = times(head_, p_ + "mlp.up_proj.weight", y);
    for (size_t i = 0; i < inner.size(); ++i) inner[i] *= up[i] / (1 + std::exp(-inner[i]));
    return hidden + times(head_, p_ + "mlp.down_proj.weight", inner);
  }
  Values logits(const Values& hidden) {
    return times(head_, "lm_head.weight",
                 norm(hidden, values(head_, "norm.weight"), TinyHead::kEps));
  }

 private:
  // Pairs (i, i + d / 2) of every head, by the position of the row.
  void turn(Values& x) const {
    for (size_t begin = 0; begin < x.size(); begin += TinyHead::kHeadDim) {
      for (uint32_t i = 0; i < TinyHead::kHeadDim / 2; ++i) {
        const double angle = static_cast<double>(keys_.size()) *
                             std::pow(TinyHead::kTheta, -2.0 * i / TinyHead::kHeadDim);
        double& a = x[begin + i];
        double& b = x[begin + i + TinyHead::kHeadDim / 2];
        const double turned = a * std::cos(angle) - b * std::sin(angle);
        b = a * std::sin(angle) + b * std::cos(angle);
        a = turned;
      }
    }
  }

  TinyHead head_;
  std::string p_;
  bool norms_residual_;
  std::function<Values(int32_t)> embed_;
  std::vector<Values> keys_;
  std::vector<Values> values_;
};

class Eagle3Heads : public testing::Test {
 protected:
  void SetUp() override {
    RunSetup setup;
    setup.n_threads = 2;
    auto loaded = LoadedModel::load(folder_.write("trunk.gguf", tiny_llama().bytes()), setup);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    trunk_ = std::move(loaded).value();
  }

  Result<std::unique_ptr<Eagle3Head>> load(const TinyHead& files, bool quantize = false) {
    Eagle3Options options;
    options.quantize = quantize;
    return Eagle3Head::load(write(files), *trunk_.model, options, *trunk_.pool);
  }

  std::string write(const TinyHead& files) {
    folder_.write("model.safetensors", files.weights_file());
    folder_.write("config.json", files.config_file());
    return folder_.file("");
  }

  // Five rows on taps in chunks, then three on what the head gave itself: outputs and logits
  // against the reference, by the largest difference.
  double difference(const TinyHead& files, const std::string& prefix, bool norms_residual,
                    bool quantize, uint32_t chunk) {
    auto head = load(files, quantize);
    if (!head.ok()) {
      ADD_FAILURE() << head.error().message;
      return 1e9;
    }
    TinyHead tensors = files;
    const bool embeds = files.has("embed_tokens.weight");
    Reference reference(
        quantize ? rounded(files) : files, prefix, norms_residual, [&](int32_t token) {
          if (embeds) return row(tensors, "embed_tokens.weight", static_cast<uint32_t>(token));
          std::vector<float> row(kHidden);
          trunk_.model->embed(token, row.data());
          return Values(row.begin(), row.end());
        });
    ForwardLimits limits;
    limits.max_rows = limits.max_logit_rows = 8;
    limits.max_context = 16;
    EXPECT_TRUE((*head)->reserve(limits).ok());
    auto cache = (*head)->make_cache({16, KvType::F32});
    EXPECT_TRUE(cache.ok());
    const std::vector<uint32_t> slots{9, 3, 7, 1, 0, 15, 4, 8, 2, 11, 12, 13};
    const SequenceSlots sequence{slots};
    const std::vector<int32_t> tokens = tiny_tokens(8);
    std::normal_distribution<float> noise;
    std::mt19937 random(5);
    std::vector<float> taps(5 * kTaps * kHidden);
    for (float& v : taps) v = noise(random);

    double worst = 0;
    const auto grow = [&](double found, double expected) {
      // A NaN is kept, and is below no bound.
      if (const double d = std::abs(found - expected); !(d <= worst)) worst = d;
    };
    Values last;
    const auto compare = [&](const ForwardOutput& output, uint32_t row, const Values& hidden) {
      last = hidden;
      for (size_t i = 0; i < hidden.size(); ++i) {
        grow(output.hidden[row * hidden.size() + i], hidden[i]);
      }
      const Values logits = reference.logits(hidden);
      std::vector<double> all(kTinyVocab, Eagle3Head::kUnknownLogit);
      for (uint32_t i = 0; i < TinyHead::kDraftVocab; ++i) all[TinyHead::target_of(i)] = logits[i];
      for (uint32_t i = 0; i < kTinyVocab; ++i) {
        grow(output.logits[row * kTinyVocab + i], all[i]);
      }
    };
    std::vector<float> own;
    for (uint32_t first = 0; first < 5; first += chunk) {
      std::vector<ForwardRow> rows;
      for (uint32_t p = first; p < std::min(first + chunk, 5u); ++p) {
        rows.push_back({tokens[p], p, 0, true});
      }
      const ForwardOutput output =
          (*head)->forward({rows, {&sequence, 1}, **cache}, taps.data() + first * kTaps * kHidden,
                           Eagle3Head::Features::taps);
      EXPECT_EQ(output.n_logit_rows, rows.size());
      for (uint32_t i = 0; i < rows.size(); ++i) {
        const float* tap = taps.data() + (first + i) * kTaps * kHidden;
        compare(output, i,
                reference.step(tokens[first + i], reference.fuse({tap, tap + kTaps * kHidden})));
      }
      const uint32_t dim = (*head)->hidden_dim();
      own.assign(output.hidden + (rows.size() - 1) * dim, output.hidden + rows.size() * dim);
    }
    for (uint32_t p = 5; p < 8; ++p) {
      const ForwardRow row{tokens[p], p, 0, true};
      const ForwardOutput output = (*head)->forward({{&row, 1}, {&sequence, 1}, **cache},
                                                    own.data(), Eagle3Head::Features::own);
      compare(output, 0, reference.step(tokens[p], last));
      own.assign(output.hidden, output.hidden + (*head)->hidden_dim());
    }
    return worst;
  }

  void expect_refused(const TinyHead& files, std::string_view part) {
    const auto head = load(files);
    ASSERT_FALSE(head.ok()) << part;
    EXPECT_EQ(head.error().kind, ErrorKind::model);
    EXPECT_EQ(head.error().message.find('\n'), std::string::npos);
    EXPECT_NE(head.error().message.find(part), std::string::npos)
        << "expected: " << part << "\nfound: " << head.error().message;
  }

  ScratchFolder folder_;
  LoadedModel trunk_;
};

TEST_F(Eagle3Heads, AgreeWithTheReference) {
  const TinyHead files = tiny_head();
  for (const uint32_t chunk : {5u, 2u, 1u}) {
    EXPECT_LT(difference(files, "midlayer.", false, false, chunk), 2e-5) << chunk;
  }
  // 8-bit inputs: a few steps of 1/127 of values around 1.
  const double quantised = difference(files, "midlayer.", false, true, 5);
  EXPECT_LT(quantised, 0.15);
  EXPECT_GT(quantised, 1e-4);
}

TEST_F(Eagle3Heads, WithANormedResidualAgreeWithTheReference) {
  TinyHead files = tiny_head();
  files.config["norm_before_residual"] = true;
  EXPECT_LT(difference(files, "midlayer.", true, false, 3), 2e-5);
  EXPECT_GT(difference(files, "midlayer.", false, false, 3), 1e-2);  // it is another head
}

TEST_F(Eagle3Heads, OfAnotherWidthBringTheirEmbedding) {
  TinyHead files = tiny_head(24, "layers.0.");
  expect_refused(files, "tensor embed_tokens.weight: expected one");
  files.add("embed_tokens.weight", {kTinyVocab, 24}, 4.0);
  EXPECT_LT(difference(files, "layers.0.", false, false, 2), 2e-5);
}

TEST_F(Eagle3Heads, HalfPrecisionIsReadAsItIs) {
  TinyHead files = tiny_head();
  TinyHead rounded = files;
  for (size_t t = 0; t < files.tensors.size(); ++t) {
    TinyHeadTensor& tensor = files.tensors[t];
    if (tensor.dtype != "F32") continue;
    std::vector<std::byte> halves;
    for (size_t i = 2; i < tensor.bytes.size(); i += 4) {
      rounded.tensors[t].bytes[i - 2] = rounded.tensors[t].bytes[i - 1] = std::byte{0};
      halves.push_back(tensor.bytes[i]);
      halves.push_back(tensor.bytes[i + 1]);
    }
    tensor.dtype = "BF16";
    tensor.bytes = halves;
  }
  auto half = load(files);
  ASSERT_TRUE(half.ok()) << half.error().message;
  auto full = load(rounded);
  ASSERT_TRUE(full.ok()) << full.error().message;
  EXPECT_LT((*half)->weight_bytes(), (*full)->weight_bytes());
  std::vector<float> taps(kTaps * kHidden, 0.5f);
  const std::vector<uint32_t> slots{0};
  const SequenceSlots sequence{slots};
  const ForwardRow row{3, 0, 0, true};
  std::vector<std::vector<float>> logits;
  for (Eagle3Head* head : {half->get(), full->get()}) {
    ASSERT_TRUE(head->reserve({.max_rows = 1, .max_logit_rows = 1, .max_context = 4}).ok());
    auto cache = head->make_cache({4, KvType::F32});
    ASSERT_TRUE(cache.ok());
    const ForwardOutput output = head->forward({{&row, 1}, {&sequence, 1}, **cache}, taps.data(),
                                               Eagle3Head::Features::taps);
    logits.emplace_back(output.logits, output.logits + kTinyVocab);
  }
  EXPECT_EQ(logits[0], logits[1]);
}

TEST_F(Eagle3Heads, SayWhichLayersTheyRead) {
  TinyHead files = tiny_head();
  EXPECT_EQ((*load(files))->tap_layers(), (TapLayers{1, 0, 1}));
  // At the top level an id is that of the layer that reads the state.
  files.config.erase("eagle_config");
  files.config["eagle_aux_hidden_state_layer_ids"] = {1, 2, 2};
  EXPECT_EQ((*load(files))->tap_layers(), (TapLayers{0, 1, 1}));
  files.config["eagle_aux_hidden_state_layer_ids"] = {0, 1, 2};
  expect_refused(files, "three layers below 2, found [0,1,2]");
  files.config.erase("eagle_aux_hidden_state_layer_ids");
  expect_refused(files, "three layers below 2, found none");  // the usual ones need five
}

TEST_F(Eagle3Heads, RefuseAnotherConfiguration) {
  const std::vector<std::pair<const char*, Json>> broken{
      {"hidden_size", 0},          {"hidden_size", "32"},
      {"hidden_size", -1},         {"hidden_size", 1u << 21},
      {"hidden_size", nullptr},    {"intermediate_size", 1.5},
      {"num_hidden_layers", 2},    {"num_attention_heads", 0},
      {"num_key_value_heads", 3},  {"head_dim", 7},
      {"head_dim", 8194},          {"head_dim", 1u << 20},
      {"hidden_act", "gelu"},      {"attention_bias", true},
      {"mlp_bias", true},          {"target_hidden_size", 33},
      {"rms_norm_eps", -1.0},      {"rms_norm_eps", "1"},
      {"rope_theta", 0},           {"rope_scaling", {{"rope_type", "yarn"}}},
      {"norm_before_residual", 1},
  };
  for (const auto& [key, value] : broken) {
    TinyHead files = tiny_head();
    files.config[key] = value;
    expect_refused(files, std::string(key) + ": expected ");
  }
  for (const Json& ids : {Json(1), Json::array({1, 0}), Json::array({0, 1, 2}),
                          Json::array({0, 1, -1}), Json::array({0, 1, "1"})}) {
    TinyHead files = tiny_head();
    files.config["eagle_config"]["eagle_aux_hidden_state_layer_ids"] = ids;
    expect_refused(files, "eagle_aux_hidden_state_layer_ids: expected three layers below 2");
  }
  TinyHead files = tiny_head();
  files.config["eagle_config"]["use_aux_hidden_state"] = false;
  expect_refused(files, "eagle_config: expected");
  files.config = Json::array();
  expect_refused(files, "expected an object");
  const std::string folder = write(tiny_head());
  const std::string text = "{" + std::string(1 << 20, ' ') + "}";
  folder_.write("config.json", std::as_bytes(std::span(text)));
  EXPECT_NE(Eagle3Head::load(folder, *trunk_.model, {}, *trunk_.pool)
                .error()
                .message.find("expected at most 1048576 bytes, found 1048578"),
            std::string::npos);
  EXPECT_NE(Eagle3Head::load(folder_.file("absent"), *trunk_.model, {}, *trunk_.pool)
                .error()
                .message.find("cannot open"),
            std::string::npos);
  // A pipe that nobody writes to is refused, not waited for.
  ASSERT_TRUE(std::filesystem::remove(folder_.file("config.json")));
  ASSERT_EQ(mkfifo(folder_.file("config.json").c_str(), 0600), 0);
  EXPECT_NE(Eagle3Head::load(folder, *trunk_.model, {}, *trunk_.pool)
                .error()
                .message.find("expected a regular file"),
            std::string::npos);
}

TEST_F(Eagle3Heads, RefuseOtherTensors) {
  for (const TinyHeadTensor& tensor : tiny_head().tensors) {
    if (tensor.name == "d2t" || tensor.name == "t2d") continue;
    TinyHead files = tiny_head();
    files.remove(tensor.name);
    expect_refused(files, "tensor " + tensor.name + ": expected");
    files = tiny_head();
    files.find(tensor.name).dtype = "I32";
    expect_refused(files, "tensor " + tensor.name + ": expected F32, F16 or BF16, found I32");
    if (tensor.name == "lm_head.weight") continue;
    files = tiny_head();
    std::vector<uint32_t>& shape = files.find(tensor.name).shape;
    shape = {static_cast<uint32_t>(tensor.bytes.size() / 4), 1};
    expect_refused(files, "tensor " + tensor.name + ": expected shape");
  }
  TinyHead files = tiny_head();
  files.add("midlayer.self_attn.q_proj.bias", {TinyHead::kHeads * TinyHead::kHeadDim});
  expect_refused(files, "expected only tensors of an EAGLE-3 head");
}

TEST_F(Eagle3Heads, RefuseAVocabularyThatIsNotTheTrunks) {
  const auto with_offsets = [](const std::function<void(std::vector<int64_t>&)>& change) {
    TinyHead files = tiny_head();
    files.remove("t2d");
    TinyHeadTensor& d2t = files.find("d2t");
    std::vector<int64_t> offsets(TinyHead::kDraftVocab);
    std::memcpy(offsets.data(), d2t.bytes.data(), d2t.bytes.size());
    change(offsets);
    files.remove("d2t");
    files.add_raw("d2t", "I64", offsets);
    return files;
  };
  EXPECT_TRUE(load(with_offsets([](auto&) {})).ok());
  expect_refused(with_offsets([](auto& d) { d[0] = -1; }), "found -1 at 0");
  expect_refused(with_offsets([](auto& d) { d[19] = kTinyVocab - 19; }), "found 29 at 19");
  expect_refused(with_offsets([](auto& d) { d[19] = INT64_MAX; }), "different tokens below 48");
  expect_refused(with_offsets([](auto& d) { d[19] = INT64_MIN; }), "different tokens below 48");
  expect_refused(with_offsets([](auto& d) { d[1] = d[0] - 1; }), "different tokens below 48");
  expect_refused(with_offsets([](auto& d) { d.pop_back(); }),
                 "tensor d2t: expected [20] of I64, found [19] of I64");
  TinyHead files = tiny_head();
  files.find("t2d").bytes[0] = std::byte{1};
  expect_refused(files, "tensor t2d: expected the tokens of d2t, found another at 0");
  files = tiny_head();
  files.remove("t2d");
  files.add_raw("t2d", "BOOL", std::vector<uint8_t>(10, 0));
  expect_refused(files, "tensor t2d: expected [48] of BOOL, found [10] of BOOL");
  files = tiny_head();
  files.find("d2t").dtype = "F64";
  expect_refused(files, "tensor d2t: expected [20] of I64, found [20] of F64");
  files = tiny_head();
  files.remove("lm_head.weight");
  files.add("lm_head.weight", {kTinyVocab + 1, kHidden});
  expect_refused(files, "tensor lm_head.weight: expected [hidden_size, at most 48]");
}

}  // namespace
}  // namespace floe::test
