#pragma once
// The flags that every verb with a model shares.
#include <cstdint>
#include <memory>
#include <string>

#include "base/options.h"
#include "base/thread_pool.h"
#include "model/model.h"

namespace floe {

struct ModelFlags {
  std::string model_path;
  int64_t n_threads = 0;
  bool progress = true;
  std::string cache_type = "f16";

  void add_to(OptionTable& table);
  KvType kv_type() const { return cache_type == "f32" ? KvType::F32 : KvType::F16; }
};

struct LoadedModel {
  std::unique_ptr<ThreadPool> pool;  // outlives the model
  std::unique_ptr<Model> model;
};

// ErrorKind::usage when -m is missing.
Result<LoadedModel> load(const ModelFlags& flags);

// Prints the help and returns true when it was asked for.
bool printed_help(const OptionTable& table);
// ErrorKind::usage when the command line holds words that are no option.
Result<void> no_positionals(const OptionTable& table);

}  // namespace floe
