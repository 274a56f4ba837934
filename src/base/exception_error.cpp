#include "base/exception_error.h"

#include <exception>
#include <new>
#include <system_error>

namespace floe {

Error error_of_exception() noexcept {
  Error error;
  error.kind = ErrorKind::memory;
  error.message = "out of memory";  // short enough to need none
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return error;
  } catch (const std::system_error& fault) {
    const bool threads = fault.code() == std::errc::resource_unavailable_try_again ||
                         fault.code() == std::errc::not_enough_memory;
    try {
      if (threads) {
        return make_error(ErrorKind::memory, "out of memory or of threads: {}", fault.what());
      }
      return make_error(ErrorKind::runtime, "{}", fault.what());
    } catch (...) {
      return error;
    }
  } catch (const std::exception& fault) {
    try {
      return make_error(ErrorKind::runtime, "{}", fault.what());
    } catch (...) {
      return error;
    }
  } catch (...) {
    return error;
  }
}

}  // namespace floe
