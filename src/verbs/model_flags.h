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
  std::string cache_type_k = "f16";
  std::string cache_type_v = "f16";

  void add_to(OptionTable& table);
  KvTypes kv_types() const {
    return KvTypes(parse_kv_type(cache_type_k), parse_kv_type(cache_type_v));
  }
};

struct LoadedModel {
  std::unique_ptr<ThreadPool> pool;  // outlives the model
  std::unique_ptr<Model> model;
};

// ErrorKind::usage when -m is missing. mtp_path: a draft head in a file of its own, or empty.
Result<LoadedModel> load(const ModelFlags& flags, const std::string& mtp_path = {});

// Prints the help and returns true when it was asked for.
bool printed_help(const OptionTable& table);
// ErrorKind::usage when the command line holds words that are no option.
Result<void> no_positionals(const OptionTable& table);

}  // namespace floe
