#pragma once
// Grammars of a vocabulary that were compiled before, by their text. Any thread.
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "grammar/grammar.h"

namespace floe {

class GrammarCache {
 public:
  static constexpr size_t kMaxBytes = size_t{128} << 20;

  // make_trie: asked once, when the first grammar is.
  explicit GrammarCache(std::function<std::shared_ptr<const TokenTrie>()> make_trie,
                        size_t max_bytes = kMaxBytes);

  // key: tells kind and text apart from all others. compile is asked where the key is not known;
  // its error is the answer and is not kept.
  Result<std::shared_ptr<const Grammar>> find_or_make(
      const std::string& key, const std::function<Result<Automaton>()>& compile);
  Result<std::shared_ptr<const Grammar>> compile(GrammarKind kind, const std::string& text,
                                                 const CompileLimits& limits = {});

  size_t n_bytes() const;  // of the grammars that are kept, what they have learnt included
  size_t n_grammars() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Grammar> grammar;
  };

  std::shared_ptr<const TokenTrie> trie();
  size_t n_bytes_locked() const;
  void make_room();

  const std::function<std::shared_ptr<const TokenTrie>()> make_trie_;
  const size_t max_bytes_;
  std::once_flag trie_made_;
  std::shared_ptr<const TokenTrie> trie_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // the one asked for last comes first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace floe
