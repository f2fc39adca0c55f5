#pragma once

#include <string>

#include "base/error.h"
#include "base/json_fwd.h"
#include "serve/http.h"

namespace fledge::serve {

/// What a request is answered with when it cannot be done: OpenAI's error object and its HTTP status.
class ApiError : public base::Error {
 public:
  /// `parameter`: the field at fault, or empty. `code`: a word for programs, or empty.
  ApiError(int status, const std::string& message, std::string parameter = {}, std::string code = {})
      : base::Error(message), status_(status), parameter_(std::move(parameter)), code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& parameter() const { return parameter_; }
  const std::string& code() const { return code_; }

 private:
  int status_;
  std::string parameter_, code_;
};

/// {"error": {"message", "type", "param", "code"}}
base::OrderedJson error_json(const ApiError& error);
HttpResponse error_response(const ApiError& error);

/// Text of a JSON value for the wire; bytes that are not UTF-8 become U+FFFD.
std::string to_text(const base::OrderedJson& value);
HttpResponse json_response(const base::OrderedJson& value, int status = 200);

}  // namespace fledge::serve
