#include "train/metrics.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

namespace fledge::train {
namespace {

/// Calls `use` with each line that is a whole record and with that record. Returns the number of other lines.
int64_t for_each_record(std::string_view text, const std::function<void(std::string_view, base::Json)>& use) {
  int64_t unreadable = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    // Without its line feed the last line may be torn in the middle of a number and still look whole.
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (end == std::string_view::npos) return unreadable + 1;
    try {
      base::Json record = base::parse_json(line, "metrics");
      const auto step = record.is_object() ? record.find("step") : record.end();
      if (record.is_object() && step != record.end() && step->is_number_integer()) {
        use(line, std::move(record));
        continue;
      }
    } catch (const base::Error&) {
      // Counted below.
    }
    ++unreadable;
  }
  return unreadable;
}

int open_to_append(const std::filesystem::path& path, int more_flags) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | more_flags, 0644);
  if (descriptor < 0) throw base::Error("{}: cannot be opened for writing: {}", path.string(), std::strerror(errno));
  return descriptor;
}

}  // namespace

MetricsWriter::MetricsWriter(std::filesystem::path path, int descriptor)
    : path_(std::move(path)), descriptor_(descriptor) {
  struct stat status {};
  if (fstat(descriptor_, &status) == 0) size_ = status.st_size;
}

MetricsWriter::MetricsWriter(MetricsWriter&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(other.descriptor_), size_(other.size_) {
  other.descriptor_ = -1;
}

MetricsWriter::~MetricsWriter() {
  if (descriptor_ >= 0) close(descriptor_);
}

MetricsWriter MetricsWriter::create(const std::filesystem::path& path) {
  return {path, open_to_append(path, O_TRUNC)};
}

MetricsWriter MetricsWriter::resume(const std::filesystem::path& path, int64_t completed_steps) {
  if (std::filesystem::exists(path)) {
    std::string kept;
    const std::string before = base::read_file(path);
    const int64_t unreadable = for_each_record(before, [&](std::string_view line, const base::Json& record) {
      if (record["step"].get<int64_t>() > completed_steps) return;
      kept += line;
      kept += '\n';
    });
    if (unreadable > 0) base::log_warning("{}: left out {} unreadable lines", path.string(), unreadable);
    if (kept != before) base::write_file(path, kept);
  }
  return {path, open_to_append(path, 0)};
}

void MetricsWriter::write(int64_t step, const base::OrderedJson& values) {
  base::OrderedJson record;
  record["step"] = step;
  for (const auto& [key, value] : values.items()) record[key] = value;
  // dump() writes null for a number that JSON cannot hold.
  const std::string line = record.dump(-1, ' ', false, base::OrderedJson::error_handler_t::replace) + "\n";
  if (!base::write_all(descriptor_, line)) {
    const int fault = errno;
    [[maybe_unused]] const int cut = ftruncate(descriptor_, size_);
    throw base::Error("{}: cannot be written: {}", path_.string(), std::strerror(fault));
  }
  size_ += static_cast<int64_t>(line.size());
}

void MetricsWriter::sync() {
  if (fdatasync(descriptor_) != 0)
    throw base::Error("{}: cannot be synced to disk: {}", path_.string(), std::strerror(errno));
}

std::vector<base::Json> read_metrics(const std::filesystem::path& path) {
  const base::MappedFile file(path);
  std::vector<base::Json> records;
  for_each_record(file.text(), [&](std::string_view, base::Json record) { records.push_back(std::move(record)); });
  return records;
}

}  // namespace fledge::train
