#include "grammar/nfa.h"

#include <utility>

#include "base/error.h"

namespace floe {

Nfa::State Nfa::add_state() {
  if (!work_.has_room(uint64_t{n_states_} + 1) && n_states_ > 0) return 0;
  return n_states_++;
}

void Nfa::add_edge(State from, State to, Label label, uint32_t value) {
  // A few edges for each state that there may be.
  if (!work_.has_room(edges_.size() / 4)) return;
  edges_.push_back({from, to, label, value});
}

void Nfa::add_characters(State from, State to, const CodePointSet& set) {
  if (set.empty()) return;
  add_edge(from, to, Label::characters, intern(set));
}

void Nfa::add_text(State from, State to, std::string_view text) {
  add_nothing(text_after(from, text), to);
}

Nfa::State Nfa::text_after(State from, std::string_view text) {
  State at = from;
  uint32_t code_point = 0;
  for (size_t i = 0; i < text.size();) {
    if (work_.failed()) return at;
    FLOE_CHECK(next_code_point(text, i, code_point));
    const State next = add_state();
    add_characters(at, next, CodePointSet::one(code_point));
    at = next;
  }
  return at;
}

Nfa::Rule Nfa::add_rule(std::string name) {
  const State start = add_state();
  const State end = add_state();
  rules_.push_back({std::move(name), start, end});
  return static_cast<Rule>(rules_.size() - 1);
}

bool Nfa::copy(State first_state, State end_state, size_t first_edge, size_t end_edge, State& out) {
  const uint64_t n_states = end_state - first_state;
  const uint64_t n_edges = end_edge - first_edge;
  if (!work_.has_room(n_states_ + n_states) || !work_.has_room((edges_.size() + n_edges) / 4) ||
      !work_.spend(n_states + n_edges)) {
    return false;
  }
  out = n_states_;
  n_states_ += static_cast<uint32_t>(n_states);
  const State moved_by = out - first_state;
  for (size_t i = first_edge; i < end_edge; ++i) {
    Edge edge = edges_[i];
    edge.from += moved_by;
    edge.to += moved_by;
    edges_.push_back(edge);
  }
  return true;
}

uint32_t Nfa::intern(const CodePointSet& set) {
  uint64_t hash = 1469598103934665603u;
  for (const CodePointRange& range : set.ranges()) {
    hash = (hash ^ range.first) * 1099511628211u;
    hash = (hash ^ range.last) * 1099511628211u;
  }
  std::vector<uint32_t>& ids = set_ids_[hash];
  for (const uint32_t id : ids) {
    if (sets_[id] == set) return id;
  }
  sets_.push_back(set);
  ids.push_back(static_cast<uint32_t>(sets_.size() - 1));
  return ids.back();
}

}  // namespace floe
