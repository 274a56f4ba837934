#pragma once
// Responses that a later request may go on from, in memory, within a limit of bytes.
#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace floe {

struct StoredResponse {
  std::string object;    // the response as it was sent, JSON
  std::string messages;  // of the chat, the answer's included: a JSON array
};

// Thread-safe. What was asked for longest ago is forgotten first.
class ResponseStore {
 public:
  explicit ResponseStore(size_t max_bytes) : max_bytes_(max_bytes) {}

  // owner: whose key it is; nobody else finds it. One that is larger than the limit is not kept.
  void put(const std::string& owner, const std::string& id, StoredResponse response);
  std::optional<StoredResponse> find(const std::string& owner, const std::string& id);
  bool erase(const std::string& owner, const std::string& id);
  size_t n_bytes() const;

 private:
  struct Entry {
    std::string name;  // owner and id
    StoredResponse response;
    size_t n_bytes = 0;
  };
  static std::string name_of(const std::string& owner, const std::string& id);
  void drop(std::list<Entry>::iterator entry);

  const size_t max_bytes_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // asked for last stands first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_name_;
  size_t n_bytes_ = 0;
};

}  // namespace floe
