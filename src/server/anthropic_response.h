#pragma once
// Generated text to the objects and events of Anthropic's Messages API.
#include <memory>

#include "server/api_writer.h"

namespace floe {

// For answers of one choice.
std::unique_ptr<ApiWriter> make_anthropic_writer(const AnswerIdentity& identity);

}  // namespace floe
