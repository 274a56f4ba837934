#pragma once
// Who may ask: API keys, Host names, browser origins. Pure but for the secret drawn at start.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/http_parser.h"

namespace floe {

// Keys are kept as keyed digests and compared in constant time, every key visited every time.
class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);
  // From now on these keys alone. Of a key that stays, name_of() stays.
  void replace(const std::vector<std::string>& keys);
  bool empty() const { return digests_.empty(); }
  bool contains(std::string_view key) const;
  // Tells requests of different keys apart, without the key; of one that admits() lets in.
  std::string name_of(const HttpRequest& head) const;
  // Whose prompts may start from each other's: those of the same key and the same salt. All zeros
  // without either.
  // owner: as name_of() gives it; empty without keys.
  std::array<uint64_t, 2> cache_key(std::string_view owner, std::string_view salt) const;
  // By "Authorization: Bearer KEY" or "X-Api-Key: KEY". Client libraries send both, one of them
  // with a placeholder: a valid one is enough. A request with one of them twice is refused.
  bool admits(const HttpRequest& head) const;

 private:
  using Digest = std::array<uint64_t, 2>;
  Digest digest(std::string_view key) const;

  std::array<unsigned char, 192> secret_;
  std::vector<Digest> digests_;
};

// True for literal loopback addresses and "localhost".
bool is_loopback_host(std::string_view host);

// The name in a Host field, lower case, without the port; empty when the field is not valid.
std::string host_name(std::string_view field);

// Which Host names are answered: a page that makes its own name point at this machine (DNS
// rebinding) still sends its own name.
class HostList {
 public:
  // bound: the hosts the server listens on. Everything is allowed when none is loopback and no name
  // is given.
  HostList(const std::vector<std::string>& bound, const std::vector<std::string>& allowed);
  bool allows(const HttpRequest& head) const;

 private:
  bool check_ = false;
  std::vector<std::string> names_;
};

// What a browser's Origin field means for a request.
enum class OriginVerdict : uint8_t {
  none,     // no Origin field: not a cross-origin browser request
  same,     // the server's own page
  listed,   // allowed by --cors-origins
  foreign,  // refused where a request changes or costs something
};
OriginVerdict judge_origin(const HttpRequest& head, const std::vector<std::string>& cors_origins);

// What a preflight request is told that it may send: the names that it asks for, since client
// libraries add their own (x-stainless-...).
std::string allowed_header_names(const HttpRequest& head);

}  // namespace floe
