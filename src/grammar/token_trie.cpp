#include "grammar/token_trie.h"

#include <algorithm>

#include "base/error.h"
#include "grammar/automaton.h"

namespace floe {

namespace {

// No vocabulary has longer ones; a node counts its depth in 16 bits.
constexpr size_t kLongestToken = 4096;

}  // namespace

TokenTree::TokenTree(std::span<const std::pair<std::string_view, int32_t>> tokens) {
  std::vector<uint32_t> path;  // nodes from the top to where the last token ended
  std::string_view last;
  const auto close_below = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
    }
  };
  for (const auto& [bytes, token] : tokens) {
    const auto shared = static_cast<size_t>(
        std::mismatch(bytes.begin(), bytes.end(), last.begin(), last.end()).first - bytes.begin());
    close_below(shared);
    for (size_t i = shared; i < bytes.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, static_cast<uint32_t>(tokens_.size()), static_cast<uint16_t>(i + 1),
                        static_cast<uint8_t>(bytes[i])});
    }
    tokens_.push_back(token);
    last = bytes;
  }
  close_below(0);
  nodes_.push_back({0, static_cast<uint32_t>(tokens_.size()), 0, 0});
}

TokenTrie::TokenTrie(std::span<const std::string_view> token_bytes,
                     std::span<const uint8_t> is_special)
    : n_vocab_(static_cast<uint32_t>(token_bytes.size())) {
  FLOE_CHECK(is_special.size() == token_bytes.size());
  text_begin_.reserve(size_t{n_vocab_} + 1);
  for (uint32_t id = 0; id < n_vocab_; ++id) {
    text_begin_.push_back(static_cast<uint32_t>(text_.size()));
    if (is_special[id] != 0) {
      text_ += static_cast<char>(kTokenByte);
      for (int shift = 16; shift >= 0; shift -= 8) text_ += static_cast<char>(id >> shift);
      continue;
    }
    const std::string_view bytes = token_bytes[id];
    if (bytes.size() > kLongestToken ||
        bytes.find(static_cast<char>(kTokenByte)) != std::string_view::npos) {
      continue;
    }
    text_ += bytes;
  }
  text_begin_.push_back(static_cast<uint32_t>(text_.size()));
  std::vector<std::pair<std::string_view, int32_t>> of_length[2];
  for (uint32_t id = 0; id < n_vocab_; ++id) {
    const std::string_view bytes = text(static_cast<int32_t>(id));
    if (bytes.empty()) continue;
    const bool is_long = bytes.size() > Automaton::kAlikeBytes;
    of_length[is_long ? 1 : 0].emplace_back(bytes, static_cast<int32_t>(id));
  }
  for (auto& tokens : of_length) std::sort(tokens.begin(), tokens.end());
  short_ = TokenTree(of_length[0]);
  long_ = TokenTree(of_length[1]);
}

size_t TokenTrie::n_bytes() const {
  return text_.size() + text_begin_.size() * sizeof(uint32_t) + short_.n_bytes() + long_.n_bytes();
}

}  // namespace floe
