#pragma once
// Generated text to the objects and events of OpenAI's Responses API.
#include <memory>
#include <string>

#include "base/json.h"
#include "server/api_writer.h"
#include "server/response_store.h"

namespace floe {

// What a response has beside its answer. Shared by the writers of one request.
struct ResponseContext {
  Json echo;      // members that repeat the request
  Json messages;  // of the chat in front of the answer; null: the response is not stored
  std::string owner;
  ResponseStore* store = nullptr;  // outlives the writers
};

// For answers of one choice. A finished answer is put into the store.
std::unique_ptr<ApiWriter> make_responses_writer(const AnswerIdentity& identity,
                                                 std::shared_ptr<const ResponseContext> context);

}  // namespace floe
