#include "serve/web_files.h"

#include <algorithm>

#include "base/file.h"

namespace fledge::serve {
namespace {

/// Nothing from elsewhere, no inline script: a text that a model wrote can never become code.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string_view type_of(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  if (ending == ".html") return "text/html; charset=utf-8";
  if (ending == ".js" || ending == ".mjs") return "text/javascript; charset=utf-8";
  if (ending == ".css") return "text/css; charset=utf-8";
  if (ending == ".svg") return "image/svg+xml";
  if (ending == ".json") return "application/json";
  if (ending == ".png") return "image/png";
  if (ending == ".ico") return "image/x-icon";
  if (ending == ".woff2") return "font/woff2";
  return "application/octet-stream";
}

HttpResponse answer(std::string_view type, std::string body) {
  return {200, {{"Content-Type", std::string(type)}, {"Content-Security-Policy", kPolicy}}, std::move(body)};
}

}  // namespace

std::optional<HttpResponse> WebFiles::find(const HttpRequest& request) const {
  const std::string path = request.path == "/" ? "/index.html" : request.path;
  if (!folder_.empty()) return from_folder(path);
  const auto files = embedded_web_files();
  const auto found = std::ranges::find(files, path, &WebFile::path);
  if (found == files.end()) return {};
  HttpResponse response = answer(found->type, std::string(found->bytes));
  response.headers.push_back({"ETag", std::string(found->etag)});
  response.headers.push_back({"Cache-Control", "no-cache"});
  if (request.header("if-none-match") == found->etag) {
    response.status = 304;
    response.body.clear();
  }
  return response;
}

std::optional<HttpResponse> WebFiles::from_folder(const std::string& path) const {
  std::error_code error;
  const auto root = std::filesystem::canonical(folder_, error);
  if (error) return {};
  const auto file = std::filesystem::canonical(root / path.substr(1), error);
  if (error || !std::filesystem::is_regular_file(file, error)) return {};
  // A path with "..", or a link that leads out of the folder, names nothing here.
  const auto [mismatch, unused] = std::ranges::mismatch(root, file);
  if (mismatch != root.end()) return {};
  HttpResponse response = answer(type_of(file), base::read_file(file));
  response.headers.push_back({"Cache-Control", "no-store"});
  return response;
}

}  // namespace fledge::serve
