#include "serve/api_error.h"

#include "base/json.h"

namespace fledge::serve {
namespace {

std::string_view type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

base::OrderedJson or_null(const std::string& text) {
  return text.empty() ? base::OrderedJson() : base::OrderedJson(text);
}

}  // namespace

base::OrderedJson error_json(const ApiError& error) {
  return {{"error",
           {{"message", error.what()},
            {"type", type_of(error.status())},
            {"param", or_null(error.parameter())},
            {"code", or_null(error.code())}}}};
}

HttpResponse error_response(const ApiError& error) {
  HttpResponse response = json_response(error_json(error), error.status());
  if (error.status() == 429 || error.status() == 503) response.headers.push_back({"Retry-After", "1"});
  if (error.status() == 401) response.headers.push_back({"WWW-Authenticate", "Bearer"});
  return response;
}

std::string to_text(const base::OrderedJson& value) {
  return value.dump(-1, ' ', false, base::OrderedJson::error_handler_t::replace);
}

HttpResponse json_response(const base::OrderedJson& value, int status) {
  return {status, {{"Content-Type", "application/json"}}, to_text(value)};
}

}  // namespace fledge::serve
