#pragma once
// When a batch size is timed without guesses: before the first ones, now and then between them, and
// anew where forwards have ceased to take what was predicted.
#include <cstdint>
#include <vector>

namespace floe {

class PlainSteps {
 public:
  // Allocates while batches are larger than before.
  void reserve(uint32_t n_sequences) {
    if (sizes_.size() <= n_sequences) sizes_.resize(n_sequences + 1);
  }

  // Guesses may be verified once the batch size has been timed.
  bool is_timed(uint32_t n_sequences) const { return sizes_[n_sequences].n_plain >= kFirst; }
  // The next step should do without guesses.
  bool wants_plain(uint32_t n_sequences) const { return sizes_[n_sequences].n_wanted != 0; }

  void plain_step(uint32_t n_sequences) {
    Size& size = sizes_[n_sequences];
    size.n_verified = 0;
    ++size.n_plain;
    if (size.n_wanted != 0) --size.n_wanted;
  }
  void verified_step(uint32_t n_sequences) {
    Size& size = sizes_[n_sequences];
    if (++size.n_verified % kVerifiesPerPlain == 0) size.n_wanted = 1;
  }
  void time_anew(uint32_t n_sequences) { sizes_[n_sequences].n_wanted = kFirst; }

 private:
  static constexpr uint32_t kFirst = 3;
  static constexpr uint32_t kVerifiesPerPlain = 64;

  struct Size {
    uint32_t n_plain = 0;        // timed so far
    uint32_t n_wanted = kFirst;  // before the next guesses
    uint32_t n_verified = 0;     // steps with guesses since the last plain one
  };
  std::vector<Size> sizes_;  // by number of sequences
};

}  // namespace floe
