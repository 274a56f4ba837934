#include "grammar/grammar.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/json_terminals.h"
#include "grammar/regex.h"

namespace floe {

namespace {

// What prepare() may take: a few tenths of a second at most.
constexpr uint64_t kPrepareLooks = 60'000'000;
constexpr size_t kPrepareBytes = size_t{24} << 20;

Result<Nfa::Rule> read_choice(const Json& choices, Nfa& nfa) {
  if (!choices.is_array() || choices.empty()) return usage_error("expected an array of texts");
  const Nfa::Rule rule = nfa.add_rule("choice");
  const Nfa::RuleStates states = nfa.rule(rule);
  for (size_t i = 0; i < choices.size(); ++i) {
    if (!choices[i].is_string() || choices[i].get_ref<const std::string&>().empty()) {
      return usage_error("[{}]: expected a text of at least one character", i);
    }
    nfa.add_text(states.start, states.end, choices[i].get_ref<const std::string&>());
    if (nfa.work().failed()) return usage_error("[{}]: {}", i, nfa.work().reason());
  }
  return rule;
}

Result<Json> parse_source(const std::string& text, const CompileLimits& limits) {
  JsonLimits json;
  json.max_bytes = limits.max_source_bytes;
  json.cancelled = limits.cancelled;
  return parse_json(text, json);
}

}  // namespace

Result<Automaton> compile_json_schema(const Json& schema, const CompileLimits& limits) {
  CompileWork work(limits);
  Nfa nfa(work);
  JsonTerminals terminals(nfa);
  SchemaReader reader(nfa, terminals, schema);
  FLOE_TRY(const Nfa::Rule root, reader.read());
  Result<Automaton> automaton = make_automaton(nfa, root, work);
  if (!automaton.ok()) return usage_error("#: {}", automaton.error().message);
  return automaton;
}

Result<Automaton> compile_grammar(GrammarKind kind, const std::string& text,
                                  const CompileLimits& limits) {
  if (text.size() > limits.max_source_bytes) {
    return usage_error("{} bytes are over the limit of {}", text.size(), limits.max_source_bytes);
  }
  if (kind == GrammarKind::json_schema) {
    FLOE_TRY(const Json schema, parse_source(text, limits));
    return compile_json_schema(schema, limits);
  }
  CompileWork work(limits);
  Nfa nfa(work);
  Nfa::Rule root = 0;
  switch (kind) {
    case GrammarKind::json_schema:
      break;
    case GrammarKind::json_object: {
      JsonTerminals terminals(nfa);
      root = terminals.object();
      break;
    }
    case GrammarKind::gbnf: {
      FLOE_TRY(root, read_gbnf(text, nfa));
      break;
    }
    case GrammarKind::regex: {
      root = nfa.add_rule("expression");
      const Nfa::RuleStates states = nfa.rule(root);
      FLOE_TRY_VOID(read_regex(text, RegexMatch::whole, nfa, states.start, states.end));
      break;
    }
    case GrammarKind::choice: {
      FLOE_TRY(const Json choices, parse_source(text, limits));
      FLOE_TRY(root, read_choice(choices, nfa));
      break;
    }
  }
  return make_automaton(nfa, root, work);
}

Grammar::Grammar(Automaton automaton, std::shared_ptr<const TokenTrie> trie)
    : automaton_(std::move(automaton)),
      trie_(std::move(trie)),
      store_(std::make_shared<Configurations>(automaton_, *trie_)) {}

void Grammar::prepare() {
  const std::lock_guard lock(mutex_);
  store_->prepare(kPrepareBytes, kPrepareLooks);
}

size_t Grammar::n_bytes() const {
  const std::lock_guard lock(mutex_);
  return sizeof(Grammar) + automaton_.n_bytes() + store_->n_bytes();
}

GrammarMatcher::GrammarMatcher(std::shared_ptr<const OutputGrammar> output)
    : output_(std::move(output)), is_free_(!output_->begins_behind.empty()) {
  if (output_->may_open_with >= 0) is_free_ = false;
  const Grammar& grammar = *output_->grammar;
  const std::lock_guard lock(grammar.mutex_);
  store_ = grammar.store_;
  place_ = store_->start();
}

// Takes part in the store that others use, or in a new one when this one has become too large.
void GrammarMatcher::renew() {
  const Grammar& grammar = *output_->grammar;
  if (grammar.store_->n_bytes() > Grammar::kMaxPlaceBytes) {
    grammar.store_ = std::make_shared<Configurations>(grammar.automaton_, *grammar.trie_);
  }
  if (store_ == grammar.store_) return;
  place_ = store_->move_to(place_, *grammar.store_);
  store_ = grammar.store_;
}

bool GrammarMatcher::tokens(std::span<uint64_t> mask) {
  if (is_free_) return false;
  const Grammar& grammar = *output_->grammar;
  FLOE_CHECK(mask.size() >= (size_t{grammar.n_vocab()} + 63) / 64);
  const std::lock_guard lock(grammar.mutex_);
  renew();
  store_->tokens_after(place_, mask);
  if (is_first_ && output_->may_open_with >= 0) {
    const auto token = static_cast<size_t>(output_->may_open_with);
    mask[token / 64] |= uint64_t{1} << (token % 64);
  }
  return true;
}

bool GrammarMatcher::can_end() const {
  if (is_free_) return true;
  const std::lock_guard lock(output_->grammar->mutex_);
  return store_->can_end(place_);
}

bool GrammarMatcher::must_end() const {
  if (is_free_) return false;
  const std::lock_guard lock(output_->grammar->mutex_);
  return store_->must_end(place_);
}

bool GrammarMatcher::accept(int32_t token) {
  const Grammar& grammar = *output_->grammar;
  if (token < 0 || static_cast<uint32_t>(token) >= grammar.n_vocab()) return false;
  const std::vector<int32_t>& begins = output_->begins_behind;
  const bool was_first = is_first_;
  if (is_free_) {
    is_first_ = false;
    if (std::find(begins.begin(), begins.end(), token) == begins.end()) return true;
    is_free_ = false;
    const std::lock_guard lock(grammar.mutex_);
    renew();
    place_ = store_->start();
    return true;
  }
  if (was_first && token == output_->may_open_with && token >= 0) {
    is_first_ = false;
    is_free_ = true;
    return true;
  }
  const std::string_view text = grammar.trie_->text(token);
  if (text.empty()) return false;
  const std::lock_guard lock(grammar.mutex_);
  const Configurations::Place next = store_->after(place_, text);
  if (next == Configurations::kNowhere) return false;
  is_first_ = false;
  place_ = next;
  if (output_->again && store_->must_end(place_)) is_free_ = true;
  return true;
}

}  // namespace floe
