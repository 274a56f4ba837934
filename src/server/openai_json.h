#pragma once
// Reading members of a request's JSON.
#include "base/json.h"

namespace floe {

// The member `name` of an object where it is present and not null: in this API, null asks for
// nothing. nullptr otherwise. The value lives as long as `object`.
inline const Json* find_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// The array `name` of an object, made where it is absent. The library makes an array of a null by
// halves where memory runs out.
inline Json& array_member(Json& object, const char* name) {
  if (!object.contains(name)) object[name] = Json::array();
  return object[name];
}

}  // namespace floe
