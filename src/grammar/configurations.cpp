#include "grammar/configurations.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace floe {

namespace {

constexpr size_t kFewConfigurations = 32;  // are found by looking at all

uint64_t mixed(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccdu;
}

}  // namespace

void TokenSet::seal(uint32_t n_vocab) {
  const size_t n_words = (size_t{n_vocab} + 63) / 64;
  if (ids_.size() * sizeof(int32_t) <= n_words * sizeof(uint64_t)) {
    ids_.shrink_to_fit();
    return;
  }
  bits_.assign(n_words, 0);
  for (const int32_t id : ids_) bits_[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
  ids_ = {};
}

TokenSet::TokenSet(std::span<const uint64_t> mask) {
  size_t n_tokens = 0;
  for (const uint64_t word : mask) n_tokens += static_cast<size_t>(std::popcount(word));
  if (n_tokens * sizeof(int32_t) > mask.size_bytes()) {
    bits_.assign(mask.begin(), mask.end());
    return;
  }
  ids_.reserve(n_tokens);
  for (size_t word = 0; word < mask.size(); ++word) {
    for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
      ids_.push_back(static_cast<int32_t>(word * 64 + static_cast<size_t>(std::countr_zero(bits))));
    }
  }
}

void TokenSet::join_to(std::span<uint64_t> mask) const {
  for (size_t i = 0; i < bits_.size(); ++i) mask[i] |= bits_[i];
  for (const int32_t id : ids_) mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
}

Configurations::Configurations(const Automaton& automaton, const TokenTrie& trie)
    : automaton_(automaton),
      trie_(trie),
      of_classes_(automaton.n_classes),
      of_states_(automaton.states.size()) {
  frames_.resize(2);
  places_.emplace_back();  // kNowhere
  path_.resize(1);
  n_bytes_ = (of_classes_.size() + of_states_.size()) * sizeof(StateTokens);
  start_ = place_of({automaton.start, kBottom});
}

uint32_t Configurations::push(uint32_t state, uint32_t below) {
  const auto [found, is_new] =
      frame_ids_.try_emplace(uint64_t{state} << 32 | below, static_cast<uint32_t>(frames_.size()));
  if (is_new) {
    frames_.push_back({state, below});
    n_bytes_ += sizeof(Frame) + 48;  // and its entry among the ids
  }
  return found->second;
}

void Configurations::begin_closing() {
  visited_.clear();
  visited_ids_.clear();
  readers_.clear();
  can_end_ = false;
  leaves_ = false;
}

// False: it was there before.
bool Configurations::visit(Configuration configuration) {
  const uint64_t id = uint64_t{configuration.state} << 32 | configuration.stack;
  if (visited_.size() < kFewConfigurations) {
    if (std::find(visited_.begin(), visited_.end(), configuration) != visited_.end()) return false;
  } else {
    if (visited_.size() == kFewConfigurations) {
      for (const Configuration& other : visited_) {
        visited_ids_.insert(uint64_t{other.state} << 32 | other.stack);
      }
    }
    if (!visited_ids_.insert(id).second) return false;
  }
  visited_.push_back(configuration);
  return true;
}

// Goes on from there without reading: into called rules, and out of rules that have ended. What
// reads a byte is added to readers_. One way is followed to its end before the next is begun, so
// that something that reads has been found when some ways are given up.
void Configurations::close(Configuration from) {
  if (visited_.size() >= kMaxConfigurations) return;
  const size_t most = kMaxConfigurations + automaton_.states.size();
  unread_.assign(1, from);
  while (!unread_.empty() && visited_.size() < most) {
    const Configuration at = unread_.back();
    unread_.pop_back();
    if (!visit(at)) continue;
    const Automaton::State& state = automaton_.states[at.state];
    if (state.n_byte_edges > 0) readers_.push_back(at);
    for (uint32_t j = 0; j < state.n_call_edges; ++j) {
      const Automaton::CallEdge& call = automaton_.call_edges[state.first_call_edge + j];
      unread_.push_back({call.start, call.is_tail ? at.stack : push(call.to, at.stack)});
    }
    if (!state.is_final) continue;
    if (at.stack == kBottom) {
      can_end_ = true;
    } else if (at.stack == kAnyCaller) {
      leaves_ = true;
    } else {
      unread_.push_back({frames_[at.stack].state, frames_[at.stack].below});
    }
  }
}

// The place of readers_, can_end_ and leaves_.
Configurations::Place Configurations::intern() {
  if (readers_.empty() && !can_end_ && !leaves_) return kNowhere;
  std::sort(readers_.begin(), readers_.end(), [](const Configuration& a, const Configuration& b) {
    return a.state != b.state ? a.state < b.state : a.stack < b.stack;
  });
  uint64_t hash = (can_end_ ? 1u : 0u) | (leaves_ ? 2u : 0u);
  for (const Configuration& reader : readers_) {
    hash = mixed(hash, uint64_t{reader.state} << 32 | reader.stack);
  }
  const auto [begin, end] = place_ids_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const PlaceData& place = places_[it->second];
    if (place.can_end == can_end_ && place.leaves == leaves_ &&
        std::equal(readers_.begin(), readers_.end(),
                   configurations_.begin() + place.first_configuration,
                   configurations_.begin() + place.first_configuration + place.n_configurations)) {
      return it->second;
    }
  }
  PlaceData place;
  place.first_configuration = static_cast<uint32_t>(configurations_.size());
  place.n_configurations = static_cast<uint32_t>(readers_.size());
  place.can_end = can_end_;
  place.leaves = leaves_;
  configurations_.insert(configurations_.end(), readers_.begin(), readers_.end());
  places_.push_back(place);
  const auto id = static_cast<Place>(places_.size() - 1);
  place_ids_.emplace(hash, id);
  n_bytes_ += sizeof(PlaceData) + readers_.size() * sizeof(Configuration) + 48;
  return id;
}

Configurations::Place Configurations::place_of(Configuration configuration) {
  begin_closing();
  close(configuration);
  return intern();
}

Configurations::Place Configurations::find_after(Place place, uint8_t byte) {
  if (place == kNowhere) return kNowhere;
  const PlaceData data = places_[place];
  const auto reader = [&](uint32_t i) { return configurations_[data.first_configuration + i]; };
  if (data.row == kNoRow) {
    // Most bytes lead nowhere from most places.
    std::array<Place, 256>& row = rows_.emplace_back();
    row.fill(kNowhere);
    for (uint32_t i = 0; i < data.n_configurations; ++i) {
      const Automaton::State& state = automaton_.states[reader(i).state];
      for (uint32_t j = 0; j < state.n_byte_edges; ++j) {
        const Automaton::ByteEdge& edge = automaton_.byte_edges[state.first_byte_edge + j];
        std::fill(row.begin() + edge.first, row.begin() + edge.last + 1, kUnknown);
      }
    }
    places_[place].row = static_cast<uint32_t>(rows_.size() - 1);
    n_bytes_ += sizeof(row);
  }
  const uint32_t row = places_[place].row;
  if (rows_[row][byte] != kUnknown) return rows_[row][byte];
  begin_closing();
  for (uint32_t i = 0; i < data.n_configurations; ++i) {
    const Configuration at = reader(i);
    const Automaton::State& state = automaton_.states[at.state];
    for (uint32_t j = 0; j < state.n_byte_edges; ++j) {
      const Automaton::ByteEdge& edge = automaton_.byte_edges[state.first_byte_edge + j];
      if (byte >= edge.first && byte <= edge.last) close({edge.to, at.stack});
    }
  }
  return rows_[row][byte] = intern();
}

Configurations::Place Configurations::after(Place place, std::string_view bytes) {
  for (const char byte : bytes) {
    place = after(place, static_cast<uint8_t>(byte));
    if (place == kNowhere) break;
  }
  return place;
}

Configurations::Place Configurations::behind(uint32_t stack) {
  if (stack == kBottom || stack == kAnyCaller) return kNowhere;
  if (frames_[stack].place == kUnknown) {
    const Place next = place_of({frames_[stack].state, frames_[stack].below});
    frames_[stack].place = next;
  }
  return frames_[stack].place;
}

void Configurations::walk(Place place, const TokenTree& tree, uint32_t begin, uint32_t end,
                          uint16_t depth, TokenSet& found, std::vector<uint32_t>* left) {
  const std::span<const TokenTree::Node> nodes = tree.nodes();
  path_[0] = place;
  for (uint32_t i = begin; i < end;) {
    const TokenTree::Node& node = nodes[i];
    ++n_looks_;
    const size_t at = node.depth - depth;
    const Place next = after(path_[at - 1], node.byte);
    if (next == kNowhere) {
      i = node.end;
      continue;
    }
    for (const int32_t token : tree.tokens(i)) found.add(token);
    if (left != nullptr && places_[next].leaves && node.end > i + 1) left->push_back(i);
    if (path_.size() <= at) path_.resize(at + 1);
    path_[at] = next;
    ++i;
  }
}

const Configurations::StateTokens& Configurations::read(StateTokens& out, uint32_t state,
                                                        const TokenTree& tree) {
  if (out.is_known) return out;
  // The state's own bytes alone: what it calls is configurations of their own.
  begin_closing();
  readers_.push_back({state, kAnyCaller});
  const Place place = intern();
  walk(place, tree, 0, static_cast<uint32_t>(tree.nodes().size()), 0, out.tokens, &out.nodes);
  out.tokens.seal(trie_.n_vocab());
  out.nodes.shrink_to_fit();
  out.is_known = true;
  n_bytes_ += out.tokens.n_bytes() + out.nodes.capacity() * sizeof(uint32_t);
  return out;
}

void Configurations::add_tokens(const StateTokens& own, const TokenTree& tree, uint32_t stack,
                                std::span<uint64_t> mask) {
  own.tokens.join_to(mask);
  if (own.nodes.empty()) return;
  const Place next = behind(stack);
  if (next == kNowhere) return;
  TokenSet behind_rule;
  for (const uint32_t node : own.nodes) {
    const TokenTree::Node& data = tree.nodes()[node];
    walk(next, tree, node + 1, data.end, data.depth, behind_rule, nullptr);
  }
  behind_rule.join_to(mask);
}

void Configurations::tokens_after(Place place, std::span<uint64_t> mask) {
  std::fill(mask.begin(), mask.end(), 0);
  if (places_[place].mask != UINT32_MAX) {
    masks_[places_[place].mask].join_to(mask);
    return;
  }
  for (uint32_t i = 0; i < places_[place].n_configurations; ++i) {
    const Configuration at = configurations_[places_[place].first_configuration + i];
    add_tokens(short_tokens_of(at.state), trie_.short_tokens(), at.stack, mask);
    add_tokens(long_tokens_of(at.state), trie_.long_tokens(), at.stack, mask);
  }
  TokenSet all(mask);
  n_bytes_ += all.n_bytes() + sizeof(TokenSet);
  places_[place].mask = static_cast<uint32_t>(masks_.size());
  masks_.push_back(std::move(all));
}

Configurations::Place Configurations::move_to(Place place, Configurations& other) const {
  if (place == kNowhere) return kNowhere;
  std::unordered_map<uint32_t, uint32_t> stacks{{kBottom, kBottom}, {kAnyCaller, kAnyCaller}};
  std::vector<uint32_t> missing;
  std::vector<Configuration> readers;
  const PlaceData& data = places_[place];
  for (uint32_t i = 0; i < data.n_configurations; ++i) {
    const Configuration at = configurations_[data.first_configuration + i];
    uint32_t stack = at.stack;
    for (; !stacks.contains(stack); stack = frames_[stack].below) missing.push_back(stack);
    uint32_t moved = stacks.at(stack);
    for (; !missing.empty(); missing.pop_back()) {
      moved = other.push(frames_[missing.back()].state, moved);
      stacks.emplace(missing.back(), moved);
    }
    readers.push_back({at.state, stacks.at(at.stack)});
  }
  other.readers_ = std::move(readers);
  other.can_end_ = data.can_end;
  other.leaves_ = data.leaves;
  return other.intern();
}

void Configurations::prepare(size_t max_bytes, uint64_t max_looks) {
  const uint64_t until = n_looks_ + max_looks;
  for (const bool is_long : {false, true}) {
    for (uint32_t i = 0; i < automaton_.states.size(); ++i) {
      if (n_bytes_ > max_bytes || n_looks_ > until) return;
      if (automaton_.states[i].n_byte_edges == 0) continue;
      if (is_long) {
        long_tokens_of(i);
      } else {
        short_tokens_of(i);
      }
    }
  }
}

}  // namespace floe
