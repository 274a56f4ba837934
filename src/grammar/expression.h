#pragma once
// Sequences, alternatives, groups and repetitions, put together as a parser of text meets them.
// Groups lie on a stack of its own, so that no text nests calls.
#include <cstdint>
#include <optional>
#include <vector>

#include "grammar/nfa.h"

namespace floe {

class ExpressionBuilder {
 public:
  static constexpr uint32_t kUnbounded = UINT32_MAX;

  // What is built lies between from and to.
  ExpressionBuilder(Nfa& nfa, Nfa::State from, Nfa::State to);

  void add_characters(const CodePointSet& set);
  void add_rule(Nfa::Rule rule);
  void alternative();  // what follows is another way from the beginning of the group to its end
  // False: deeper than the limits allow.
  bool open_group();
  void close_group();  // the group becomes the last item
  size_t depth() const { return groups_.size() - 1; }
  bool has_item() const { return groups_.back().item.has_value(); }  // to repeat
  bool is_at_start() const { return groups_.back().is_at_start; }    // of an alternative
  // The last item, least to most times. False: it needs too many states.
  bool repeat(uint32_t least, uint32_t most);
  void finish();  // no group is open

 private:
  // What repeat() copies: all states and edges from these on.
  struct Item {
    Nfa::State first_state;
    size_t first_edge;
    Nfa::State from;
    Nfa::State to;
  };
  struct Group {
    Nfa::State first_state;  // of the group as an item
    size_t first_edge;
    Nfa::State from;
    Nfa::State to;
    Nfa::State at;  // where the next item begins
    std::optional<Item> item;
    bool is_at_start = true;
  };

  Item begin_item();
  void take_item(const Item& item);
  void join_item();  // the last item will not be repeated any more

  Nfa& nfa_;
  std::vector<Group> groups_;
};

}  // namespace floe
