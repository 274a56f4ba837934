#pragma once
// What a client is told when a request fails. Fixed sentences and numbers only: never a path, an
// address, an exception's text, a prompt or a key.
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/error.h"

namespace floe {

// Whose objects a client reads. The OpenAI kind is also that of llama.cpp's own paths.
enum class ApiKind : uint8_t {
  openai,     // completions and chat
  responses,  // OpenAI's errors, objects of their own
  anthropic,
};

struct ApiError {
  int status = 400;
  std::string type = "invalid_request_error";
  std::string message;
  std::string param;  // the field at fault; empty: none
  std::string code;   // a word that programs compare, as OpenAI has it; empty: none
  // exceed_context_size_error only
  std::optional<uint32_t> n_prompt_tokens;
  std::optional<uint32_t> n_context;
  uint32_t retry_after_seconds = 0;  // 0: no Retry-After

  // The type, and the code where there is one, that go with a status.
  static ApiError of(int status, std::string message, std::string param = {});
  static ApiError invalid(std::string param, std::string message) {
    return of(400, std::move(message), std::move(param));
  }
};

// {"error":{"message","type","param","code", ...}}; param and code are strings or null.
std::string error_body(const ApiError& error);

// {"type":"error","error":{"type","message"}}, with Anthropic's word for the status.
std::string anthropic_error_body(const ApiError& error);

// Either a value or an ApiError.
template <typename T>
class [[nodiscard]] ApiResult {
 public:
  ApiResult(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(implicit)
  ApiResult(ApiError error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(implicit)
  bool ok() const { return state_.index() == 0; }
  T& value() { return check(), std::get<0>(state_); }
  const T& value() const { return check(), std::get<0>(state_); }
  T* operator->() { return &value(); }
  T& operator*() { return value(); }
  const ApiError& error() const {
    FLOE_CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  void check() const { FLOE_CHECK(ok()); }
  std::variant<T, ApiError> state_;
};

}  // namespace floe
