#include "fuzz/lookup_properties.h"

#include <algorithm>

#include "draft/prompt_lookup.h"

namespace floe {
namespace {

constexpr SequenceId kSequence = 7;
// Of one draft: probes, places with their tokens, and the window around a prediction's place.
constexpr uint64_t kMostOperations =
    2 * TokenIndex::kGrams.size() *
        (TokenIndex::kMaxProbes + TokenIndex::kMaxPlaces * (kMaxMatch + 1)) +
    (PredictionTrack::kNearBefore + PredictionTrack::kNearAfter + 1) * (kMaxMatch + 1);

class NoChooser final : public TokenChooser {
 public:
  int32_t choose(const SequenceRows&, std::span<const float>) override { return -1; }
};

class Reader {
 public:
  explicit Reader(std::span<const unsigned char> bytes) : bytes_(bytes) {}
  bool done() const { return next_ == bytes_.size(); }
  unsigned next() { return done() ? 0u : bytes_[next_++]; }
  std::vector<int32_t> tokens(size_t n, unsigned n_vocab) {
    std::vector<int32_t> out;
    for (size_t i = 0; i < n && !done(); ++i) {
      out.push_back(static_cast<int32_t>(next() % n_vocab));
    }
    return out;
  }

 private:
  const std::span<const unsigned char> bytes_;
  size_t next_ = 0;
};

bool same(const TokenPlace& a, const TokenPlace& b) {
  return a.next == b.next && a.length == b.length;
}

std::string check_index(std::span<const int32_t> tokens, const TokenIndex& index,
                        std::span<const int32_t> more) {
  const TokenTail tail(tokens, more);
  std::array<TokenPlace, TokenIndex::kMaxPlaces> places;
  const uint32_t n_places = index.find(tokens, tail, places);
  // What was dropped may be missing.
  if (index.n_dropped() > 0) return {};
  const std::vector<TokenPlace> expected = find_slowly(tokens, index.n_indexed(), tail.tokens());
  if (!std::equal(places.begin(), places.begin() + n_places, expected.begin(), expected.end(),
                  same)) {
    return "the index finds other places than the slow way";
  }
  return {};
}

std::string check_draft(std::span<const int32_t> tokens, std::span<const int32_t> prediction,
                        std::span<const DraftToken> draft, size_t n_begun, bool dropped) {
  std::vector<int32_t> text(tokens.begin(), tokens.end());
  for (const DraftToken& guess : draft.first(n_begun)) text.push_back(guess.token);
  if (draft.size() == n_begun) return {};
  const DraftSource source = draft[n_begun].source;
  const std::vector<TokenPlace> places =
      find_slowly(tokens, static_cast<uint32_t>(tokens.size() - 1),
                  std::span(text).last(std::min<size_t>(text.size(), kMaxMatch)));
  const auto longest = std::max_element(
      places.begin(), places.end(),
      [](const TokenPlace& a, const TokenPlace& b) { return a.length < b.length; });
  for (const DraftToken& guess : draft.subspan(n_begun)) {
    if (guess.source != source) return "a draft mixes its sources";
    if (guess.confidence >= kConfidenceLevels) return "a confidence is out of range";
  }
  std::vector<int32_t> guesses;
  for (const DraftToken& guess : draft.subspan(n_begun)) guesses.push_back(guess.token);
  if (source == DraftSource::prediction) {
    return std::search(prediction.begin(), prediction.end(), guesses.begin(), guesses.end()) ==
                   prediction.end()
               ? "a guess is not in the prediction"
               : "";
  }
  if (source != DraftSource::prompt_lookup) return "a guess has another source";
  if (dropped) return {};
  if (longest == places.end()) return "a guess continues no match";
  for (size_t i = 0; i < guesses.size(); ++i) {
    if (text[longest->next + i] != guesses[i]) return "a guess does not continue the longest match";
    text.push_back(guesses[i]);
  }
  return {};
}

}  // namespace

std::vector<TokenPlace> find_slowly(std::span<const int32_t> tokens, uint32_t n_indexed,
                                    std::span<const int32_t> tail) {
  for (const uint32_t n_gram : TokenIndex::kGrams) {
    std::vector<TokenPlace> places;
    for (uint32_t next = n_indexed; next > 0 && places.size() < TokenIndex::kMaxPlaces; --next) {
      uint32_t length = 0;
      while (length < std::min<size_t>(next, tail.size()) &&
             tokens[next - 1 - length] == tail[tail.size() - 1 - length]) {
        ++length;
      }
      if (length >= n_gram) places.push_back({next, length});
    }
    if (!places.empty()) return places;
  }
  return {};
}

std::string check_lookup_input(std::span<const unsigned char> input) {
  Reader reader(input);
  const unsigned n_vocab = 1 + reader.next() % 16;
  const std::vector<int32_t> prediction = reader.tokens(reader.next(), n_vocab);
  std::vector<int32_t> tokens = reader.tokens(1 + reader.next(), n_vocab);
  if (tokens.empty()) return {};
  PromptLookup lookup(64);
  NoChooser chooser;
  TokenIndex index;
  lookup.begin(kSequence, tokens, 0, prediction);
  while (!reader.done()) {
    const unsigned what = reader.next();
    const std::vector<int32_t> piece = reader.tokens(1 + what % 8, n_vocab);
    tokens.insert(tokens.end(), piece.begin(), piece.end());
    const std::vector<int32_t> begun = reader.tokens(what / 8 % 4, n_vocab);
    SequenceRows rows;
    rows.sequence = kSequence;
    rows.tokens = tokens;
    rows.n_wanted = 1 + what / 32 * 4;
    std::vector<DraftToken>& draft = rows.draft;
    for (const int32_t token : begun) draft.push_back({token, DraftSource::mtp, 1});
    // The tokens that came are paid for by themselves.
    index.extend(tokens, static_cast<uint32_t>(tokens.size() - 1));
    SequenceRows full = rows;
    full.n_wanted = 1;
    full.draft.resize(1);
    lookup.draft({&full, 1}, chooser);
    const uint64_t n_before = lookup.n_operations();
    lookup.draft({&rows, 1}, chooser);
    if (lookup.n_operations() - n_before > kMostOperations) return "a draft costs too much";
    if (draft.size() > std::max<size_t>(rows.n_wanted, begun.size())) return "a draft is long";
    for (size_t i = 0; i < begun.size(); ++i) {
      if (draft[i].token != begun[i] || draft[i].source != DraftSource::mtp) {
        return "a draft lost what it began with";
      }
    }
    if (std::string broken = check_index(tokens, index, begun); !broken.empty()) return broken;
    if (std::string broken =
            check_draft(tokens, prediction, draft, begun.size(), index.n_dropped() > 0);
        !broken.empty()) {
      return broken;
    }
  }
  lookup.end(kSequence);
  return {};
}

}  // namespace floe
