#pragma once
// Errors that come from input or from the machine travel as values; broken invariants stop the
// process.
#include <fmt/core.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace floe {

// What went wrong, as far as a caller of the program can act on it. Each kind has one exit code.
enum class ErrorKind : uint8_t {
  runtime,  // exit 1: an operation failed while running
  usage,    // exit 2: the caller's flags or request make no sense
  model,    // exit 3: a model file is unreadable, invalid or unsupported
  memory,   // exit 4: it does not fit; the message carries the figure needed
  quality,  // exit 5: a quality check failed
};

int exit_code(ErrorKind kind);

// One line for a person: names the file, the field or tensor, what was expected and what was found.
struct Error {
  ErrorKind kind = ErrorKind::runtime;
  std::string message;
};

template <typename... Args>
Error make_error(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return Error{kind, fmt::vformat(format, fmt::make_format_args(args...))};
}

template <typename... Args>
Error model_error(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorKind::model, format, std::forward<Args>(args)...);
}

template <typename... Args>
Error usage_error(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorKind::usage, format, std::forward<Args>(args)...);
}

// Stops the process: an invariant of our own code does not hold.
[[noreturn]] void panic(const char* file, int line, const char* what);

#define FLOE_CHECK(condition)                                        \
  do {                                                               \
    if (!(condition)) ::floe::panic(__FILE__, __LINE__, #condition); \
  } while (false)

// Either a value or an Error. Reading the wrong side is a broken invariant.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(implicit)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(implicit)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    FLOE_CHECK(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    FLOE_CHECK(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    FLOE_CHECK(ok());
    return std::get<0>(std::move(state_));
  }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }

  const Error& error() const {
    FLOE_CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(implicit)
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    FLOE_CHECK(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

#define FLOE_CONCAT_INNER(a, b) a##b
#define FLOE_CONCAT(a, b) FLOE_CONCAT_INNER(a, b)

// FLOE_TRY(auto x, expression): binds the value or returns the error to the caller.
#define FLOE_TRY_INNER(temp, binding, expression) \
  auto temp = (expression);                       \
  if (!temp.ok()) return temp.error();            \
  binding = std::move(temp).value()
#define FLOE_TRY(binding, expression) \
  FLOE_TRY_INNER(FLOE_CONCAT(floe_try_, __LINE__), binding, expression)

// FLOE_TRY_VOID(expression): returns the error of a Result<void> (or of any Result) to the caller.
#define FLOE_TRY_VOID(expression)                                                       \
  do {                                                                                  \
    if (auto floe_result = (expression); !floe_result.ok()) return floe_result.error(); \
  } while (false)

}  // namespace floe
