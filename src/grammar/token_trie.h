#pragma once
// The tokens of a vocabulary as trees of their bytes, so that tokens that begin alike are looked at
// together: one of the short tokens, and one of the few that are longer. Immutable: any number of
// threads may use one.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace floe {

class TokenTree {
 public:
  struct Node {
    uint32_t end;          // behind the last node below it
    uint32_t first_token;  // of tokens(); those of the node end where the next node's begin
    uint16_t depth;        // bytes from the root; 1 for the nodes at the top
    uint8_t byte;
  };

  TokenTree() : nodes_(1) {}
  // tokens: (bytes, id), sorted.
  explicit TokenTree(std::span<const std::pair<std::string_view, int32_t>> tokens);

  // In preorder, children by byte.
  std::span<const Node> nodes() const { return {nodes_.data(), nodes_.size() - 1}; }
  std::span<const int32_t> tokens(uint32_t node) const {
    return std::span(tokens_).subspan(nodes_[node].first_token,
                                      nodes_[node + 1].first_token - nodes_[node].first_token);
  }
  size_t n_bytes() const { return nodes_.size() * sizeof(Node) + tokens_.size() * sizeof(int32_t); }

 private:
  std::vector<Node> nodes_;  // and one behind the last
  std::vector<int32_t> tokens_;
};

class TokenTrie {
 public:
  // token_bytes [n_vocab]: what each token stands for. is_special [n_vocab], not 0: the token is no
  // text, whatever its bytes say; a grammar may name it by its id. Tokens without bytes, and those
  // with the byte 0xff, which is in no UTF-8, are never chosen under a grammar.
  TokenTrie(std::span<const std::string_view> token_bytes, std::span<const uint8_t> is_special);

  uint32_t n_vocab() const { return n_vocab_; }
  // Tokens of at most Automaton::kAlikeBytes.
  const TokenTree& short_tokens() const { return short_; }
  const TokenTree& long_tokens() const { return long_; }
  // What a grammar reads when the token is chosen; empty: never.
  std::string_view text(int32_t token) const {
    const auto id = static_cast<size_t>(token);
    return std::string_view(text_).substr(text_begin_[id], text_begin_[id + 1] - text_begin_[id]);
  }
  size_t n_bytes() const;

 private:
  uint32_t n_vocab_;
  std::string text_;
  std::vector<uint32_t> text_begin_;  // [n_vocab + 1]
  TokenTree short_;
  TokenTree long_;
};

}  // namespace floe
