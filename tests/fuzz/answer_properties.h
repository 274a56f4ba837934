#pragma once
// What the answer fuzzer checks; the tests replay its corpus and random bytes through the same
// code.
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace floe {

struct AnswerCounts {
  size_t n_answers = 0;
  size_t n_histories = 0;  // requests with an answer as history, all accepted
  size_t n_calls = 0;
  size_t n_partial_calls = 0;
  size_t n_reasoning = 0;
  size_t n_without_content = 0;
};

// The first bytes choose a chat format and a request, the others the tokens of an answer: marker
// tokens, text that spells markers, pieces of calls, bytes. The answer is written as the server
// writes it, whole and streamed, and read as a client reads it. The first property that does not
// hold, or an empty string:
// - the stream says the same as the whole answer, in valid UTF-8;
// - calls are calls of declared functions;
// - where markers are tokens, ordinary tokens are content, whatever they spell;
// - where models write arguments otherwise, those of whole calls are JSON;
// - every form of the answer is accepted back as history, by the request parser and by the format,
//   in front of a question, in front of tool results, and as the final message.
std::string check_answer_properties(std::span<const uint8_t> bytes, AnswerCounts* counts = nullptr);

// Bytes for the above that a model might give: reasoning, text and calls, half of them cut
// anywhere, with something else here and there.
std::vector<uint8_t> random_answer(std::mt19937& random);

}  // namespace floe
