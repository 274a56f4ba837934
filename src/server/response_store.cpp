#include "server/response_store.h"

#include <utility>

namespace floe {

std::string ResponseStore::name_of(const std::string& owner, const std::string& id) {
  return owner + '\n' + id;
}

void ResponseStore::drop(std::list<Entry>::iterator entry) {
  n_bytes_ -= entry->n_bytes;
  by_name_.erase(entry->name);
  entries_.erase(entry);
}

void ResponseStore::put(const std::string& owner, const std::string& id, StoredResponse response) {
  Entry entry{name_of(owner, id), std::move(response), 0};
  // The two maps' own share is small beside any response.
  entry.n_bytes =
      2 * entry.name.size() + entry.response.object.size() + entry.response.messages.size() + 256;
  if (entry.n_bytes > max_bytes_) return;
  const std::lock_guard lock(mutex_);
  if (const auto found = by_name_.find(entry.name); found != by_name_.end()) drop(found->second);
  while (n_bytes_ + entry.n_bytes > max_bytes_) drop(std::prev(entries_.end()));
  n_bytes_ += entry.n_bytes;
  entries_.push_front(std::move(entry));
  by_name_[entries_.front().name] = entries_.begin();
}

std::optional<StoredResponse> ResponseStore::find(const std::string& owner, const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_name_.find(name_of(owner, id));
  if (found == by_name_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->response;
}

bool ResponseStore::erase(const std::string& owner, const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_name_.find(name_of(owner, id));
  if (found == by_name_.end()) return false;
  drop(found->second);
  return true;
}

size_t ResponseStore::n_bytes() const {
  const std::lock_guard lock(mutex_);
  return n_bytes_;
}

}  // namespace floe
