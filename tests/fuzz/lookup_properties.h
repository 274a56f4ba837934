#pragma once
// What the prompt lookup's fuzzer checks; the tests replay its corpus through the same code, and
// use the slow way of finding a match.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "draft/token_index.h"

namespace floe {

// What TokenIndex::find() promises, without an index: tries every place of the first n_indexed
// tokens.
std::vector<TokenPlace> find_slowly(std::span<const int32_t> tokens, uint32_t n_indexed,
                                    std::span<const int32_t> tail);

// The first property that does not hold, or an empty string. The input is a small program: a
// request begins with a prompt and a prediction, then tokens come in pieces and drafts are asked
// for, some of them begun by another drafter.
// - a place that is found is one that find_slowly() finds, and none is left out;
// - a draft is as long as it may be at most, and its first tokens are those it began with;
// - a guess of the lookup continues the most recent of the longest matches, one of the prediction
//   is the token that follows a place of the prediction;
// - what a draft costs does not grow with the text.
std::string check_lookup_input(std::span<const unsigned char> input);

}  // namespace floe
