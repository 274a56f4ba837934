#pragma once
// The merging loop that byte pair encoding and score-based vocabularies share: neighbours are
// joined, best rank first, leftmost first among equals, until no pair has a rank.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace floe {

inline constexpr uint32_t kNoRank = UINT32_MAX;

// A stretch of the piece that is one symbol at present. Joined ones keep the left node; the right
// one gets n_bytes 0.
struct MergeNode {
  uint32_t start = 0;
  uint32_t n_bytes = 0;
  int32_t symbol = -1;
  int32_t previous = -1;
  int32_t next = -1;
  uint32_t pair_rank =
      kNoRank;               // of joining this node with the next one; kNoRank: they do not join
  int32_t pair_symbol = -1;  // what the two become
};

// What a look at a pair of symbols found; direct-mapped by the pair.
struct PairMemory {
  uint64_t pair = UINT64_MAX;
  uint32_t rank = kNoRank;
  int32_t symbol = -1;
};
inline constexpr size_t kPairMemory = 4096;

// Thrown by MergeScratch::check and caught by the tokenizer: an encoding that was given limits and
// has met one.
struct EncodingStopped {};

// Buffers of one encoding run, reused from word to word.
struct MergeScratch {
  std::vector<MergeNode> nodes;
  // Pairs that may join, as rank << 32 | left node: the smallest key is the best rank, then the
  // leftmost. A key whose rank is no longer its node's pair_rank means nothing.
  std::vector<uint64_t> first_keys;     // of the word as it came, ascending
  std::vector<uint64_t> later_keys;     // of joined symbols, a heap with the smallest on top
  std::vector<PairMemory> pair_memory;  // [kPairMemory] where an encoder uses it
  uint64_t n_steps = 0;
  std::function<void()> check_limits;  // throws EncodingStopped; empty: no limits

  void append(uint32_t start, uint32_t n_bytes, int32_t symbol) {
    const int32_t index = static_cast<int32_t>(nodes.size());
    if (index > 0) nodes.back().next = index;
    nodes.push_back({start, n_bytes, symbol, index - 1, -1});
  }
  // Every so many words, and between the windows of long ones.
  void check() const {
    if (check_limits) check_limits();
  }
};

// Words longer than this are merged window by window: the work stays linear, and since a window
// starts where a token of the one before ended, only pathological words can tell the difference.
inline constexpr size_t kMergeWindowBytes = 64 * 1024;
inline constexpr size_t kMergeOverlapBytes = 4 * 1024;

// Merges scratch.nodes in place. `find(left, right, rank, symbol)` says whether two neighbours
// join.
template <typename Find>
void merge_nodes(MergeScratch& scratch, Find&& find) {
  std::vector<MergeNode>& nodes = scratch.nodes;
  std::vector<uint64_t>& first = scratch.first_keys;
  std::vector<uint64_t>& later = scratch.later_keys;
  first.clear();
  later.clear();
  const auto key_of = [&](int32_t left) {
    return uint64_t{nodes[left].pair_rank} << 32 | static_cast<uint32_t>(left);
  };
  // Looks at a node and the one behind it; true when they join.
  const auto consider = [&](int32_t left) {
    if (left < 0) return false;
    MergeNode& node = nodes[left];
    node.pair_rank = kNoRank;
    if (node.next < 0) return false;
    ++scratch.n_steps;
    return find(node, nodes[node.next], node.pair_rank, node.pair_symbol);
  };
  for (size_t i = 0; i + 1 < nodes.size(); ++i) {
    if (consider(static_cast<int32_t>(i))) first.push_back(key_of(static_cast<int32_t>(i)));
  }
  // Runs of one character, the longest words there are, come sorted.
  if (!std::is_sorted(first.begin(), first.end())) std::sort(first.begin(), first.end());
  const auto add = [&](int32_t left) {
    if (!consider(left)) return;
    later.push_back(key_of(left));
    std::push_heap(later.begin(), later.end(), std::greater<>());
  };
  for (size_t next_first = 0; next_first < first.size() || !later.empty();) {
    ++scratch.n_steps;
    uint64_t key = 0;
    if (later.empty() || (next_first < first.size() && first[next_first] < later.front())) {
      key = first[next_first++];
    } else {
      std::pop_heap(later.begin(), later.end(), std::greater<>());
      key = later.back();
      later.pop_back();
    }
    const auto left_index = static_cast<int32_t>(key & UINT32_MAX);
    MergeNode& left = nodes[left_index];
    if (left.pair_rank != key >> 32) continue;
    MergeNode& right = nodes[left.next];
    left.n_bytes += right.n_bytes;
    left.symbol = left.pair_symbol;
    left.next = right.next;
    right.n_bytes = 0;
    right.pair_rank = kNoRank;
    if (left.next >= 0) nodes[left.next].previous = left_index;
    add(left.previous);
    add(left_index);
  }
}

// Runs `fill(window)` (which fills scratch.nodes for that text), `merge(window)` and `emit(window,
// node)` over a piece of any length.
template <typename Fill, typename Merge, typename Emit>
void merge_in_windows(std::string_view piece, MergeScratch& scratch, Fill&& fill, Merge&& merge,
                      Emit&& emit) {
  while (!piece.empty()) {
    const bool last = piece.size() <= kMergeWindowBytes + kMergeOverlapBytes;
    const std::string_view window =
        last ? piece : piece.substr(0, kMergeWindowBytes + kMergeOverlapBytes);
    if (!last) scratch.check();
    scratch.nodes.clear();
    fill(window);
    merge(window);
    size_t consumed = 0;
    for (int32_t i = 0; i >= 0; i = scratch.nodes[i].next) {
      const MergeNode& node = scratch.nodes[i];
      if (!last && node.start >= kMergeWindowBytes) break;
      emit(window, node);
      consumed = node.start + node.n_bytes;
    }
    piece.remove_prefix(consumed);
  }
}

}  // namespace floe
