#pragma once
// What the standard library throws when the machine gives it nothing more, as an Error.
#include "base/error.h"

namespace floe {

// Of the exception that is being handled: call it inside a catch block. ErrorKind::memory where
// memory or threads ran out, ErrorKind::runtime otherwise. Itself throws nothing.
Error error_of_exception() noexcept;

}  // namespace floe
