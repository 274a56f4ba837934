#pragma once
// Answers as models of a family write them, put together from the family's AnswerFormat.
#include <string>
#include <vector>

#include "base/json.h"
#include "chat/answer_format.h"

namespace floe::testing {

struct MeantCall {
  std::string name;
  Json arguments = Json::object();
};

// What an answer is to say, in this order.
struct Meant {
  std::string reasoning = {};
  std::string before = {};
  std::vector<MeantCall> calls = {};
  std::vector<MeantCall> second_calls = {};  // in a block of their own
  std::string after = {};
};

std::string answer_text(const AnswerFormat& format, const Meant& meant);
// The content of an answer whose calls are none.
std::string answer_content(const AnswerFormat& format, const std::string& text);

// Markers for which models' vocabularies have tokens.
inline constexpr const char* kMarkerTokens[] = {
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "<minimax:tool_call>",
    "</minimax:tool_call>",
    "<seed:think>",
    "</seed:think>",
    "<seed:tool_call>",
    "</seed:tool_call>",
    "｜DSML｜",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "<|python_tag|>",
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|constrain|>",
    "<|end|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|\"|>",
    "<|channel>",
    "<channel|>",
    "<|tool_call_start|>",
    "<|function_call|>",
    "<TOOLCALL>",
    "</TOOLCALL>",
    "<|START_ACTION|>",
    "<|END_ACTION|>",
    "<|START_THINKING|>",
    "<|END_THINKING|>",
};

}  // namespace floe::testing
