#pragma once
// The server as one call: listens, loads, serves, drains.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "chat/answer_format.h"
#include "chat/chat_template.h"
#include "engine/engine_thread.h"
#include "model/model.h"
#include "server/http.h"
#include "server/openai_response.h"
#include "text/tokenizer.h"

namespace floe {

struct ServeOptions {
  HttpServerOptions http;  // hosts, port, limits, deadlines

  // With no key everybody is let in; then only loopback addresses may be bound unless insecure is
  // set.
  std::vector<std::string> api_keys;
  bool insecure = false;
  // Reads the keys anew, on SIGHUP. Empty: there is no file to read them from, and SIGHUP drains.
  std::function<Result<std::vector<std::string>>()> read_keys;
  // Names besides localhost and the bound addresses that a Host field may carry. Checked on
  // loopback addresses always (against DNS rebinding), on others when this list is not empty.
  std::vector<std::string> allowed_hosts;
  // Origins that may read answers from a browser, exactly as browsers send them; "*" for all.
  // Empty: no CORS at all.
  std::vector<std::string> cors_origins;

  std::chrono::milliseconds drain{30'000};  // how long running requests may take after SIGTERM
  bool page = true;                         // the page at /
  bool sandbox = false;                     // enter_sandbox() once the model is loaded
  SamplingParams default_sampling;          // what a request leaves open; its seed is not used
  uint32_t default_max_tokens = UINT32_MAX;
  ReasoningField reasoning_field = ReasoningField::reasoning_content;  // of answers
  bool default_cache_prompt = true;  // prompts start from what earlier ones left in the cache
  std::string build_info;            // for /props and system_fingerprint

  // After the sockets are open, before the model is loaded; the addresses as bound.
  std::function<void(const std::vector<std::string>& addresses)> on_listening;
  std::function<void()> on_ready;  // the model is loaded
};

// What a loader hands to the server.
struct ServedModel {
  std::string name;       // what /v1/models lists and requests may name
  std::string file_name;  // without its folders
  ModelInfo info;
  std::unique_ptr<const Tokenizer> tokenizer;
  // Absent: chat requests are refused, and told why; completions work.
  std::optional<ChatTemplate> chat_template;
  std::string chat_off;             // why
  AnswerFormat answer_format;       // how to read the answers of chats
  uint32_t n_slots = 1;             // sequences that run at the same time
  std::string speculation = "off";  // the setting, for /props
  double read_gb_s = 0.0;           // what this machine reads at best; 0: not measured
  std::shared_ptr<void> resources;  // whatever the engine refers to; released after it
  std::unique_ptr<EngineThread> engine;
};

// Serves until SIGTERM or SIGINT (or SIGHUP, where no keys can be read anew), then drains: the
// listeners close at once, /health turns 503, waiting requests end with 503, running ones may
// finish within options.drain. Returns 0. A second signal ends the process at once with exit code
// 1; a signal while the model is loading ends it at once with 0.
//
// Listens first, so that /health can answer 503 "Loading model"; `load` runs on a thread of its
// own. An error of `load` ends the server and is returned. ErrorKind::usage when the options would
// open the server to others without a key; ErrorKind::runtime when an address cannot be bound;
// ErrorKind::memory when memory runs out before the model is there. Afterwards requests get 503.
Result<int> run_server(const ServeOptions& options, std::function<Result<ServedModel>()> load);

// One or more keys, separated by commas, as a flag or the environment gives them. ErrorKind::usage,
// naming the flag, never a key, where there is none: everybody would be let in.
Result<std::vector<std::string>> parse_api_keys(std::string_view list);

// One key a line; blank lines and lines that start with '#' are skipped. Keys are printable ASCII
// without blanks. ErrorKind::usage, naming the file and line, never a key.
Result<std::vector<std::string>> read_api_key_file(const std::string& path);

}  // namespace floe
