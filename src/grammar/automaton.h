#pragma once
// A pushdown automaton over bytes: what every grammar becomes. A rule's text is read by going from
// its start state over edges of bytes to a final state; a call edge goes over the text of another
// rule. A special token, which has no text, is four bytes that no UTF-8 has.
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "grammar/nfa.h"

namespace floe {

// Begins the four bytes of a special token; its id follows, most significant byte first.
inline constexpr uint8_t kTokenByte = 0xff;

struct Automaton {
  struct ByteEdge {
    uint8_t first;
    uint8_t last;  // inclusive
    uint32_t to;
  };
  struct CallEdge {
    uint32_t start;  // of the rule that is called
    uint32_t to;     // where its text ends
    bool is_tail;    // nothing is left to do there: the caller's caller goes on
  };
  struct State {
    uint32_t first_byte_edge = 0;
    uint32_t n_byte_edges = 0;
    uint32_t first_call_edge = 0;
    uint32_t n_call_edges = 0;
    bool is_final = false;
  };

  // Texts up to this length are read the same way from states that are alike.
  static constexpr uint32_t kAlikeBytes = 16;

  std::vector<State> states;
  std::vector<ByteEdge> byte_edges;
  std::vector<CallEdge> call_edges;
  uint32_t start = 0;           // of the rule that is the whole text
  std::vector<uint32_t> alike;  // by state: the number of its class, below n_classes
  uint32_t n_classes = 0;

  size_t n_bytes() const {
    return states.size() * sizeof(State) + byte_edges.size() * sizeof(ByteEdge) +
           call_edges.size() * sizeof(CallEdge) + alike.size() * sizeof(uint32_t);
  }
};

// From every state of the result some text leads to the end: a prefix that it reads can be
// completed. ErrorKind::usage, as the end of a sentence that names the grammar: a rule that begins
// with itself (named), no text at all, or a limit of nfa.work().
Result<Automaton> make_automaton(const Nfa& nfa, Nfa::Rule root, CompileWork& work);

}  // namespace floe
