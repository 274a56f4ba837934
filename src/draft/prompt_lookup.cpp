#include "draft/prompt_lookup.h"

#include <algorithm>

#include "base/error.h"

namespace floe {
namespace {

// How often the next token of a match was right, measured at every position of 90 files of Python,
// C++ and technical prose (two vocabularies, 8k and 150k tokens; each file 10k to 16k tokens):
//
//   tokens that match                    2    3    4   5-6  7-8  9-12 13-16 17-24  32
//   one place                           .37  .52  .61  .68  .75  .80  .85   .89   .94
//   2 places that go on alike           .62  .75  .82  .86  .89  .91  .93   .95   .97
//   9 to 32 places that go on alike     .90  .97  .98  .99  .99  .99  .99   .99   .99
//   2 places that do not                .16  .25  .31  .37  .39  .38  .36   .42   .53
//
// 1 - 3 / ((length + 3) * places) fits the first rows. Places that do not agree say more than
// the length: then it is about the share of those that go on the same way.
double chance_of(uint32_t length, uint32_t n_places, uint32_t n_alike) {
  const double chance = 1.0 - 3.0 / ((length + 3.0) * n_places);
  return n_alike == n_places ? chance : 0.85 * chance * n_alike / n_places;
}

// Bounds between the confidence levels. In what the bundled model itself writes (24 outputs of some
// 900 tokens, half of them greedy), guesses of levels 0 to 7 were right in 0.56, 0.73, 0.77, 0.88,
// 0.94, 0.93, 0.99 and 1.00 of the cases.
constexpr std::array<double, kConfidenceLevels - 1> kChances = {0.6,  0.7,  0.8,  0.87,
                                                                0.92, 0.95, 0.975};
constexpr double kLeastChance = 0.5;

uint8_t level_of(double chance) {
  return static_cast<uint8_t>(std::upper_bound(kChances.begin(), kChances.end(), chance) -
                              kChances.begin());
}

// Of a prediction, where the run of agreeing tokens is all that is known. Against copies of files
// with an edit of some tokens in every 40, runs of 1 and 2 were right 3 times of 4, of 3 and 4
// tokens 0.86, of 5 to 7 0.96, of more as often as edits allow.
constexpr std::array<uint32_t, kConfidenceLevels - 1> kRuns = {3, 4, 5, 8, 12, 20, 32};

uint8_t level_of_run(uint32_t run) {
  return static_cast<uint8_t>(std::upper_bound(kRuns.begin(), kRuns.end(), run) - kRuns.begin());
}

uint32_t distance(uint32_t a, uint32_t b) {
  return a < b ? b - a : a - b;
}

}  // namespace

void PredictionTrack::begin(std::span<const int32_t> prediction, std::span<const int32_t> text) {
  tokens_.assign(prediction.begin(), prediction.end());
  index_.clear();
  // A place at the very end has nothing to say.
  if (!tokens_.empty()) index_.extend(tokens_, static_cast<uint32_t>(tokens_.size() - 1));
  cursor_ = {.n_since = kNearTokens + 1};
  if (tokens_.empty()) return;
  // A sequence that was preempted is in the middle of it.
  look_around(cursor_, TokenTail(text, {}));
  if (cursor_.run < kFirstRun) cursor_ = {.run = kFirstRun};
}

void PredictionTrack::advance(Cursor& cursor, int32_t token) const {
  ++cursor.n_since;
  if (cursor.run == 0 || cursor.next >= tokens_.size() || tokens_[cursor.next] != token) {
    cursor.run = 0;
    return;
  }
  ++cursor.next;
  cursor.run = std::min(cursor.run + 1, kMaxMatch);
  if (cursor.run < kSureRun) return;
  cursor.home = cursor.next;
  cursor.n_since = 0;
}

void PredictionTrack::follow(std::span<const int32_t> output) {
  for (const int32_t token : output) advance(cursor_, token);
}

void PredictionTrack::look_around(Cursor& cursor, const TokenTail& tail) {
  const auto size = static_cast<uint32_t>(tokens_.size());
  const uint32_t expected = cursor.home + cursor.n_since;
  TokenPlace best;
  const auto consider = [&](TokenPlace place) {
    if (place.length < best.length || place.length == 0) return;
    if (place.length == best.length &&
        distance(place.next, expected) >= distance(best.next, expected)) {
      return;
    }
    best = place;
  };
  if (cursor.n_since <= kNearTokens) {
    const uint32_t first = expected - std::min(expected, kNearBefore);
    const uint32_t last = std::min(expected + kNearAfter, size - 1);
    for (uint32_t next = first; next <= last; ++next) {
      const uint32_t length = tail.match(tokens_, next);
      n_operations_ += 1 + length;
      consider({next, length});
    }
  }
  std::array<TokenPlace, TokenIndex::kMaxPlaces> places;
  const uint32_t n_places = index_.find(tokens_, tail, places);
  for (uint32_t i = 0; i < n_places; ++i) consider(places[i]);
  cursor.run = best.length;
  if (best.length == 0) return;
  cursor.next = best.next;
  if (best.length < kSureRun) return;
  cursor.home = best.next;
  cursor.n_since = 0;
}

std::optional<TokenPlace> PredictionTrack::place(std::span<const int32_t> text,
                                                 std::span<const int32_t> draft) {
  if (tokens_.empty()) return std::nullopt;
  Cursor cursor = cursor_;
  for (const int32_t token : draft) advance(cursor, token);
  if (cursor.run < kSureRun) look_around(cursor, TokenTail(text, draft));
  if (draft.empty()) cursor_ = cursor;
  if (cursor.run == 0 || cursor.next >= tokens_.size()) return std::nullopt;
  return TokenPlace{cursor.next, cursor.run};
}

void PromptLookup::begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t,
                         std::span<const int32_t> prediction) {
  while (texts_.size() <= sequence) texts_.push_back(nullptr);
  std::unique_ptr<Text>& text = texts_[sequence];
  if (text == nullptr) {
    text = std::make_unique<Text>();
    text->index.reserve(max_context_);
  } else {
    text->index.clear();
  }
  FLOE_CHECK(!text->in_use);
  text->in_use = true;
  text->prediction.begin(prediction, tokens);
  text->n_followed = static_cast<uint32_t>(tokens.size());
}

void PromptLookup::end(SequenceId sequence) {
  if (sequence < texts_.size() && texts_[sequence] != nullptr) texts_[sequence]->in_use = false;
}

void PromptLookup::draft(std::span<SequenceRows> step, TokenChooser&) {
  for (SequenceRows& rows : step) {
    if (rows.n_wanted == 0) continue;
    FLOE_CHECK(rows.sequence < texts_.size() && texts_[rows.sequence]->in_use);
    draft_one(rows, *texts_[rows.sequence]);
  }
}

void PromptLookup::draft_one(SequenceRows& rows, Text& text) {
  const auto n_tokens = static_cast<uint32_t>(rows.tokens.size());
  // The last token's n-grams wait: what follows them is not known yet.
  text.index.extend(rows.tokens, n_tokens - 1);
  text.prediction.follow(rows.tokens.subspan(text.n_followed));
  text.n_followed = n_tokens;
  std::vector<DraftToken>& draft = rows.draft;
  const size_t n_most = std::min(rows.n_wanted, kMaxDraftTokens);
  if (draft.size() >= n_most) return;

  std::array<int32_t, kMaxDraftTokens> drafted;
  uint32_t n_drafted = 0;
  for (const DraftToken& guess : draft) drafted[n_drafted++] = guess.token;
  const std::span<const int32_t> before = std::span(drafted).first(n_drafted);
  const TokenTail tail(rows.tokens, before);
  std::array<TokenPlace, TokenIndex::kMaxPlaces> places;
  uint32_t n_places = text.index.find(rows.tokens, tail, places);
  TokenPlace best;
  for (uint32_t i = 0; i < n_places; ++i) {
    if (places[i].length > best.length) best = places[i];
  }

  if (const auto place = text.prediction.place(rows.tokens, before);
      place && place->length >= best.length) {
    const std::span<const int32_t> rest = text.prediction.tokens().subspan(place->next);
    for (uint32_t i = 0; i < rest.size() && draft.size() < n_most; ++i) {
      const uint32_t run = std::min(place->length + i, kMaxMatch);
      draft.push_back({rest[i], DraftSource::prediction, level_of_run(run)});
    }
    return;
  }

  const auto token_at = [&](uint32_t position) {
    return position < n_tokens ? rows.tokens[position] : drafted[position - n_tokens];
  };
  for (uint32_t i = 0; n_places > 0 && n_drafted < n_most; ++i) {
    const int32_t token = token_at(best.next + i);
    uint32_t n_alike = 0;
    for (uint32_t k = 0; k < n_places; ++k) {
      if (token_at(places[k].next + i) == token) places[n_alike++] = places[k];
    }
    const uint32_t length = std::min(best.length + i, kMaxMatch);
    const double chance = chance_of(length, n_places, n_alike);
    if (chance < kLeastChance) return;
    draft.push_back({token, DraftSource::prompt_lookup, level_of(chance)});
    drafted[n_drafted++] = token;
    n_places = n_alike;
  }
}

uint64_t PromptLookup::n_operations() const {
  uint64_t n = 0;
  for (const auto& text : texts_) {
    if (text == nullptr || !text->in_use) continue;
    n += text->index.n_operations() + text->prediction.n_operations();
  }
  return n;
}

}  // namespace floe
