#include "grammar/automaton.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace floe {

namespace {

struct ByteNfa {
  struct Edge {
    uint32_t from;
    uint8_t first;
    uint8_t last;
    uint32_t to;
  };
  struct Call {
    uint32_t from;
    uint32_t rule;
    uint32_t to;
  };
  struct Jump {
    uint32_t from;
    uint32_t to;
  };
  uint32_t n_states = 0;
  std::vector<Edge> edges;
  std::vector<Call> calls;
  std::vector<Jump> jumps;
};

// Where the items of a state begin, in a list that is sorted by `from`.
template <typename Item>
std::vector<uint32_t> sort_by_state(std::vector<Item>& items, uint32_t n_states) {
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.from < b.from; });
  std::vector<uint32_t> begins(size_t{n_states} + 1, 0);
  for (const Item& item : items) ++begins[item.from + 1];
  for (uint32_t i = 0; i < n_states; ++i) begins[i + 1] += begins[i];
  return begins;
}

// Every character becomes its bytes; characters of one edge share the states behind their first.
class ByteWriter {
 public:
  ByteWriter(const Nfa& nfa, CompileWork& work) : nfa_(nfa), work_(work), cached_(nfa.n_sets()) {
    out_.n_states = nfa.n_states();
  }

  bool run() {
    for (const Nfa::Edge& edge : nfa_.edges()) {
      if (!work_.spend(1) || !work_.has_room(out_.n_states)) return false;
      switch (edge.label) {
        case Nfa::Label::nothing:
          out_.jumps.push_back({edge.from, edge.to});
          break;
        case Nfa::Label::rule:
          out_.calls.push_back({edge.from, edge.value, edge.to});
          break;
        case Nfa::Label::token:
          write_token(edge);
          break;
        case Nfa::Label::characters:
          write_characters(edge);
          break;
      }
    }
    return true;
  }
  ByteNfa take() { return std::move(out_); }

 private:
  void write_token(const Nfa::Edge& edge) {
    uint32_t at = edge.from;
    for (int i = 3; i >= 0; --i) {
      const uint8_t byte = i == 3 ? kTokenByte : static_cast<uint8_t>(edge.value >> (8 * i));
      const uint32_t next = i == 0 ? edge.to : out_.n_states++;
      out_.edges.push_back({at, byte, byte, next});
      at = next;
    }
  }

  void write_characters(const Nfa::Edge& edge) {
    std::optional<std::vector<ByteSequence>>& sequences = cached_[edge.value];
    if (!sequences) sequences = utf8_sequences(nfa_.set(edge.value));
    if (!work_.spend(sequences->size())) return;
    std::map<uint64_t, uint32_t> states;  // by the ranges that are still to come
    for (const ByteSequence& sequence : *sequences) {
      uint64_t rest = 0;
      uint32_t to = edge.to;
      for (int i = sequence.n_bytes - 1; i >= 1; --i) {
        const ByteRange range = sequence.bytes[i];
        rest = rest << 16 | uint64_t{range.first} << 8 | range.last;
        const auto [found, is_new] = states.try_emplace(rest, out_.n_states);
        if (is_new) {
          ++out_.n_states;
          out_.edges.push_back({found->second, range.first, range.last, to});
        }
        to = found->second;
      }
      out_.edges.push_back({edge.from, sequence.bytes[0].first, sequence.bytes[0].last, to});
    }
  }

  const Nfa& nfa_;
  CompileWork& work_;
  std::vector<std::optional<std::vector<ByteSequence>>> cached_;
  ByteNfa out_;
};

// The states of the result, before what leads nowhere is taken out.
struct Draft {
  struct State {
    std::vector<Automaton::ByteEdge> byte_edges;
    std::vector<std::pair<uint32_t, uint32_t>> calls;  // (rule, to)
    bool is_final = false;
  };
  std::vector<State> states;
  std::vector<uint32_t> starts;  // of each rule
};

struct ListHash {
  size_t operator()(const std::vector<uint32_t>& list) const {
    uint64_t hash = 1469598103934665603u;
    for (const uint32_t value : list) hash = (hash ^ value) * 1099511628211u;
    return static_cast<size_t>(hash ^ (hash >> 29));
  }
};

// Makes each rule deterministic: one edge for a byte, one for a called rule. A rule that would
// become much larger by it keeps its alternatives apart instead: they are then followed side by
// side when text is read.
class Determinizer {
 public:
  Determinizer(ByteNfa nfa, const Nfa& rules, CompileWork& work)
      : nfa_(std::move(nfa)),
        rules_(rules),
        work_(work),
        seen_(nfa_.n_states, 0),
        met_in_(nfa_.n_states, 0) {
    edge_begin_ = sort_by_state(nfa_.edges, nfa_.n_states);
    call_begin_ = sort_by_state(nfa_.calls, nfa_.n_states);
    jump_begin_ = sort_by_state(nfa_.jumps, nfa_.n_states);
  }

  bool run() {
    for (const Nfa::RuleStates& rule : rules_.rules()) {
      const size_t first = draft_.states.size();
      merging_ = true;
      if (!run_rule(rule, first)) {
        if (work_.failed()) return false;
        draft_.states.resize(first);
        merging_ = false;
        if (!run_rule(rule, first)) return false;
      }
    }
    return true;
  }
  Draft take() { return std::move(draft_); }

 private:
  // False: work_ has failed, or there are too many states to merge.
  bool run_rule(const Nfa::RuleStates& rule, size_t first) {
    ids_.clear();
    sets_.clear();
    n_met_ = 0;
    ++round_;
    end_ = rule.end;
    std::vector<uint32_t> start{rule.start};
    const uint32_t start_id = state_of(start);
    for (size_t next = first; next < draft_.states.size(); ++next) {
      if (work_.failed()) return false;
      const size_t n_states = draft_.states.size() - first;
      if (!work_.has_room(draft_.states.size())) return false;
      if (merging_ && n_states > 64 + 4 * n_met_) return false;
      expand(next, first);
    }
    if (work_.failed()) return false;
    draft_.starts.push_back(start_id);
    return true;
  }

  // The state for what can be reached from these without text. list is left sorted and complete.
  uint32_t state_of(std::vector<uint32_t>& list) {
    ++mark_;
    for (const uint32_t state : list) seen_[state] = mark_;
    std::vector<uint32_t> kept;
    for (size_t i = 0; i < list.size(); ++i) {
      const uint32_t state = list[i];
      for (uint32_t j = jump_begin_[state]; j < jump_begin_[state + 1]; ++j) {
        const uint32_t to = nfa_.jumps[j].to;
        if (seen_[to] == mark_) continue;
        seen_[to] = mark_;
        list.push_back(to);
      }
      if (state == end_ || edge_begin_[state] != edge_begin_[state + 1] ||
          call_begin_[state] != call_begin_[state + 1]) {
        kept.push_back(state);
      }
    }
    if (!work_.spend(list.size() + kept.size())) return 0;
    std::sort(kept.begin(), kept.end());
    const auto [found, is_new] =
        ids_.try_emplace(kept, static_cast<uint32_t>(draft_.states.size()));
    if (is_new) {
      draft_.states.emplace_back();
      for (const uint32_t state : kept) {
        if (std::exchange(met_in_[state], round_) != round_) ++n_met_;
      }
      sets_.push_back(std::move(kept));
    }
    return found->second;
  }

  void expand(size_t index, size_t first) {
    const std::vector<uint32_t> set = sets_[index - first];
    std::vector<ByteNfa::Edge> edges;
    std::vector<std::pair<uint32_t, uint32_t>> calls;
    bool is_final = false;
    for (const uint32_t state : set) {
      is_final = is_final || state == end_;
      edges.insert(edges.end(), nfa_.edges.begin() + edge_begin_[state],
                   nfa_.edges.begin() + edge_begin_[state + 1]);
      for (uint32_t i = call_begin_[state]; i < call_begin_[state + 1]; ++i) {
        calls.emplace_back(nfa_.calls[i].rule, nfa_.calls[i].to);
      }
    }
    Draft::State out;
    out.is_final = is_final;
    if (!work_.spend(edges.size() + calls.size())) return;
    std::sort(calls.begin(), calls.end());
    calls.erase(std::unique(calls.begin(), calls.end()), calls.end());
    if (!merging_) {
      for (const ByteNfa::Edge& edge : edges) {
        std::vector<uint32_t> to{edge.to};
        out.byte_edges.push_back({edge.first, edge.last, state_of(to)});
      }
      for (const auto& [rule, target] : calls) {
        std::vector<uint32_t> to{target};
        out.calls.emplace_back(rule, state_of(to));
      }
      draft_.states[index] = std::move(out);
      return;
    }
    // The bytes at which the set of edges changes.
    std::vector<uint32_t> borders;
    for (const ByteNfa::Edge& edge : edges) {
      borders.push_back(edge.first);
      borders.push_back(uint32_t{edge.last} + 1);
    }
    std::sort(borders.begin(), borders.end());
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    std::sort(edges.begin(), edges.end(),
              [](const ByteNfa::Edge& a, const ByteNfa::Edge& b) { return a.first < b.first; });
    for (size_t i = 0; i + 1 < borders.size(); ++i) {
      std::vector<uint32_t> to;
      for (const ByteNfa::Edge& edge : edges) {
        if (edge.first > borders[i]) break;
        if (edge.last >= borders[i]) to.push_back(edge.to);
      }
      if (!work_.spend(edges.size())) return;
      if (to.empty()) continue;
      std::sort(to.begin(), to.end());
      to.erase(std::unique(to.begin(), to.end()), to.end());
      const uint32_t target = state_of(to);
      const auto last = static_cast<uint8_t>(borders[i + 1] - 1);
      if (!out.byte_edges.empty() && out.byte_edges.back().to == target &&
          out.byte_edges.back().last + 1 == static_cast<int>(borders[i])) {
        out.byte_edges.back().last = last;
      } else {
        out.byte_edges.push_back({static_cast<uint8_t>(borders[i]), last, target});
      }
    }
    for (size_t i = 0; i < calls.size();) {
      std::vector<uint32_t> to;
      const uint32_t rule = calls[i].first;
      for (; i < calls.size() && calls[i].first == rule; ++i) to.push_back(calls[i].second);
      out.calls.emplace_back(rule, state_of(to));
    }
    draft_.states[index] = std::move(out);
  }

  ByteNfa nfa_;
  const Nfa& rules_;
  CompileWork& work_;
  std::vector<uint32_t> edge_begin_;
  std::vector<uint32_t> call_begin_;
  std::vector<uint32_t> jump_begin_;
  std::vector<uint64_t> seen_;  // by state: the last mark_ under which it was reached
  uint64_t mark_ = 0;
  bool merging_ = true;
  uint32_t end_ = 0;
  uint64_t round_ = 0;            // of run_rule()
  std::vector<uint64_t> met_in_;  // by state: the last round in which it was met
  size_t n_met_ = 0;              // in this round
  std::unordered_map<std::vector<uint32_t>, uint32_t, ListHash> ids_;
  std::vector<std::vector<uint32_t>> sets_;  // of the rule at hand, by state
  Draft draft_;
};

// The states from which an end is reached: over any edge, or over edges that need no text.
std::vector<char> states_that_end(const Draft& draft, bool over_bytes) {
  struct Use {
    uint32_t from;  // is reached ...
    uint32_t also;  // ... if this one is as well
  };
  const auto n_states = static_cast<uint32_t>(draft.states.size());
  std::vector<Use> uses;
  std::vector<std::pair<uint32_t, uint32_t>> places;  // (state, use)
  const auto add = [&](uint32_t from, uint32_t a, uint32_t b) {
    uses.push_back({from, b});
    places.emplace_back(a, static_cast<uint32_t>(uses.size() - 1));
    if (a == b) return;
    uses.push_back({from, a});
    places.emplace_back(b, static_cast<uint32_t>(uses.size() - 1));
  };
  std::vector<char> ends(n_states, 0);
  std::vector<uint32_t> work;
  for (uint32_t i = 0; i < n_states; ++i) {
    const Draft::State& state = draft.states[i];
    if (state.is_final) {
      ends[i] = 1;
      work.push_back(i);
    }
    if (over_bytes) {
      for (const Automaton::ByteEdge& edge : state.byte_edges) add(i, edge.to, edge.to);
    }
    for (const auto& [rule, to] : state.calls) add(i, draft.starts[rule], to);
  }
  std::sort(places.begin(), places.end());
  while (!work.empty()) {
    const uint32_t reached = work.back();
    work.pop_back();
    auto place = std::lower_bound(places.begin(), places.end(), std::pair{reached, 0u});
    for (; place != places.end() && place->first == reached; ++place) {
      const Use& use = uses[place->second];
      if (ends[use.from] != 0 || ends[use.also] == 0) continue;
      ends[use.from] = 1;
      work.push_back(use.from);
    }
  }
  return ends;
}

void keep_what_ends(Draft& draft, const std::vector<char>& ends) {
  for (Draft::State& state : draft.states) {
    std::erase_if(state.byte_edges, [&](const auto& edge) { return ends[edge.to] == 0; });
    std::erase_if(state.calls, [&](const auto& call) {
      return ends[draft.starts[call.first]] == 0 || ends[call.second] == 0;
    });
  }
}

// A rule that is entered again before any text was read, if there is one: reading would call it
// for ever. The components of the states' graph over calls and over rules that may be empty.
std::optional<uint32_t> find_left_recursion(const Draft& draft, const std::vector<char>& nullable) {
  const auto n_states = static_cast<uint32_t>(draft.states.size());
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> order(n_states, kNone);
  std::vector<uint32_t> low(n_states, 0);
  std::vector<uint32_t> component(n_states, kNone);
  std::vector<uint32_t> stack;
  struct Frame {
    uint32_t state;
    size_t next;  // edge: two to a call
  };
  std::vector<Frame> frames;
  uint32_t n_visited = 0;
  uint32_t n_components = 0;
  const auto target = [&](uint32_t state, size_t edge) {
    const auto& [rule, to] = draft.states[state].calls[edge / 2];
    const uint32_t start = draft.starts[rule];
    if (edge % 2 == 0) return start;
    return nullable[start] != 0 ? to : kNone;
  };
  for (uint32_t root = 0; root < n_states; ++root) {
    if (order[root] != kNone) continue;
    frames.push_back({root, 0});
    while (!frames.empty()) {
      Frame& frame = frames.back();
      const uint32_t state = frame.state;
      if (frame.next == 0) {
        order[state] = low[state] = n_visited++;
        stack.push_back(state);
      }
      if (frame.next < draft.states[state].calls.size() * 2) {
        const uint32_t to = target(state, frame.next++);
        if (to == kNone) continue;
        if (order[to] == kNone) {
          frames.push_back({to, 0});
        } else if (component[to] == kNone) {
          low[state] = std::min(low[state], order[to]);
        }
        continue;
      }
      if (low[state] == order[state]) {
        uint32_t member = kNone;
        do {
          member = stack.back();
          stack.pop_back();
          component[member] = n_components;
        } while (member != state);
        ++n_components;
      }
      frames.pop_back();
      if (!frames.empty()) {
        low[frames.back().state] = std::min(low[frames.back().state], low[state]);
      }
    }
  }
  for (uint32_t i = 0; i < n_states; ++i) {
    for (const auto& [rule, to] : draft.states[i].calls) {
      if (component[i] == component[draft.starts[rule]]) return rule;
    }
  }
  return std::nullopt;
}

// Classes of states by what they read: refined as often as there are bytes. Where a string may have
// 200 characters its states differ, but hardly any token is long enough to tell the first from the
// second.
void find_alike(Automaton& automaton, const std::vector<char>& nullable) {
  const size_t n_states = automaton.states.size();
  std::vector<uint32_t> classes(n_states, 0);
  std::vector<uint32_t> next(n_states, 0);
  size_t n_classes = 1;
  const auto mix = [](uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9fb21c651e98df25u;
    return hash ^ (hash >> 32);
  };
  for (uint32_t round = 0; round <= Automaton::kAlikeBytes; ++round) {
    std::unordered_map<uint64_t, uint32_t> ids;
    for (size_t i = 0; i < n_states; ++i) {
      const Automaton::State& state = automaton.states[i];
      uint64_t hash = mix(classes[i], state.is_final ? 1 : 0);
      for (uint32_t j = 0; j < state.n_byte_edges; ++j) {
        const Automaton::ByteEdge& edge = automaton.byte_edges[state.first_byte_edge + j];
        hash = mix(hash, uint64_t{edge.first} << 40 | uint64_t{edge.last} << 32 | classes[edge.to]);
      }
      for (uint32_t j = 0; j < state.n_call_edges; ++j) {
        const Automaton::CallEdge& call = automaton.call_edges[state.first_call_edge + j];
        hash = mix(hash, uint64_t{call.start} << 1 | (call.is_tail ? 1 : 0));
        // Behind a rule that may be empty as many bytes are left as before it.
        const bool is_exact = nullable[call.start] != 0;
        hash = mix(hash, is_exact ? uint64_t{1} << 40 | call.to : classes[call.to]);
      }
      next[i] = ids.try_emplace(hash, static_cast<uint32_t>(ids.size())).first->second;
    }
    classes.swap(next);
    const bool is_stable = ids.size() == n_classes && round > 0;
    n_classes = ids.size();
    if (is_stable) break;
  }
  automaton.alike = std::move(classes);
  automaton.n_classes = static_cast<uint32_t>(n_classes);
}

Automaton flatten(const Draft& draft, Nfa::Rule root, const std::vector<char>& nullable) {
  // Only what the root reaches.
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> ids(draft.states.size(), kNone);
  std::vector<uint32_t> reached;
  const auto id_of = [&](uint32_t state) {
    if (ids[state] == kNone) {
      ids[state] = static_cast<uint32_t>(reached.size());
      reached.push_back(state);
    }
    return ids[state];
  };
  Automaton automaton;
  automaton.start = id_of(draft.starts[root]);
  for (size_t i = 0; i < reached.size(); ++i) {
    const Draft::State& from = draft.states[reached[i]];
    Automaton::State state;
    state.first_byte_edge = static_cast<uint32_t>(automaton.byte_edges.size());
    state.n_byte_edges = static_cast<uint32_t>(from.byte_edges.size());
    state.first_call_edge = static_cast<uint32_t>(automaton.call_edges.size());
    state.n_call_edges = static_cast<uint32_t>(from.calls.size());
    state.is_final = from.is_final;
    for (const Automaton::ByteEdge& edge : from.byte_edges) {
      automaton.byte_edges.push_back({edge.first, edge.last, id_of(edge.to)});
    }
    for (const auto& [rule, to] : from.calls) {
      const Draft::State& behind = draft.states[to];
      const bool is_tail = behind.is_final && behind.byte_edges.empty() && behind.calls.empty();
      automaton.call_edges.push_back({id_of(draft.starts[rule]), id_of(to), is_tail});
    }
    automaton.states.push_back(state);
  }
  std::vector<char> reached_nullable;
  for (const uint32_t state : reached) reached_nullable.push_back(nullable[state]);
  find_alike(automaton, reached_nullable);
  return automaton;
}

}  // namespace

Result<Automaton> make_automaton(const Nfa& nfa, Nfa::Rule root, CompileWork& work) {
  const auto limit = [&] { return usage_error("{}", work.reason()); };
  if (work.failed()) return limit();
  ByteWriter writer(nfa, work);
  if (!writer.run() || work.failed()) return limit();
  Determinizer determinizer(writer.take(), nfa, work);
  if (!determinizer.run()) return limit();
  Draft draft = determinizer.take();
  if (!work.spend(draft.states.size() * 8)) return limit();
  const std::vector<char> ends = states_that_end(draft, true);
  if (ends[draft.starts[root]] == 0) return usage_error("no text satisfies it");
  keep_what_ends(draft, ends);
  const std::vector<char> nullable = states_that_end(draft, false);
  if (const auto rule = find_left_recursion(draft, nullable)) {
    return usage_error("{} begins with itself", nfa.rule(*rule).name);
  }
  return flatten(draft, root, nullable);
}

}  // namespace floe
