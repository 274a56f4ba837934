#pragma once
// Bodies of OpenAI's Responses API as bodies of chat completions, so that both are read, checked
// and refused by the same code. Pure functions.
#include <string>

#include "base/json.h"
#include "server/api_error.h"

namespace floe {

struct ResponsesBody {
  Json chat;  // the body of a chat completion
  // What a response object repeats of its request, as members: instructions, tools and so on.
  Json echo;
  // The messages of the chat without the instructions: with the answer behind them they are what a
  // later request goes on from.
  Json messages;
  bool store = true;
};

// The id that a request goes on from; empty: none. Its own step, since the messages of that
// response have to be found before the rest is read.
ApiResult<std::string> previous_response_id(const Json& body);

// earlier: an array of chat messages in front of the request's own; null: none. An error's param is
// the path of what is at fault.
ApiResult<ResponsesBody> chat_body_of_response(Json body, const Json& earlier);

}  // namespace floe
