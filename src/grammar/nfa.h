#pragma once
// What the front ends build: states and edges of rules that may call each other. Characters are
// code points here; automaton.h makes bytes of them.
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/code_points.h"
#include "grammar/compile_limits.h"

namespace floe {

class Nfa {
 public:
  using State = uint32_t;
  using Rule = uint32_t;

  enum class Label : uint8_t {
    nothing,
    characters,  // value: a set of intern()
    rule,        // value: a Rule; its text comes between the states
    token,       // value: the id of a special token, which has no text
  };
  struct Edge {
    State from;
    State to;
    Label label;
    uint32_t value;
  };
  struct RuleStates {
    std::string name;  // for messages
    State start;
    State end;
  };

  explicit Nfa(CompileWork& work) : work_(work) {}

  CompileWork& work() { return work_; }

  // Behind the limit of states the answer is some state, and work() has failed: whoever builds in a
  // loop looks there.
  State add_state();
  void add_edge(State from, State to, Label label, uint32_t value);
  void add_nothing(State from, State to) { add_edge(from, to, Label::nothing, 0); }
  void add_characters(State from, State to, const CodePointSet& set);
  void add_call(State from, State to, Rule rule) { add_edge(from, to, Label::rule, rule); }
  void add_token(State from, State to, int32_t token) {
    add_edge(from, to, Label::token, static_cast<uint32_t>(token));
  }
  // text: valid UTF-8.
  void add_text(State from, State to, std::string_view text);
  State text_after(State from, std::string_view text);  // its end is a new state
  Rule add_rule(std::string name);

  // A copy of states [first_state, ...) and edges [first_edge, ...) up to the given ends, among
  // themselves: state s becomes the answer + s - first_state. False: there is no room.
  bool copy(State first_state, State end_state, size_t first_edge, size_t end_edge, State& out);

  uint32_t n_states() const { return n_states_; }
  const std::vector<Edge>& edges() const { return edges_; }
  const std::vector<RuleStates>& rules() const { return rules_; }
  RuleStates rule(Rule rule) const { return rules_[rule]; }
  const CodePointSet& set(uint32_t id) const { return sets_[id]; }
  uint32_t n_sets() const { return static_cast<uint32_t>(sets_.size()); }

 private:
  uint32_t intern(const CodePointSet& set);

  CompileWork& work_;
  uint32_t n_states_ = 0;
  std::vector<Edge> edges_;
  std::vector<RuleStates> rules_;
  std::vector<CodePointSet> sets_;
  std::unordered_map<uint64_t, std::vector<uint32_t>> set_ids_;  // by hash
};

}  // namespace floe
