#include "grammar/grammar_cache.h"

#include <utility>

namespace floe {

GrammarCache::GrammarCache(std::function<std::shared_ptr<const TokenTrie>()> make_trie,
                           size_t max_bytes)
    : make_trie_(std::move(make_trie)), max_bytes_(max_bytes) {}

std::shared_ptr<const TokenTrie> GrammarCache::trie() {
  std::call_once(trie_made_, [&] { trie_ = make_trie_(); });
  return trie_;
}

Result<std::shared_ptr<const Grammar>> GrammarCache::find_or_make(
    const std::string& key, const std::function<Result<Automaton>()>& compile) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      return found->second->grammar;
    }
  }
  FLOE_TRY(Automaton automaton, compile());
  auto grammar = std::make_shared<Grammar>(std::move(automaton), trie());
  grammar->prepare();
  const std::lock_guard lock(mutex_);
  // Somebody else may have been faster.
  if (const auto found = by_key_.find(key); found != by_key_.end()) return found->second->grammar;
  entries_.push_front({key, grammar});
  by_key_.emplace(key, entries_.begin());
  make_room();
  return std::shared_ptr<const Grammar>(std::move(grammar));
}

Result<std::shared_ptr<const Grammar>> GrammarCache::compile(GrammarKind kind,
                                                             const std::string& text,
                                                             const CompileLimits& limits) {
  const std::string key = std::string(1, static_cast<char>('0' + static_cast<int>(kind))) + text;
  return find_or_make(key, [&] { return compile_grammar(kind, text, limits); });
}

size_t GrammarCache::n_bytes_locked() const {
  size_t n_bytes = 0;
  for (const Entry& entry : entries_) n_bytes += entry.key.size() * 2 + entry.grammar->n_bytes();
  return n_bytes;
}

// What the one that was asked for last takes is granted to it.
void GrammarCache::make_room() {
  while (entries_.size() > 1 && n_bytes_locked() > max_bytes_) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

size_t GrammarCache::n_bytes() const {
  const std::lock_guard lock(mutex_);
  return n_bytes_locked();
}

size_t GrammarCache::n_grammars() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace floe
