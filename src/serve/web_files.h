#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "serve/http.h"

namespace fledge::serve {

/// A file of the web page.
struct WebFile {
  std::string_view path;  ///< from "/"
  std::string_view type;  ///< MIME
  std::string_view etag;  ///< with its quotes
  std::string_view bytes;
};

/// Those that were put into the binary (cmake/embed_web.cmake).
std::span<const WebFile> embedded_web_files();

/// Answers for the page's files, from the binary or, for development, from a folder.
class WebFiles {
 public:
  /// `folder`: empty for the files in the binary.
  explicit WebFiles(std::filesystem::path folder = {}) : folder_(std::move(folder)) {}

  /// The answer to GET `request.path`; nothing where there is no such file. "/" is "/index.html".
  std::optional<HttpResponse> find(const HttpRequest& request) const;

 private:
  std::optional<HttpResponse> from_folder(const std::string& path) const;
  std::filesystem::path folder_;
};

}  // namespace fledge::serve
