#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace fledge::train {

/// The SHA-256 of bytes that come piece by piece (OpenSSL's libcrypto, which libcurl brings along).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::string_view bytes);
  /// 64 hexadecimal digits in lower case; once.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256(std::string_view bytes);
/// Of a file's content. Throws Error where it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace fledge::train
