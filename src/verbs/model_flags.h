#pragma once
// The flags that every verb with a model shares.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/options.h"
#include "base/thread_pool.h"
#include "model/model.h"
#include "store/gguf.h"
#include "verbs/memory_plan.h"

namespace floe {

struct ModelFlags {
  std::string model_path;
  int64_t n_threads = 0;
  double mem_gb = 0;  // 0: what the machine can give
  bool progress = true;
  std::string device = "auto";
  std::string cache_type_k = "f16";
  std::string cache_type_v = "f16";

  void add_to(OptionTable& table);
  KvTypes kv_types() const {
    return KvTypes(parse_kv_type(cache_type_k), parse_kv_type(cache_type_v));
  }
};

// What a verb is about to run, for the decision whether it fits.
struct Workload {
  MemoryRequest memory;
  // Of its forwards, where sequences have up to `context` tokens.
  std::function<ForwardLimits(uint32_t context)> limits;
};

struct LoadedModel {
  std::unique_ptr<ThreadPool> pool;  // outlives the model
  std::unique_ptr<Model> model;
  MemoryPlan plan;
};

// Opens the file for its metadata, of which tokenizers are made. ErrorKind::model, before anything
// is said about the vocabulary, when the model's family is not supported.
Result<GgufFile> open_model_file(const std::string& path);

// What a drafter takes beside the model, in bytes.
struct DrafterNeeds {
  uint64_t weight_bytes = 0;
  uint64_t slot_bytes = 0;       // of one cached token
  uint64_t slot_bytes_q8_0 = 0;  // the same with keys and values in Q8_0
  std::function<uint64_t(const ForwardLimits&, uint32_t n_threads)> workspace_bytes;
};

// Decides from the files' headers whether the workload fits, then reads the weights; says in one
// line on stderr where the context is shorter than it could be. ErrorKind::usage when -m is
// missing, ErrorKind::memory when it does not fit. mtp_path: a draft head in a file of its own, or
// empty.
Result<LoadedModel> load(const ModelFlags& flags, const Workload& workload,
                         const std::string& mtp_path = {},
                         std::span<const DrafterNeeds> drafters = {});

// Fills the table from the command line. True when that asked for the help, which is then printed.
// Options of llama.cpp that mean nothing here are answered one by one, on stderr. ErrorKind::usage
// also for words that are no option.
Result<bool> parse_options(OptionTable& table, std::span<const std::string> arguments);

}  // namespace floe
