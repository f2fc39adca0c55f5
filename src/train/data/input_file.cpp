#include "train/data/input_file.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace fledge::train {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

}  // namespace

struct InputFile::Handle {
  gzFile file = nullptr;
};

InputFile::InputFile(const std::filesystem::path& path) : path_(path), handle_(std::make_unique<Handle>()) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw base::Error("{}: there is no such file", path.string());
  if (!std::filesystem::is_regular_file(path, error))
    throw base::Error("{}: a plain file was expected (it is read twice)", path.string());
  handle_->file = gzopen(path.c_str(), "rbe");
  if (handle_->file == nullptr) throw base::Error("{}: cannot be opened ({})", path.string(), std::strerror(errno));
  gzbuffer(handle_->file, kReadBytes);
}

InputFile::~InputFile() {
  gzclose(handle_->file);
}

bool InputFile::append_to(std::string& text) {
  const size_t old = text.size();
  text.resize(old + kReadBytes);
  const int count = gzread(handle_->file, text.data() + old, kReadBytes);
  text.resize(old + static_cast<size_t>(std::max(count, 0)));
  int code = Z_OK;
  const char* message = gzerror(handle_->file, &code);
  // A compressed file that was cut short gives its last bytes and then this error, or only the error.
  if (count < 0 || (count == 0 && code != Z_OK && code != Z_STREAM_END))
    throw base::Error("{}: cannot be read ({})", path_.string(), code == Z_ERRNO ? std::strerror(errno) : message);
  return count > 0;
}

int64_t InputFile::offset() const {
  return gzoffset(handle_->file);
}

}  // namespace fledge::train
