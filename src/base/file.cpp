#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace fledge::base {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

std::string reason() {
  return std::strerror(errno);
}

/// Closes a descriptor at the end of a scope.
struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

int open_for_reading(const filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Error("{}: cannot be opened ({})", path.string(), reason());
  return descriptor;
}

size_t regular_file_size(int descriptor, const filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw Error("{}: cannot be examined ({})", path.string(), reason());
  if (S_ISDIR(status.st_mode)) throw Error("{}: is a folder where a file was expected", path.string());
  return static_cast<size_t>(status.st_size);
}

void write_to_file(int descriptor, std::string_view bytes, const filesystem::path& path) {
  if (!write_all(descriptor, bytes)) throw Error("{}: cannot be written ({})", path.string(), reason());
}

void sync_file(const filesystem::path& path) {
  const Descriptor file{open_for_reading(path)};
  if (::fsync(file.value) != 0) throw Error("{}: cannot be synced ({})", path.string(), reason());
}

}  // namespace

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

MappedFile::MappedFile(const filesystem::path& path) : path_(path) {
  const Descriptor file{open_for_reading(path)};
  size_ = regular_file_size(file.value, path);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (address == MAP_FAILED) throw Error("{}: cannot be mapped into memory ({})", path.string(), reason());
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::string read_file(const filesystem::path& path) {
  const Descriptor file{open_for_reading(path)};
  std::string content;
  content.reserve(regular_file_size(file.value, path));
  std::string buffer(kBufferBytes, '\0');
  while (true) {
    const ssize_t count = ::read(file.value, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error("{}: cannot be read ({})", path.string(), reason());
    if (count == 0) return content;
    content.append(buffer.data(), static_cast<size_t>(count));
  }
}

AtomicFile::AtomicFile(filesystem::path path) : path_(std::move(path)) {
  temporary_ = path_;
  temporary_ += fmt::format(".{}.partial", ::getpid());
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw Error("{}: cannot be created ({})", path_.string(), reason());
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::flush() {
  write_to_file(descriptor_, buffer_, path_);
  buffer_.clear();
}

void AtomicFile::write(std::string_view text) {
  if (text.size() >= kBufferBytes) {
    flush();
    write_to_file(descriptor_, text, path_);
    return;
  }
  buffer_.append(text);
  if (buffer_.size() >= kBufferBytes) flush();
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::commit() {
  flush();
  if (::fsync(descriptor_) != 0) throw Error("{}: cannot be synced ({})", path_.string(), reason());
  // A network file system may report a failed write only here.
  if (::close(std::exchange(descriptor_, -1)) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const std::string why = reason();
    ::unlink(temporary_.c_str());
    throw Error("{}: cannot be written ({})", path_.string(), why);
  }
  sync_folder(path_.has_parent_path() ? path_.parent_path() : filesystem::path("."));
}

void write_file(const filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void create_folder(const filesystem::path& path) {
  std::error_code error;
  filesystem::create_directories(path, error);
  if (error) throw Error("{}: the folder cannot be created ({})", path.string(), error.message());
}

void sync_folder(const filesystem::path& path) {
  const Descriptor folder{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.value < 0) throw Error("{}: cannot be opened ({})", path.string(), reason());
  // Some file systems cannot sync a folder and say EINVAL; the rename is then as durable as they make it.
  if (::fsync(folder.value) != 0 && errno != EINVAL) throw Error("{}: cannot be synced ({})", path.string(), reason());
}

void write_folder(const filesystem::path& folder, const std::function<void(const filesystem::path&)>& fill) {
  const filesystem::path target = folder.has_filename() ? folder : folder.parent_path();
  const filesystem::path parent = target.has_parent_path() ? target.parent_path() : filesystem::path(".");
  create_folder(parent);
  filesystem::path fresh = target, old = target;
  fresh += ".partial";
  old += ".old";
  std::error_code ignored;
  filesystem::remove_all(fresh, ignored);
  create_folder(fresh);
  try {
    fill(fresh);
    for (const auto& entry : filesystem::recursive_directory_iterator(fresh)) {
      if (entry.is_regular_file()) {
        sync_file(entry.path());
      } else if (entry.is_directory()) {
        sync_folder(entry.path());
      }
    }
    sync_folder(fresh);
  } catch (...) {
    filesystem::remove_all(fresh, ignored);
    throw;
  }
  // renameat2 would exchange both in one step, but not on every file system; a crash between these two renames leaves
  // the old content under ".old", where a human finds it. Checkpoints have fresh names and never take this path.
  filesystem::remove_all(old, ignored);
  if (filesystem::exists(target)) {
    if (::rename(target.c_str(), old.c_str()) != 0)
      throw Error("{}: cannot be replaced ({})", target.string(), reason());
  }
  if (::rename(fresh.c_str(), target.c_str()) != 0) {
    const std::string why = reason();
    ::rename(old.c_str(), target.c_str());
    throw Error("{}: cannot be written ({})", target.string(), why);
  }
  sync_folder(parent);
  filesystem::remove_all(old, ignored);
}

}  // namespace fledge::base
