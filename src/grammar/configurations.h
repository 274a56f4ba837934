#pragma once
// Where reading a text by an automaton can stand, and which tokens may follow there. What is found
// out is kept, so that the next token of the same place costs a look: a place is a number.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/token_trie.h"

namespace floe {

// Tokens, as ids or as bits, whichever is smaller.
class TokenSet {
 public:
  TokenSet() = default;
  explicit TokenSet(std::span<const uint64_t> mask);  // whole

  void add(int32_t token) { ids_.push_back(token); }
  void seal(uint32_t n_vocab);  // after the last add()
  // mask [(n_vocab + 63) / 64]: bit token % 64 of word token / 64.
  void join_to(std::span<uint64_t> mask) const;
  size_t n_bytes() const { return ids_.capacity() * 4 + bits_.capacity() * 8; }

 private:
  std::vector<int32_t> ids_;
  std::vector<uint64_t> bits_;
};

// A place is a set of configurations: a state of the automaton and the states to go on with where
// its rule and those that called it end. Where alternatives are many (see kMaxConfigurations) some
// of them are given up: what is read then is still what the grammar says, if not all of it.
//
// For one thread at a time.
class Configurations {
 public:
  using Place = uint32_t;
  static constexpr Place kNowhere = 0;  // no text of the grammar begins like this
  static constexpr size_t kMaxConfigurations = 256;

  // Both outlive it.
  Configurations(const Automaton& automaton, const TokenTrie& trie);

  Place start() const { return start_; }
  Place after(Place place, uint8_t byte) {
    if (const uint32_t row = places_[place].row; row != kNoRow) {
      const Place next = rows_[row][byte];
      if (next != kUnknown) return next;
    }
    return find_after(place, byte);
  }
  Place after(Place place, std::string_view bytes);
  bool can_end(Place place) const { return places_[place].can_end; }
  // The end is all that can follow.
  bool must_end(Place place) const { return places_[place].n_configurations == 0; }

  // The tokens after which place is not kNowhere; the end is none. mask as of TokenSet: set to
  // these.
  void tokens_after(Place place, std::span<uint64_t> mask);

  // The same place in a store of the same automaton that knows less.
  Place move_to(Place place, Configurations& other) const;

  // Works out what tokens_after() will want, until there are so many bytes or so many nodes of the
  // trie have been looked at.
  void prepare(size_t max_bytes, uint64_t max_looks);

  size_t n_bytes() const { return n_bytes_; }

 private:
  static constexpr Place kUnknown = UINT32_MAX;
  static constexpr uint32_t kNoRow = UINT32_MAX;
  // Stacks. In the second the callers are not known: what is found with it holds for all.
  static constexpr uint32_t kBottom = 0;
  static constexpr uint32_t kAnyCaller = 1;

  struct Configuration {
    uint32_t state;
    uint32_t stack;
    bool operator==(const Configuration&) const = default;
  };
  struct Frame {
    uint32_t state;          // to go on with
    uint32_t below;          // the rest of the stack
    Place place = kUnknown;  // of going on with it
  };
  struct PlaceData {
    uint32_t first_configuration = 0;
    uint32_t n_configurations = 0;  // those that read a byte
    uint32_t row = kNoRow;
    uint32_t mask = UINT32_MAX;  // of masks_
    bool can_end = false;
    bool leaves = false;  // the text of the rule may end here, with kAnyCaller below
  };
  // What one state reads of the tokens of a tree, whoever called its rule.
  struct StateTokens {
    bool is_known = false;
    TokenSet tokens;              // that end before or where the rule ends
    std::vector<uint32_t> nodes;  // of the tree: the rule may have ended there
  };

  uint32_t push(uint32_t state, uint32_t below);
  void begin_closing();
  void close(Configuration from);
  bool visit(Configuration configuration);
  Place intern();
  Place place_of(Configuration configuration);
  Place find_after(Place place, uint8_t byte);
  Place behind(uint32_t stack);
  const StateTokens& read(StateTokens& out, uint32_t state, const TokenTree& tree);
  const StateTokens& short_tokens_of(uint32_t state) {
    return read(of_classes_[automaton_.alike[state]], state, trie_.short_tokens());
  }
  const StateTokens& long_tokens_of(uint32_t state) {
    return read(of_states_[state], state, trie_.long_tokens());
  }
  void add_tokens(const StateTokens& own, const TokenTree& tree, uint32_t stack,
                  std::span<uint64_t> mask);
  // Nodes [begin, end), whose parent is at depth; found gets tokens, left the nodes where the place
  // leaves.
  void walk(Place place, const TokenTree& tree, uint32_t begin, uint32_t end, uint16_t depth,
            TokenSet& found, std::vector<uint32_t>* left);

  const Automaton& automaton_;
  const TokenTrie& trie_;
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, uint32_t> frame_ids_;
  std::vector<Configuration> configurations_;
  std::vector<PlaceData> places_;
  std::unordered_multimap<uint64_t, Place> place_ids_;
  std::vector<std::array<Place, 256>> rows_;
  std::vector<TokenSet> masks_;
  std::vector<StateTokens> of_classes_;  // of the short tokens: states that are alike share them
  std::vector<StateTokens> of_states_;   // of the long ones
  Place start_ = kNowhere;
  size_t n_bytes_ = 0;
  uint64_t n_looks_ = 0;

  // Of the place that is being made; kept so that their memory is.
  std::vector<Configuration> visited_;
  std::unordered_set<uint64_t> visited_ids_;  // while they are many
  std::vector<Configuration> unread_;
  std::vector<Configuration> readers_;
  std::vector<Place> path_;
  bool can_end_ = false;
  bool leaves_ = false;
};

}  // namespace floe
