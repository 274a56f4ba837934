#pragma once
// JSON numbers, whole or not, between bounds.
#include <cstdint>

#include "grammar/nfa.h"

namespace floe {

// Far enough for what people count, and short enough that a model comes to an end.
inline constexpr int64_t kLargestWhole = 999'999'999'999'999'999;

// At most 18 digits, 16 behind the point, and 2 of an exponent.
void add_any_number(Nfa& nfa, Nfa::State from, Nfa::State to);

// Whole numbers least to most, without a point; nothing when there is none.
void add_whole_numbers(Nfa& nfa, Nfa::State from, Nfa::State to, int64_t least, int64_t most);

// Numbers with at most 16 digits behind the point and no exponent, between two whole bounds, each
// of which may be left out.
void add_numbers_between(Nfa& nfa, Nfa::State from, Nfa::State to, int64_t least, bool with_least,
                         int64_t most, bool with_most);

}  // namespace floe
