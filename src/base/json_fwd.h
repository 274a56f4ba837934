#pragma once
// The name Json alone, for headers that only pass values through: the library behind base/json.h
// takes longer to compile than most of this program's files.
#include <nlohmann/json_fwd.hpp>

namespace floe {

using Json = nlohmann::ordered_json;

}  // namespace floe
