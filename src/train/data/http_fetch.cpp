#include "train/data/http_fetch.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/signals.h"
#include "train/data/sha256.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;

/// The partial file on disk.
class PartialFile {
 public:
  explicit PartialFile(filesystem::path path) : path_(std::move(path)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0) fail("cannot be created");
    size_ = ::lseek(descriptor_, 0, SEEK_END);
  }
  ~PartialFile() { ::close(descriptor_); }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  int64_t size() const { return size_; }
  void clear() {
    if (::ftruncate(descriptor_, 0) != 0 || ::lseek(descriptor_, 0, SEEK_SET) < 0) fail("cannot be emptied");
    size_ = 0;
  }
  void write(const char* data, size_t count) {
    if (!base::write_all(descriptor_, {data, count})) fail("cannot be written");
    size_ += static_cast<int64_t>(count);
  }
  void sync() {
    if (::fsync(descriptor_) != 0) fail("cannot be synced");
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw base::Error("{}: {} ({})", path_.string(), what, std::strerror(errno));
  }
  filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

enum class Outcome { complete, retry, restart };

/// One request for what is still missing.
class Transfer {
 public:
  Transfer(const std::string& url, PartialFile& file, const FetchOptions& options)
      : url_(url), file_(file), options_(options), resume_from_(file.size()), curl_(curl_easy_init()) {
    if (!curl_) throw base::Error("libcurl cannot be used");
  }

  Outcome run() {
    configure();
    const CURLcode code = curl_easy_perform(curl_.get());
    if (failure_) std::rethrow_exception(failure_);
    base::throw_if_interrupted();
    long status = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && (status == 200 || status == 206) && !is_wrong_range_) return Outcome::complete;
    if (is_wrong_range_ || status == 416) return Outcome::restart;
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
      throw base::UsageError("{}: not a web address that begins with http:// or https://", url_);
    if (status >= 400 && status < 500 && status != 408 && status != 429)
      throw base::Error("{}: the server answers {}; {}", url_, status, options_.refusal_hint);
    reason_ = status >= 400 || code == CURLE_OK
                  ? fmt::format("the server answers {}", status)
                  : std::string(message_[0] != '\0' ? message_ : curl_easy_strerror(code));
    return Outcome::retry;
  }
  const std::string& reason() const { return reason_; }

 private:
  template <typename Value>
  void set(CURLoption option, Value value) {
    if (curl_easy_setopt(curl_.get(), option, value) != CURLE_OK) throw base::Error("libcurl refuses an option");
  }

  void configure() {
    set(CURLOPT_URL, url_.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, 8L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_USERAGENT, "fledge/" FLEDGE_VERSION);
    set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(options_.connect_seconds));
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.stalled_seconds));
    set(CURLOPT_ERRORBUFFER, message_);
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_data);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
    set(CURLOPT_XFERINFODATA, this);
    for (const std::string& header : options_.headers) {
      curl_slist* longer = curl_slist_append(headers_.get(), header.c_str());
      if (longer == nullptr) throw std::bad_alloc();
      static_cast<void>(headers_.release());
      headers_.reset(longer);
    }
    if (headers_) set(CURLOPT_HTTPHEADER, headers_.get());
    // A range instead of CURLOPT_RESUME_FROM, which fails where a server sends the whole file.
    if (resume_from_ > 0) set(CURLOPT_RANGE, fmt::format("{}-", resume_from_).c_str());
  }

  /// Notes where a partial answer begins.
  static size_t on_header(char* data, size_t, size_t count, void* user) {
    auto& self = *static_cast<Transfer*>(user);
    constexpr std::string_view kName = "content-range: bytes ";
    if (count > kName.size() && strncasecmp(data, kName.data(), kName.size()) == 0)
      std::from_chars(data + kName.size(), data + count, self.range_start_);
    try {
      self.report_header({data, count});
    } catch (...) {
      self.failure_ = std::current_exception();
      return 0;
    }
    return count;
  }

  void report_header(std::string_view line) const {
    const size_t colon = line.find(':');
    if (!options_.on_header || colon == std::string_view::npos) return;
    std::string name(line.substr(0, colon));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    std::string_view value = line.substr(colon + 1);
    constexpr std::string_view kBlank = " \t\r\n";
    value.remove_prefix(std::min(value.size(), value.find_first_not_of(kBlank)));
    while (!value.empty() && kBlank.find(value.back()) != std::string_view::npos) value.remove_suffix(1);
    options_.on_header(name, std::string(value));
  }

  static size_t on_data(char* data, size_t, size_t count, void* user) {
    auto& self = *static_cast<Transfer*>(user);
    try {
      return self.accept(data, count) ? count : CURL_WRITEFUNC_ERROR;
    } catch (...) {
      self.failure_ = std::current_exception();
      return CURL_WRITEFUNC_ERROR;
    }
  }

  bool accept(const char* data, size_t count) {
    long status = 0;
    curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206) return true;  // the text of an error page
    if (!started_) {
      started_ = true;
      if (status == 200 && resume_from_ > 0) {  // the whole file, although a part of it was asked for
        file_.clear();
        resume_from_ = 0;
      }
      is_wrong_range_ = status == 206 && range_start_ != resume_from_;
      if (is_wrong_range_) return false;
    }
    if (options_.largest_bytes > 0 && file_.size() + static_cast<int64_t>(count) > options_.largest_bytes) {
      throw base::Error("{}: the server sends more than the {} bytes that were expected", url_, options_.largest_bytes);
    }
    file_.write(data, count);
    return true;
  }

  static int on_progress(void* user, curl_off_t total, curl_off_t, curl_off_t, curl_off_t) {
    auto& self = *static_cast<Transfer*>(user);
    try {
      if (self.options_.progress && self.started_)
        self.options_.progress(self.file_.size(), total > 0 ? self.resume_from_ + total : 0);
    } catch (...) {
      self.failure_ = std::current_exception();
      return 1;
    }
    return base::interrupted() ? 1 : 0;
  }

  struct Cleanup {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  };
  struct FreeList {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };
  const std::string& url_;
  PartialFile& file_;
  const FetchOptions& options_;
  int64_t resume_from_;
  std::unique_ptr<curl_slist, FreeList> headers_;
  std::unique_ptr<CURL, Cleanup> curl_;
  int64_t range_start_ = -1;
  bool started_ = false, is_wrong_range_ = false;
  std::exception_ptr failure_;
  std::string reason_;
  char message_[CURL_ERROR_SIZE] = {};
};

void initialize_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw base::Error("libcurl cannot be used ({})", curl_easy_strerror(code));
}

void pause(double seconds) {
  constexpr double kStep = 0.1;
  for (; seconds > 0; seconds -= kStep) {
    base::throw_if_interrupted();
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(seconds, kStep)));
  }
}

/// Fetches until the file is whole. Returns whether a part of it was there before.
bool download(const std::string& url, PartialFile& file, const std::string& sha256_wanted,
              const filesystem::path& partial, const FetchOptions& options) {
  bool is_resumed = file.size() > 0;
  double seconds = options.retry_seconds;
  int64_t best = file.size();
  for (int attempt = 1;; ++attempt) {
    Transfer transfer(url, file, options);
    const Outcome outcome = transfer.run();
    if (outcome == Outcome::complete) return is_resumed;
    std::string reason = transfer.reason();
    if (outcome == Outcome::restart) {
      // Nothing is left to send: either the part is whole already, or it does not belong to this file.
      if (file.size() > 0 && !sha256_wanted.empty() && sha256_of_file(partial) == sha256_wanted) return false;
      if (file.size() == 0) reason = "the server refuses to send a part of the file";
      file.clear();
      best = 0;
      is_resumed = false;
    } else if (file.size() > best) {
      best = file.size();
      attempt = 1;
      seconds = options.retry_seconds;
    }
    if (attempt >= options.attempts)
      throw base::Error("{}: the download failed {} times ({}); run the command again to go on where it stopped", url,
                        attempt, reason);
    pause(seconds);
    seconds *= 2;
    is_resumed = is_resumed || file.size() > 0;
  }
}

}  // namespace

void fetch_url(const std::string& url, const filesystem::path& path, const std::string& sha256_wanted,
               const FetchOptions& options) {
  std::error_code ignored;
  if (!sha256_wanted.empty() && filesystem::is_regular_file(path, ignored) && sha256_of_file(path) == sha256_wanted)
    return;
  initialize_curl();
  filesystem::path partial = path;
  partial += ".part";
  for (bool is_fresh = false;; is_fresh = true) {
    PartialFile file(partial);
    const bool is_resumed = download(url, file, sha256_wanted, partial, options);
    const std::string found = sha256_wanted.empty() ? "" : sha256_of_file(partial);
    if (found == sha256_wanted) {
      file.sync();
      break;
    }
    file.clear();
    if (is_resumed && !is_fresh) continue;  // the parts may be of two versions of the file
    filesystem::remove(partial, ignored);
    throw base::Error(
        "{}: the file has the SHA-256 {}, and {} was expected: it was changed at its source; nothing is kept", url,
        found, sha256_wanted);
  }
  filesystem::rename(partial, path, ignored);
  if (ignored) throw base::Error("{}: cannot be written ({})", path.string(), ignored.message());
  base::sync_folder(path.has_parent_path() ? path.parent_path() : filesystem::path("."));
}

}  // namespace fledge::train
