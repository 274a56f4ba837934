#pragma once
#include "base/json.h"
#include "template/interpreter.h"
#include "template/value.h"

namespace floe::jinja {

// The members of a JSON object, into `out`. Text of origin `data` in a message's "role" is the
// author's where TemplateInput::roles has it.
Result<void> add_members(Interpreter& interpreter, const Json& object, Origin origin, Dict& out);

Result<Value> value_of_json(Interpreter& interpreter, const Json& json, Origin origin);

}  // namespace floe::jinja
