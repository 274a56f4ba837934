#include "server/api_error.h"

#include "base/json.h"

namespace floe {

ApiError ApiError::of(int status, std::string message, std::string param) {
  ApiError error;
  error.status = status;
  error.message = std::move(message);
  error.param = std::move(param);
  switch (status) {
    case 401:
      error.type = "authentication_error";
      error.code = "invalid_api_key";
      break;
    case 403:
      error.type = "permission_error";
      break;
    case 404:
      error.type = "not_found_error";
      break;
    case 429:
      error.type = "rate_limit_error";
      error.code = "rate_limit_exceeded";
      break;
    case 500:
      error.type = "server_error";
      break;
    case 501:
      error.type = "not_supported_error";
      break;
    case 503:
      error.type = "unavailable_error";
      break;
    default:
      break;  // every other status is the request's own fault
  }
  return error;
}

std::string error_body(const ApiError& error) {
  Json object = {{"message", error.message},
                 {"type", error.type},
                 {"param", error.param.empty() ? Json(nullptr) : Json(error.param)},
                 {"code", error.code.empty() ? Json(nullptr) : Json(error.code)}};
  if (error.n_prompt_tokens) object["n_prompt_tokens"] = *error.n_prompt_tokens;
  if (error.n_context) object["n_ctx"] = *error.n_context;
  return dump_json(Json{{"error", std::move(object)}});
}

std::string anthropic_error_body(const ApiError& error) {
  static constexpr std::pair<int, const char*> kTypes[] = {{400, "invalid_request_error"},
                                                           {401, "authentication_error"},
                                                           {403, "permission_error"},
                                                           {404, "not_found_error"},
                                                           {413, "request_too_large"},
                                                           {429, "rate_limit_error"},
                                                           {500, "api_error"},
                                                           {503, "overloaded_error"}};
  const char* type = error.status < 500 ? "invalid_request_error" : "api_error";
  for (const auto& [status, name] : kTypes) {
    if (status == error.status) type = name;
  }
  return dump_json(
      Json{{"type", "error"}, {"error", Json{{"type", type}, {"message", error.message}}}});
}

}  // namespace floe
