#pragma once
// Speed of a server as its clients see it: the same number of streamed requests at different
// numbers of requests at once. Works with any server of the OpenAI API, so that servers can be
// measured beside each other with one tool.
//
// Requests differ in their prompts unless asked otherwise. Copies of one prompt choose the same
// experts and may be answered from a cache, so they tell of a speed that real traffic does not see.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace floe {

// http://host[:port][/path], the path with or without its last "/v1". ErrorKind::usage for others.
struct ServerUrl {
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  std::string path;  // in front of "/v1/...", empty or beginning with a slash

  static Result<ServerUrl> parse(std::string_view url);
};

struct ServeBenchOptions {
  ServerUrl url;
  std::string api_key;                    // empty: none is sent
  std::string model;                      // empty: the first that /v1/models names
  std::vector<std::string> prompts;       // not empty; taken in order, round and round
  std::vector<uint32_t> n_at_once = {1};  // requests at once; a row each
  uint32_t n_requests = 16;               // of a row, but at least as many as run at once
  uint32_t max_tokens = 64;
  bool chat = true;        // /v1/chat/completions, else /v1/completions
  bool ignore_eos = true;  // every answer has max_tokens tokens, where the server knows the field
  // Every request has the first prompt, as it stands. Else a line with a number that no other
  // request has stands in front of each prompt, so that no cached prefix answers it.
  bool same_prompt = false;
  double timeout_seconds = 600;  // for the next byte of an answer
  bool show_progress = true;
};

// One request. Times in seconds since it was sent.
struct ServedRequest {
  std::string error;         // empty: it was answered to its end
  double first_seconds = 0;  // to the first piece with text
  double total_seconds = 0;
  std::vector<double> gap_seconds;  // between pieces with text
  uint64_t n_tokens = 0;            // as the server counts them; else the pieces
  uint64_t n_prompt_tokens = 0;
  uint64_t n_cached_tokens = 0;  // of the prompt
};

struct ServeBenchRow {
  uint32_t n_at_once = 0;
  double seconds = 0;  // from the first request's start to the last one's end
  std::vector<ServedRequest> requests;

  uint32_t n_failed() const;
  uint64_t n_tokens() const;
  uint64_t n_prompt_tokens() const;
  uint64_t n_cached_tokens() const;
  double tokens_per_second() const { return static_cast<double>(n_tokens()) / seconds; }
  // Of the requests that did not fail. fraction 0.5: the median. 0 where there is none.
  double first_seconds(double fraction) const;
  double gap_seconds(double fraction) const;
};

struct ServeBenchReport {
  std::string url, model;
  uint32_t max_tokens = 0;
  bool same_prompt = false;
  std::vector<ServeBenchRow> rows;
};

// The value that a fraction of them does not exceed (nearest rank); 0 for none.
double quantile(std::vector<double> values, double fraction);

// One request that is not counted, then the rows. ErrorKind::runtime when the server cannot be
// reached or that first request fails, with what it said.
Result<ServeBenchReport> run_serve_bench(const ServeBenchOptions& options);

// format: md or json. In markdown a line below the table for each kind of failure.
std::string format_serve_bench(const ServeBenchReport& report, std::string_view format);

}  // namespace floe
