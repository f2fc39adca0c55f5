#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace fledge::train {

struct FetchOptions {
  int attempts = 5;                  ///< in a row without a new byte before giving up
  int connect_seconds = 15;          ///< for a connection
  int stalled_seconds = 30;          ///< without data until a connection counts as lost
  double retry_seconds = 1;          ///< pause before the second attempt; doubled for each one after it
  std::vector<std::string> headers;  ///< sent to the address itself, and not to another host that it points to
  int64_t largest_bytes = 0;         ///< a longer answer is refused; 0: any length
  /// What a user can do where the server refuses (401, 403, 404).
  std::string refusal_hint = "check the address";
  /// The headers of every answer, those that point to another address among them; names in lower case.
  std::function<void(const std::string& name, const std::string& value)> on_header;
  /// Bytes on disk and bytes in all (0: not known), now and then.
  std::function<void(int64_t done, int64_t total)> progress;
};

/// Downloads a file over HTTP or HTTPS. What has arrived is kept in PATH.part, where a later call (after a lost
/// connection, Ctrl+C or a killed program) goes on by a range request; PATH itself appears when the content is whole
/// and its SHA-256 is the expected one (64 hexadecimal digits; empty: not checked). A file at PATH with that SHA-256 is
/// left as it is, and nothing is fetched. A resumed file that turns out wrong is fetched once more from its beginning.
/// Throws Error where the server refuses, the content is not the expected one, or every attempt failed; Interrupted on
/// Ctrl+C.
void fetch_url(const std::string& url, const std::filesystem::path& path, const std::string& sha256,
               const FetchOptions& options = {});

}  // namespace fledge::train
