#include "grammar/json_terminals.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "base/json.h"
#include "grammar/expression.h"
#include "grammar/numbers.h"

namespace floe {

namespace {

CodePointSet hexadecimal() {
  return CodePointSet({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
}

}  // namespace

const CodePointSet& plain_json_characters() {
  static const CodePointSet set = CodePointSet({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}}).complement();
  return set;
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(text, out);
  return out += '"';
}

Nfa::Rule JsonTerminals::blank() {
  if (blank_) return *blank_;
  blank_ = nfa_.add_rule("blank");
  const auto [name, from, to] = nfa_.rule(*blank_);
  nfa_.add_nothing(from, to);
  nfa_.add_text(from, to, " ");
  Nfa::State at = nfa_.text_after(from, "\n");
  for (int i = 0; i < 20; ++i) {
    nfa_.add_nothing(at, to);
    at = nfa_.text_after(at, " ");
  }
  nfa_.add_nothing(at, to);
  return *blank_;
}

Nfa::Rule JsonTerminals::escape() {
  if (escape_) return *escape_;
  escape_ = nfa_.add_rule("escape");
  const auto [name, from, to] = nfa_.rule(*escape_);
  nfa_.add_characters(from, to,
                      CodePointSet({{'"', '"'},
                                    {'\\', '\\'},
                                    {'/', '/'},
                                    {'b', 'b'},
                                    {'f', 'f'},
                                    {'n', 'n'},
                                    {'r', 'r'},
                                    {'t', 't'}}));
  const Nfa::State number = nfa_.text_after(from, "u");
  const auto digits = [&](Nfa::State at, int n_digits, Nfa::State end) {
    for (int i = 0; i < n_digits; ++i) {
      const Nfa::State next = i + 1 == n_digits ? end : nfa_.add_state();
      nfa_.add_characters(at, next, hexadecimal());
      at = next;
    }
  };
  const CodePointSet d({{'D', 'D'}, {'d', 'd'}});
  const Nfa::State plain = nfa_.add_state();
  nfa_.add_characters(number, plain, hexadecimal().without(d));
  digits(plain, 3, to);
  const Nfa::State behind_d = nfa_.add_state();
  nfa_.add_characters(number, behind_d, d);
  const Nfa::State below_surrogates = nfa_.add_state();
  nfa_.add_characters(behind_d, below_surrogates, CodePointSet({{'0', '7'}}));
  digits(below_surrogates, 2, to);
  const Nfa::State high = nfa_.add_state();
  nfa_.add_characters(behind_d, high, CodePointSet({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}));
  const Nfa::State behind_high = nfa_.add_state();
  digits(high, 2, behind_high);
  const Nfa::State second = nfa_.text_after(behind_high, "\\u");
  const Nfa::State second_d = nfa_.add_state();
  nfa_.add_characters(second, second_d, d);
  const Nfa::State low = nfa_.add_state();
  nfa_.add_characters(second_d, low, CodePointSet({{'C', 'F'}, {'c', 'f'}}));
  digits(low, 2, to);
  return *escape_;
}

void JsonTerminals::add_character(Nfa::State from, Nfa::State to) {
  nfa_.add_characters(from, to, plain_json_characters());
  nfa_.add_call(nfa_.text_after(from, "\\"), to, escape());
}

Nfa::Rule JsonTerminals::string() {
  if (string_) return *string_;
  string_ = nfa_.add_rule("string");
  const auto [name, from, to] = nfa_.rule(*string_);
  add_string(from, to, 0, ExpressionBuilder::kUnbounded);
  return *string_;
}

void JsonTerminals::add_string(Nfa::State from, Nfa::State to, uint32_t least, uint32_t most) {
  Nfa::State at = nfa_.text_after(from, "\"");
  const uint32_t n_characters = most == ExpressionBuilder::kUnbounded ? least : most;
  for (uint32_t i = 0; i < n_characters && !nfa_.work().failed(); ++i) {
    if (i >= least) nfa_.add_text(at, to, "\"");
    const Nfa::State next = nfa_.add_state();
    add_character(at, next);
    at = next;
  }
  nfa_.add_text(at, to, "\"");
  if (most == ExpressionBuilder::kUnbounded) add_character(at, at);
}

void JsonTerminals::add_escaped(Nfa::State from, Nfa::State to, const CodePointSet& set) {
  nfa_.add_characters(from, to, set.without(plain_json_characters().complement()));
  for (const uint32_t c : {uint32_t{'"'}, uint32_t{'\\'}}) {
    if (set.contains(c))
      nfa_.add_text(from, to, json_string(std::string(1, static_cast<char>(c))).substr(1, 2));
  }
  for (uint32_t c = 0; c < 0x20; ++c) {
    if (!set.contains(c)) continue;
    const std::string quoted = json_string(std::string(1, static_cast<char>(c)));
    nfa_.add_text(from, to, std::string_view(quoted).substr(1, quoted.size() - 2));
  }
}

void JsonTerminals::add_string_of(Nfa::State from, Nfa::State to, const Nfa& text,
                                  Nfa::State text_from, Nfa::State text_to, uint32_t least,
                                  uint32_t most) {
  std::vector<std::vector<const Nfa::Edge*>> edges(text.n_states());
  for (const Nfa::Edge& edge : text.edges()) edges[edge.from].push_back(&edge);
  // Characters count as far as that makes a difference.
  const uint32_t n_counted = most == ExpressionBuilder::kUnbounded ? least : most;
  std::map<std::pair<Nfa::State, uint32_t>, Nfa::State> states;
  std::deque<std::pair<Nfa::State, uint32_t>> waiting;
  const auto state_of = [&](Nfa::State state, uint32_t count) {
    const auto [found, is_new] = states.try_emplace({state, count}, 0);
    if (is_new) {
      found->second = nfa_.add_state();
      waiting.emplace_back(state, count);
    }
    return found->second;
  };
  nfa_.add_nothing(nfa_.text_after(from, "\""), state_of(text_from, 0));
  while (!waiting.empty() && !nfa_.work().failed()) {
    const auto [state, count] = waiting.front();
    waiting.pop_front();
    const Nfa::State at = states.at({state, count});
    if (state == text_to && count >= least) nfa_.add_text(at, to, "\"");
    for (const Nfa::Edge* edge : edges[state]) {
      if (!nfa_.work().spend(1)) return;
      if (edge->label == Nfa::Label::nothing) {
        nfa_.add_nothing(at, state_of(edge->to, count));
        continue;
      }
      if (count == n_counted && most != ExpressionBuilder::kUnbounded) continue;
      add_escaped(at, state_of(edge->to, std::min(count + 1, n_counted)), text.set(edge->value));
    }
  }
}

// A tree of the names by character; where a text leaves it any characters may follow.
void JsonTerminals::add_string_but(Nfa::State from, Nfa::State to, std::vector<std::string> names) {
  struct Node {
    std::map<uint32_t, size_t> children;
    bool is_name = false;
  };
  std::vector<Node> nodes(1);
  for (const std::string& name : names) {
    size_t at = 0;
    uint32_t code_point = 0;
    for (size_t i = 0; next_code_point(name, i, code_point);) {
      const auto [found, is_new] = nodes[at].children.try_emplace(code_point, nodes.size());
      at = found->second;
      if (is_new) nodes.emplace_back();
    }
    nodes[at].is_name = true;
  }
  const Nfa::State other = nfa_.add_state();
  nfa_.add_characters(other, other, plain_json_characters());
  nfa_.add_text(other, to, "\"");
  std::vector<Nfa::State> states;
  for (size_t i = 0; i < nodes.size(); ++i) states.push_back(nfa_.add_state());
  if (nfa_.work().failed()) return;
  nfa_.add_nothing(nfa_.text_after(from, "\""), states[0]);
  for (size_t i = 0; i < nodes.size(); ++i) {
    std::vector<CodePointRange> taken;
    for (const auto& [code_point, child] : nodes[i].children) {
      taken.push_back({code_point, code_point});
      // A name with a character that would be escaped is not met by texts without escapes.
      if (plain_json_characters().contains(code_point)) {
        nfa_.add_characters(states[i], states[child], CodePointSet::one(code_point));
      }
    }
    nfa_.add_characters(states[i], other,
                        plain_json_characters().without(CodePointSet(std::move(taken))));
    if (!nodes[i].is_name) nfa_.add_text(states[i], to, "\"");
  }
}

Nfa::Rule JsonTerminals::number() {
  if (number_) return *number_;
  number_ = nfa_.add_rule("number");
  const auto [name, from, to] = nfa_.rule(*number_);
  add_any_number(nfa_, from, to);
  return *number_;
}

void JsonTerminals::add_mark_blank(Nfa::State from, Nfa::State to, std::string_view mark) {
  nfa_.add_call(nfa_.text_after(from, mark), to, blank());
}

void JsonTerminals::add_blank_mark(Nfa::State from, Nfa::State to, std::string_view mark) {
  const Nfa::State at = nfa_.add_state();
  nfa_.add_call(from, at, blank());
  nfa_.add_text(at, to, mark);
}

Nfa::Rule JsonTerminals::value() {
  if (value_) return *value_;
  value_ = nfa_.add_rule("value");
  const auto [name, from, to] = nfa_.rule(*value_);
  for (const std::string_view word : {"true", "false", "null"}) nfa_.add_text(from, to, word);
  nfa_.add_call(from, to, string());
  nfa_.add_call(from, to, number());
  nfa_.add_call(from, to, object());
  nfa_.add_call(from, to, array());
  return *value_;
}

Nfa::Rule JsonTerminals::object() {
  if (object_) return *object_;
  object_ = nfa_.add_rule("object");
  const auto [name, from, to] = nfa_.rule(*object_);
  const Nfa::State open = nfa_.add_state();
  const Nfa::State member = nfa_.add_state();
  const Nfa::State behind = nfa_.add_state();
  add_mark_blank(from, open, "{");
  nfa_.add_text(open, to, "}");
  nfa_.add_nothing(open, member);
  const Nfa::State key = nfa_.add_state();
  nfa_.add_call(member, key, string());
  const Nfa::State colon = nfa_.add_state();
  add_mark_blank(key, colon, ":");
  nfa_.add_call(colon, behind, value());
  add_mark_blank(behind, member, ",");
  add_blank_mark(behind, to, "}");
  return *object_;
}

Nfa::Rule JsonTerminals::array() {
  if (array_) return *array_;
  array_ = nfa_.add_rule("array");
  const auto [name, from, to] = nfa_.rule(*array_);
  const Nfa::State open = nfa_.add_state();
  const Nfa::State item = nfa_.add_state();
  const Nfa::State behind = nfa_.add_state();
  add_mark_blank(from, open, "[");
  nfa_.add_text(open, to, "]");
  nfa_.add_nothing(open, item);
  nfa_.add_call(item, behind, value());
  add_mark_blank(behind, item, ",");
  add_blank_mark(behind, to, "]");
  return *array_;
}

}  // namespace floe
