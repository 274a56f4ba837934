#pragma once
// The door of the room: grammars for what a model may write, in the forms that clients send them,
// and the tokens that may come next.
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "grammar/automaton.h"
#include "grammar/compile_limits.h"
#include "grammar/configurations.h"
#include "grammar/token_trie.h"

namespace floe {

enum class GrammarKind : uint8_t {
  json_schema,  // text: a schema
  json_object,  // any JSON object; text: empty
  gbnf,
  regex,   // the whole answer matches it
  choice,  // text: a JSON array of strings, one of which is the answer
};

// ErrorKind::usage: one line, as the end of a sentence that names the field: where in the text the
// fault is and what it is. Time and memory are within limits, whatever the text.
Result<Automaton> compile_grammar(GrammarKind kind, const std::string& text,
                                  const CompileLimits& limits = {});
// The same of a schema that has been parsed.
Result<Automaton> compile_json_schema(const Json& schema, const CompileLimits& limits = {});

// An automaton over the tokens of a vocabulary. Any number of threads may use one; they take turns.
class Grammar {
 public:
  // What is remembered of places and their tokens is begun anew behind so many bytes.
  static constexpr size_t kMaxPlaceBytes = size_t{48} << 20;

  Grammar(Automaton automaton, std::shared_ptr<const TokenTrie> trie);

  // Works out beforehand, on the caller's thread, what the first masks will want, within bounds.
  void prepare();

  uint32_t n_vocab() const { return trie_->n_vocab(); }
  size_t n_bytes() const;

 private:
  friend class GrammarMatcher;

  const Automaton automaton_;
  const std::shared_ptr<const TokenTrie> trie_;
  mutable std::mutex mutex_;  // of everything in all stores
  mutable std::shared_ptr<Configurations> store_;
};

// Which part of an answer a grammar holds for.
struct OutputGrammar {
  std::shared_ptr<const Grammar> grammar;
  // Token ids. Empty: it holds from the first token on. Otherwise the answer is free up to one of
  // these and bound behind it: the end of the reasoning, or what opens a tool call.
  std::vector<int32_t> begins_behind;
  // The first token of an answer may be this one instead, if it is not -1: then the answer is free
  // up to one of begins_behind. For models that open their reasoning themselves.
  int32_t may_open_with = -1;
  // Where the grammar has come to its end the answer is free again, up to the next of
  // begins_behind.
  bool again = false;
};

// Where one answer stands. Copies are cheap and independent, so that guesses can be tried out.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(std::shared_ptr<const OutputGrammar> output);

  uint32_t n_vocab() const { return output_->grammar->n_vocab(); }
  // False: any token may follow, and mask is as it was. True: mask, of at least
  // (n_vocab() + 63) / 64 words, has the bits of those that may; none of them ends the answer.
  bool tokens(std::span<uint64_t> mask);
  // Whether the answer may end here.
  bool can_end() const;
  // Whether nothing may follow but the end.
  bool must_end() const;
  // A token of the answer. False, and nothing changed: it may not follow.
  bool accept(int32_t token);

 private:
  void renew();

  std::shared_ptr<const OutputGrammar> output_;
  std::shared_ptr<Configurations> store_;
  Configurations::Place place_ = Configurations::kNowhere;
  bool is_free_ = false;
  bool is_first_ = true;
};

}  // namespace floe
