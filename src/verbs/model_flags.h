#pragma once
// The flags that every verb with a model shares.
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/options.h"
#include "base/thread_pool.h"
#include "model/model.h"
#include "store/gguf.h"

namespace floe {

struct ModelFlags {
  std::string model_path;
  int64_t n_threads = 0;
  bool progress = true;
  std::string device = "auto";
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

// Opens the file for its metadata, of which tokenizers are made. ErrorKind::model, before anything
// is said about the vocabulary, when the model's family is not supported.
Result<GgufFile> open_model_file(const std::string& path);

// ErrorKind::usage when -m is missing. mtp_path: a draft head in a file of its own, or empty.
Result<LoadedModel> load(const ModelFlags& flags, const std::string& mtp_path = {});

// Fills the table from the command line. True when that asked for the help, which is then printed.
// Options of llama.cpp that mean nothing here are answered one by one, on stderr. ErrorKind::usage
// also for words that are no option.
Result<bool> parse_options(OptionTable& table, std::span<const std::string> arguments);

}  // namespace floe
