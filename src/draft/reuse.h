#pragma once
// How many distinct experts further rows of a forward will read, from how soon sequences choose
// the same experts again.
//
// R(m) is the probability that an expert chosen for a token was chosen for one of the m tokens
// before it as well. The j-th of T consecutive rows adds k (1 - R(j-1)) experts that the rows
// before it did not read, k being the experts per token, so that per layer
//   U(T) = k * sum over m = 0 .. T-1 of (1 - R(m))
// whatever the router's preferences are, as long as they do not drift. One histogram for all layers
// is enough: each layer adds k choices per token to it, so its U is the mean of theirs.
//
// Sequences are taken as independent of each other, and what a forward read is compared with what
// that says: rows of a batch join an expert with probability 1 - prod(1 - U_b / E).
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "draft/sequence_rows.h"

namespace floe {

// What a sequence chose, and when.
struct RouterMemory {
  std::vector<uint32_t> last_seen;  // [layer][expert]: 1 + the row that chose it last; 0: none yet
  uint32_t n_rows = 0;
};

class RouterHistory {
 public:
  static constexpr uint32_t kMaxRows = kMaxDraftTokens + 1;  // of one sequence in a forward

  // 0 experts: a dense model, whose unions are 0.
  RouterHistory(uint32_t max_layers, uint32_t n_experts, uint32_t n_active);

  void begin(RouterMemory& memory) const;
  // Rows first_row .. first_row + n_committed - 1 of a forward's routing, u32
  // [layer][n_rows][n_active]: rows of one sequence that stay.
  void commit(RouterMemory& memory, std::span<const uint32_t> routing, uint32_t n_rows,
              uint32_t first_row, uint32_t n_committed);

  // U(T) of T rows of one sequence, 1 .. kMaxRows.
  double union_of(uint32_t n_rows) const { return unions_[n_rows - 1]; }
  // Distinct experts of a forward, from the probability that an expert is chosen by none of its
  // sequences taken as independent (the product of 1 - U/E), as corrected by what forwards read.
  double union_of_batch(double none_chosen, bool many_sequences) const;
  // What a forward read, where that probability was none_chosen.
  void observe_union(double none_chosen, bool many_sequences, double experts_read);

  uint32_t n_experts() const { return n_experts_; }

 private:
  void refresh();

  uint32_t max_layers_, n_experts_, n_active_;
  // Of the choices that a row saw at distance d, how many found their expert there, and how many
  // there were: rows at a sequence's start have no past to find anything in.
  std::array<double, kMaxRows> found_{}, looked_{};
  std::array<double, kMaxRows> unions_{};
  std::array<double, 2> correction_{1.0, 1.0};  // of one sequence, of several
};

}  // namespace floe
