#include "grammar/numbers.h"

#include <algorithm>
#include <string>

namespace floe {

namespace {

constexpr int kFractionDigits = 16;

CodePointSet digit(uint32_t first, uint32_t last) {
  return CodePointSet({{first, last}});
}

// Digits least to most, at least one.
void add_digits(Nfa& nfa, Nfa::State from, Nfa::State to, int most) {
  Nfa::State at = from;
  for (int i = 0; i < most; ++i) {
    const Nfa::State next = nfa.add_state();
    nfa.add_characters(at, next, digit('0', '9'));
    nfa.add_nothing(next, to);
    at = next;
  }
}

// A point and digits.
void add_fraction(Nfa& nfa, Nfa::State from, Nfa::State to) {
  add_digits(nfa, nfa.text_after(from, "."), to, kFractionDigits);
}

// A point and zeros.
void add_zero_fraction(Nfa& nfa, Nfa::State from, Nfa::State to) {
  Nfa::State at = nfa.text_after(from, ".");
  for (int i = 0; i < kFractionDigits; ++i) {
    at = nfa.text_after(at, "0");
    nfa.add_nothing(at, to);
  }
}

// A point and digits that are not all zero.
void add_fraction_above_zero(Nfa& nfa, Nfa::State from, Nfa::State to) {
  Nfa::State zeros = nfa.text_after(from, ".");
  Nfa::State above = nfa.add_state();
  nfa.add_characters(zeros, above, digit('1', '9'));
  for (int i = 1; i < kFractionDigits; ++i) {
    nfa.add_nothing(above, to);
    const Nfa::State next_zeros = nfa.text_after(zeros, "0");
    const Nfa::State next_above = nfa.add_state();
    nfa.add_characters(above, next_above, digit('0', '9'));
    nfa.add_characters(next_zeros, next_above, digit('1', '9'));
    zeros = next_zeros;
    above = next_above;
  }
  nfa.add_nothing(above, to);
}

// Digits of one length, from low to high.
void add_same_length(Nfa& nfa, Nfa::State from, Nfa::State to, const std::string& low,
                     const std::string& high) {
  // By what is known so far: still equal to low, to high.
  Nfa::State states[2][2] = {{0, 0}, {0, 0}};
  bool reached[2][2] = {{false, false}, {false, true}};
  states[1][1] = from;
  for (size_t i = 0; i < low.size(); ++i) {
    Nfa::State next[2][2] = {{0, 0}, {0, 0}};
    bool next_reached[2][2] = {{false, false}, {false, false}};
    const auto go = [&](Nfa::State at, char first, char last, bool is_low, bool is_high) {
      if (first > last) return;
      if (!next_reached[is_low][is_high]) {
        next_reached[is_low][is_high] = true;
        next[is_low][is_high] = i + 1 == low.size() ? to : nfa.add_state();
      }
      nfa.add_characters(at, next[is_low][is_high],
                         digit(static_cast<uint32_t>(first), static_cast<uint32_t>(last)));
    };
    for (const bool is_low : {false, true}) {
      for (const bool is_high : {false, true}) {
        if (!reached[is_low][is_high]) continue;
        const Nfa::State at = states[is_low][is_high];
        char first = is_low ? low[i] : '0';
        char last = is_high ? high[i] : '9';
        if (is_low && is_high && first == last) {
          go(at, first, last, true, true);
          continue;
        }
        if (is_low) {
          go(at, first, first, true, false);
          ++first;
        }
        if (is_high) {
          go(at, last, last, false, true);
          --last;
        }
        go(at, first, last, false, false);
      }
    }
    std::copy(&next[0][0], &next[0][0] + 4, &states[0][0]);
    std::copy(&next_reached[0][0], &next_reached[0][0] + 4, &reached[0][0]);
  }
}

uint64_t magnitude(int64_t value) {
  return value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

// Without a sign.
void add_natural(Nfa& nfa, Nfa::State from, Nfa::State to, uint64_t least, uint64_t most) {
  if (least > most) return;
  const size_t shortest = std::to_string(least).size();
  const size_t longest = std::to_string(most).size();
  for (size_t length = shortest; length <= longest; ++length) {
    const std::string low =
        length == shortest ? std::to_string(least) : "1" + std::string(length - 1, '0');
    const std::string high = length == longest ? std::to_string(most) : std::string(length, '9');
    add_same_length(nfa, from, to, low, high);
  }
}

// Without a sign, the bounds not negative.
void add_natural_between(Nfa& nfa, Nfa::State from, Nfa::State to, uint64_t least, bool with_least,
                         uint64_t most, bool with_most) {
  if (least > most || (least == most && !(with_least && with_most))) return;
  if (least == most) {
    const Nfa::State whole = nfa.add_state();
    add_natural(nfa, from, whole, least, least);
    nfa.add_nothing(whole, to);
    add_zero_fraction(nfa, whole, to);
    return;
  }
  const Nfa::State first = nfa.add_state();  // behind the whole part of the least
  add_natural(nfa, from, first, least, least);
  if (with_least) {
    nfa.add_nothing(first, to);
    add_fraction(nfa, first, to);
  } else {
    add_fraction_above_zero(nfa, first, to);
  }
  const Nfa::State between = nfa.add_state();
  add_natural(nfa, from, between, least + 1, most - 1);
  nfa.add_nothing(between, to);
  add_fraction(nfa, between, to);
  if (!with_most) return;
  const Nfa::State last = nfa.add_state();
  add_natural(nfa, from, last, most, most);
  nfa.add_nothing(last, to);
  add_zero_fraction(nfa, last, to);
}

}  // namespace

void add_any_number(Nfa& nfa, Nfa::State from, Nfa::State to) {
  const Nfa::State sign = nfa.add_state();
  nfa.add_nothing(from, sign);
  nfa.add_text(from, sign, "-");
  const Nfa::State whole = nfa.add_state();
  add_natural(nfa, sign, whole, 0, static_cast<uint64_t>(kLargestWhole));
  const Nfa::State behind = nfa.add_state();
  nfa.add_nothing(whole, behind);
  add_fraction(nfa, whole, behind);
  nfa.add_nothing(behind, to);
  const Nfa::State exponent = nfa.add_state();
  nfa.add_characters(behind, exponent, CodePointSet({{'E', 'E'}, {'e', 'e'}}));
  const Nfa::State digits = nfa.add_state();
  nfa.add_nothing(exponent, digits);
  nfa.add_characters(exponent, digits, CodePointSet({{'+', '+'}, {'-', '-'}}));
  add_digits(nfa, digits, to, 2);
}

void add_whole_numbers(Nfa& nfa, Nfa::State from, Nfa::State to, int64_t least, int64_t most) {
  if (least > most) return;
  if (most >= 0) {
    add_natural(nfa, from, to, least > 0 ? magnitude(least) : 0, magnitude(most));
  }
  if (least < 0) {
    add_natural(nfa, nfa.text_after(from, "-"), to, most < 0 ? magnitude(most) : 1,
                magnitude(least));
  }
}

void add_numbers_between(Nfa& nfa, Nfa::State from, Nfa::State to, int64_t least, bool with_least,
                         int64_t most, bool with_most) {
  if (most >= 0) {
    add_natural_between(nfa, from, to, least > 0 ? magnitude(least) : 0, least < 0 || with_least,
                        magnitude(most), with_most);
  }
  if (least < 0) {
    // Zero and above are written without a sign.
    add_natural_between(nfa, nfa.text_after(from, "-"), to, most < 0 ? magnitude(most) : 0,
                        most < 0 && with_most, magnitude(least), with_least);
  }
}

}  // namespace floe
