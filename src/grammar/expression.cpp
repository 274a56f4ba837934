#include "grammar/expression.h"

#include <algorithm>

#include "base/error.h"

namespace floe {

ExpressionBuilder::ExpressionBuilder(Nfa& nfa, Nfa::State from, Nfa::State to) : nfa_(nfa) {
  groups_.push_back({0, 0, from, to, from, std::nullopt, true});
  alternative();
}

void ExpressionBuilder::join_item() {
  Group& group = groups_.back();
  if (!group.item) return;
  nfa_.add_nothing(group.at, group.item->from);
  group.at = group.item->to;
  group.item.reset();
}

ExpressionBuilder::Item ExpressionBuilder::begin_item() {
  join_item();
  const Nfa::State first = nfa_.n_states();
  const size_t first_edge = nfa_.edges().size();
  const Nfa::State from = nfa_.add_state();
  return {first, first_edge, from, nfa_.add_state()};
}

void ExpressionBuilder::take_item(const Item& item) {
  groups_.back().item = item;
  groups_.back().is_at_start = false;
}

void ExpressionBuilder::add_characters(const CodePointSet& set) {
  const Item item = begin_item();
  nfa_.add_characters(item.from, item.to, set);
  take_item(item);
}

void ExpressionBuilder::add_rule(Nfa::Rule rule) {
  const Item item = begin_item();
  nfa_.add_call(item.from, item.to, rule);
  take_item(item);
}

void ExpressionBuilder::alternative() {
  join_item();
  Group& group = groups_.back();
  if (group.at != group.from) nfa_.add_nothing(group.at, group.to);  // not the first one
  group.at = nfa_.add_state();
  nfa_.add_nothing(group.from, group.at);
  group.is_at_start = true;
}

bool ExpressionBuilder::open_group() {
  if (groups_.size() > nfa_.work().limits().max_depth) return false;
  const Item item = begin_item();
  groups_.push_back(
      {item.first_state, item.first_edge, item.from, item.to, item.from, std::nullopt, true});
  alternative();
  return true;
}

void ExpressionBuilder::close_group() {
  FLOE_CHECK(groups_.size() > 1);
  join_item();
  const Group group = groups_.back();
  nfa_.add_nothing(group.at, group.to);
  groups_.pop_back();
  take_item({group.first_state, group.first_edge, group.from, group.to});
}

bool ExpressionBuilder::repeat(uint32_t least, uint32_t most) {
  const Item item = *groups_.back().item;
  const Nfa::State end_state = nfa_.n_states();
  const size_t end_edge = nfa_.edges().size();
  const uint32_t n_copies = most == kUnbounded ? std::max(least, 1u) : most;
  const uint64_t n_states = end_state - item.first_state;
  // Before the first copy is made.
  if (!nfa_.work().has_room(n_states * n_copies)) return false;
  const Nfa::State from = nfa_.add_state();
  const Nfa::State to = nfa_.add_state();
  Nfa::State at = from;
  for (uint32_t i = 0; i < n_copies; ++i) {
    Nfa::State moved_by = 0;
    if (i > 0) {
      Nfa::State copied = 0;
      if (!nfa_.copy(item.first_state, end_state, item.first_edge, end_edge, copied)) return false;
      moved_by = copied - item.first_state;
    }
    if (i >= least) nfa_.add_nothing(at, to);
    nfa_.add_nothing(at, item.from + moved_by);
    at = item.to + moved_by;
    if (most == kUnbounded && i + 1 == n_copies) nfa_.add_nothing(at, item.from + moved_by);
  }
  nfa_.add_nothing(at, to);
  groups_.back().item = Item{item.first_state, item.first_edge, from, to};
  return !nfa_.work().failed();
}

void ExpressionBuilder::finish() {
  FLOE_CHECK(groups_.size() == 1);
  join_item();
  nfa_.add_nothing(groups_.back().at, groups_.back().to);
}

}  // namespace floe
