#include "server/access.h"

#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "base/error.h"

namespace floe {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

bool starts_with_ignoring_case(std::string_view text, std::string_view lower_prefix) {
  return text.size() >= lower_prefix.size() &&
         lower(text.substr(0, lower_prefix.size())) == lower_prefix;
}

}  // namespace

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  static_assert(sizeof(secret_) >= XXH3_SECRET_SIZE_MIN);
  const ssize_t n_bytes = getrandom(secret_.data(), secret_.size(), 0);
  FLOE_CHECK(n_bytes == static_cast<ssize_t>(secret_.size()));
  replace(keys);
}

void ApiKeys::replace(const std::vector<std::string>& keys) {
  digests_.clear();
  for (const std::string& key : keys) digests_.push_back(digest(key));
}

ApiKeys::Digest ApiKeys::digest(std::string_view key) const {
  const XXH128_hash_t hash =
      XXH3_128bits_withSecret(key.data(), key.size(), secret_.data(), secret_.size());
  return {hash.low64, hash.high64};
}

bool ApiKeys::contains(std::string_view key) const {
  const Digest found = digest(key);
  uint64_t any = 0;
  for (const Digest& known : digests_) {
    const uint64_t difference = (found[0] ^ known[0]) | (found[1] ^ known[1]);
    // 1 when the difference is 0, without a branch.
    any |= 1 & ~((difference | (0 - difference)) >> 63);
  }
  return any != 0;
}

bool ApiKeys::admits(const HttpRequest& head) const {
  if (empty()) return true;
  // Of two values under one name nobody knows which one a proxy has looked at.
  if (head.count_fields("authorization") > 1 || head.count_fields("x-api-key") > 1) return false;
  const auto key = head.field("x-api-key");
  if (key && contains(*key)) return true;
  const auto value = head.field("authorization");
  return value && starts_with_ignoring_case(*value, "bearer ") && contains(value->substr(7));
}

std::string ApiKeys::name_of(const HttpRequest& head) const {
  // Of the key that lets it in: another field beside it could say anything.
  std::string_view key = head.field("x-api-key").value_or("");
  if (!contains(key)) {
    key = head.field("authorization").value_or("");
    if (starts_with_ignoring_case(key, "bearer ")) key.remove_prefix(7);
  }
  const Digest found = digest(key);
  return std::string(reinterpret_cast<const char*>(found.data()), sizeof found);
}

std::array<uint64_t, 2> ApiKeys::cache_key(std::string_view owner, std::string_view salt) const {
  if (owner.empty() && salt.empty()) return {};
  return digest(std::string(owner).append(salt));
}

bool is_loopback_host(std::string_view host) {
  const std::string name = lower(host);
  if (name == "localhost" || name == "::1" || name == "[::1]") return true;
  // 127.0.0.0/8, as four plain decimal numbers and nothing else: "127.evil.example" is a name.
  if (!name.starts_with("127.")) return false;
  int n_dots = 0;
  int n_digits = 0;
  int value = 0;
  for (const char c : name) {
    if (c == '.') {
      if (n_digits == 0) return false;
      ++n_dots;
      n_digits = value = 0;
    } else if (c >= '0' && c <= '9') {
      value = value * 10 + (c - '0');
      if (++n_digits > 3 || value > 255) return false;
    } else {
      return false;
    }
  }
  return n_dots == 3 && n_digits > 0;
}

std::string host_name(std::string_view field) {
  std::string_view name = field;
  std::string_view port;
  if (name.starts_with('[')) {
    const size_t end = name.find(']');
    if (end == std::string_view::npos) return {};
    port = name.substr(end + 1);
    name = name.substr(0, end + 1);
  } else if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
    port = name.substr(colon);
    name = name.substr(0, colon);
  }
  const bool port_valid =
      port.empty() || (port.size() >= 2 && port.size() <= 6 && port[0] == ':' &&
                       port.find_first_not_of("0123456789", 1) == std::string_view::npos);
  const bool name_valid =
      !name.empty() && name.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "0123456789-._[]:") == std::string_view::npos;
  return port_valid && name_valid ? lower(name) : std::string();
}

HostList::HostList(const std::vector<std::string>& bound, const std::vector<std::string>& allowed) {
  check_ = !allowed.empty();
  names_ = {"localhost", "127.0.0.1", "[::1]"};
  for (const std::string& host : bound) {
    check_ = check_ || is_loopback_host(host);
    names_.push_back(lower(
        host.find(':') != std::string::npos && !host.starts_with('[') ? "[" + host + "]" : host));
  }
  for (const std::string& name : allowed) names_.push_back(lower(name));
  // Wildcard addresses are no names.
  std::erase(names_, "0.0.0.0");
  std::erase(names_, "[::]");
}

bool HostList::allows(const HttpRequest& head) const {
  if (!check_) return true;
  const auto field = head.field("host");
  if (!field) return false;
  const std::string name = host_name(*field);
  return !name.empty() && std::find(names_.begin(), names_.end(), name) != names_.end();
}

std::string allowed_header_names(const HttpRequest& head) {
  constexpr std::string_view kAlways = "Authorization, Content-Type, X-Api-Key";
  if (head.count_fields("access-control-request-headers") != 1) return std::string(kAlways);
  const std::string_view asked = *head.field("access-control-request-headers");
  // Field names, commas and blanks, and nothing else: it is written into the answer.
  const bool valid = asked.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                         "!#$%&'*+-.^_`|~, \t") == std::string_view::npos;
  if (asked.empty() || !valid) return std::string(kAlways);
  return std::string(asked);
}

OriginVerdict judge_origin(const HttpRequest& head, const std::vector<std::string>& cors_origins) {
  const size_t n_origins = head.count_fields("origin");
  if (n_origins == 0) return OriginVerdict::none;
  if (n_origins > 1) return OriginVerdict::foreign;
  const std::string_view origin = *head.field("origin");
  for (const std::string& listed : cors_origins) {
    if (listed == "*" || listed == origin) return OriginVerdict::listed;
  }
  const auto host = head.field("host");
  const size_t scheme = origin.find("://");
  if (host && scheme != std::string_view::npos) {
    const std::string_view name = origin.substr(0, scheme);
    if ((name == "http" || name == "https") && lower(origin.substr(scheme + 3)) == lower(*host)) {
      return OriginVerdict::same;
    }
  }
  return OriginVerdict::foreign;
}

}  // namespace floe
