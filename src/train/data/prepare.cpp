#include "train/data/prepare.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <mutex>

#include "base/parallel.h"
#include "base/random.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;

constexpr size_t kWholeDocument = size_t{1} << 48;  // more than any memory
constexpr uint64_t kSplitStream = 0x73706c6974;     // "split"

/// A piece of text on its way to one split.
struct Job {
  std::string text;
  const char* split = kTrainSplit;
  bool begins_document = false, ends_document = false;
};

/// The lengths of the documents where there are few of them; empty where there are many.
std::vector<int64_t> survey(const PrepareOptions& options) {
  std::vector<int64_t> lengths;
  DocumentPiece piece;
  for (const auto& path : options.inputs) {
    const auto reader = open_documents(path, options.documents);
    while (reader->next(piece)) {
      if (piece.begins_document) lengths.push_back(0);
      lengths.back() += static_cast<int64_t>(piece.text.size());
      if (static_cast<int64_t>(lengths.size()) >= kManyDocuments) return {};
    }
  }
  return lengths;
}

/// Hands every piece to its split: whole documents where there are many, the end of each one where there are few.
class Splitter {
 public:
  Splitter(double fraction, std::vector<int64_t> lengths) : fraction_(fraction), lengths_(std::move(lengths)) {}

  int64_t documents() const { return document_ + 1; }

  void add(DocumentPiece&& piece, std::vector<Job>& jobs) {
    if (piece.begins_document) begin_document();
    const auto size = static_cast<int64_t>(piece.text.size());
    if (split_ == kTrainSplit && target_ >= 0 && offset_ + size > target_) {
      const size_t cut = cut_place(piece, static_cast<size_t>(target_ - offset_));
      if (cut > 0 || !starts_part_) jobs.push_back({piece.text.substr(0, cut), kTrainSplit, starts_part_, true});
      piece.text.erase(0, cut);
      split_ = kValidationSplit;
      starts_part_ = true;
    }
    offset_ += size;
    // A part that would hold nothing at all is left out.
    if (piece.text.empty() && starts_part_) return;
    jobs.push_back({std::move(piece.text), split_, starts_part_, piece.ends_document});
    starts_part_ = false;
  }

 private:
  void begin_document() {
    ++document_;
    offset_ = 0;
    starts_part_ = true;
    split_ = kTrainSplit;
    target_ = -1;
    if (fraction_ == 0) return;
    if (lengths_.empty()) {
      if (is_validation_document(document_, fraction_)) split_ = kValidationSplit;
    } else {
      const auto length = static_cast<double>(lengths_.at(static_cast<size_t>(document_)));
      target_ = static_cast<int64_t>(length * (1 - fraction_));
    }
  }

  /// Where a piece is divided: behind the first line that ends at `wanted` or later, if the document goes on there.
  static size_t cut_place(const DocumentPiece& piece, size_t wanted) {
    const std::string& text = piece.text;
    const size_t newline = text.find('\n', wanted);
    if (newline != std::string::npos && newline + 1 < text.size()) return newline + 1;
    return piece.ends_document ? character_start(text, wanted) : text.size();
  }

  double fraction_;
  std::vector<int64_t> lengths_;
  int64_t document_ = -1;
  int64_t offset_ = 0;   // bytes of the document so far
  int64_t target_ = -1;  // where its held-out part begins, or -1
  const char* split_ = kTrainSplit;
  bool starts_part_ = true;  // the next piece begins the document, or its held-out part
};

/// Tokenizes the jobs on all threads and writes them in their order.
class Tokenization {
 public:
  Tokenization(const DocumentTokenizer& tokenizer, TokenDataWriter& writer) : tokenizer_(tokenizer), writer_(writer) {}

  int64_t tokens() const { return tokens_; }

  void run(const std::vector<Job>& jobs) {
    if (ids_.size() < jobs.size()) ids_.resize(jobs.size());
    std::exception_ptr failure;
    std::mutex mutex;
    base::parallel_dynamic(static_cast<int64_t>(jobs.size()), [&](int64_t item) {
      const auto index = static_cast<size_t>(item);
      ids_[index].clear();
      try {
        if (!jobs[index].text.empty()) tokenizer_.encode(jobs[index].text, ids_[index]);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    });
    if (failure) std::rethrow_exception(failure);
    for (size_t index = 0; index < jobs.size(); ++index) write(jobs[index], ids_[index]);
  }

 private:
  void write(const Job& job, std::vector<int32_t>& ids) {
    if (job.ends_document) ids.push_back(tokenizer_.identity.end_of_text_id);
    if (job.begins_document) writer_.begin_document(job.split);
    writer_.append(job.split, ids);
    writer_.add_text_bytes(job.split, static_cast<int64_t>(job.text.size()));
    tokens_ += static_cast<int64_t>(ids.size());
  }

  const DocumentTokenizer& tokenizer_;
  TokenDataWriter& writer_;
  std::vector<std::vector<int32_t>> ids_;
  int64_t tokens_ = 0;
};

void check_options(const PrepareOptions& options, const DocumentTokenizer& tokenizer) {
  if (options.inputs.empty()) throw base::UsageError("no input file was given");
  if (!(options.validation_fraction >= 0 && options.validation_fraction <= 0.5))
    throw base::UsageError("a validation fraction of 0 to 0.5 was expected, not {}", options.validation_fraction);
  if (options.documents.piece_bytes < 16 || options.batch_bytes < 1 || options.shard_bytes < 64)
    throw base::UsageError("pieces, batches and shards of more bytes were expected");
  const auto& identity = tokenizer.identity;
  if (identity.end_of_text_id < 0 || identity.end_of_text_id >= identity.vocabulary_size)
    throw base::Error("the tokenizer's end-of-text id {} is outside its vocabulary of {}", identity.end_of_text_id,
                      identity.vocabulary_size);
}

/// A folder that is replaced must hold nothing but an older data set and the tokenizer that went with it.
void check_output(const filesystem::path& folder) {
  std::error_code error;
  if (!filesystem::exists(folder, error)) return;
  if (!filesystem::is_directory(folder, error))
    throw base::Error("{}: a file is where the data set's folder should be", folder.string());
  filesystem::directory_iterator entries(folder, error);
  if (error) throw base::Error("{}: the folder cannot be read ({})", folder.string(), error.message());
  for (const auto& entry : entries) {
    const filesystem::path name = entry.path().filename();
    const bool of_tokenizer = name == "tokenizer.json" || name == "tokenizer_config.json";
    if (name != kIndexFile && name.extension() != ".shard" && !of_tokenizer)
      throw base::Error("{}: the folder holds {}, which is no part of a data set: give an empty or a new folder",
                        folder.string(), entry.path().filename().string());
  }
}

void check_result(const PrepareOptions& options, const DataIndex& index) {
  const auto has = [&](const char* split) {
    const auto found = index.splits.find(split);
    return found != index.splits.end() && found->second.counts.text_bytes > 0;
  };
  const std::string first = options.inputs.front().string();
  if (!has(kTrainSplit) && !has(kValidationSplit))
    throw base::Error("{}: no text was found in the {} input file(s)", first, options.inputs.size());
  if (!has(kTrainSplit) || (options.validation_fraction > 0 && !has(kValidationSplit)))
    throw base::Error("{}: too little text to hold a part of it out: give more text or a validation fraction of 0",
                      first);
}

DataIndex tokenize_into(const filesystem::path& folder, const PrepareOptions& options,
                        const DocumentTokenizer& tokenizer) {
  PrepareProgress progress;
  for (const auto& path : options.inputs) {
    std::error_code error;
    const auto size = filesystem::file_size(path, error);
    if (!error) progress.bytes_total += static_cast<int64_t>(size);
  }
  Splitter splitter(options.validation_fraction,
                    options.validation_fraction > 0 ? survey(options) : std::vector<int64_t>{});
  TokenDataWriter writer(folder, tokenizer.identity, options.shard_bytes);
  Tokenization tokenization(tokenizer, writer);
  std::vector<Job> jobs;
  size_t waiting = 0;
  const auto flush = [&](int64_t bytes_done) {
    tokenization.run(jobs);
    jobs.clear();
    waiting = 0;
    progress.bytes_done = bytes_done;
    progress.tokens = tokenization.tokens();
    progress.documents = splitter.documents();
    if (options.progress) options.progress(progress);
  };
  int64_t bytes_before = 0;
  DocumentPiece piece;
  for (const auto& path : options.inputs) {
    const auto reader = open_documents(path, options.documents);
    while (reader->next(piece)) {
      waiting += piece.text.size();
      splitter.add(std::move(piece), jobs);
      if (waiting >= options.batch_bytes) flush(bytes_before + reader->bytes_read());
    }
    bytes_before += reader->bytes_read();
  }
  flush(progress.bytes_total);
  DataIndex index = writer.finish();
  check_result(options, index);
  return index;
}

}  // namespace

bool is_validation_document(int64_t document, double fraction) {
  if (fraction <= 0) return false;
  // Document n belongs to stratum floor(n * fraction); one document of each stratum is drawn.
  const auto stratum_of = [&](int64_t number) {
    return static_cast<int64_t>(std::floor(static_cast<double>(number) * fraction));
  };
  const auto first_of = [&](int64_t stratum) {
    auto first = static_cast<int64_t>(std::floor(static_cast<double>(stratum) / fraction));
    while (stratum_of(first) < stratum) ++first;
    return first;
  };
  const int64_t stratum = stratum_of(document);
  const int64_t first = first_of(stratum), last = first_of(stratum + 1);
  const base::Random random(0, kSplitStream);
  const auto size = static_cast<uint64_t>(last - first);
  return document == first + static_cast<int64_t>(random.below(size, static_cast<uint64_t>(stratum)));
}

DataIndex prepare_data(const PrepareOptions& given, const DocumentTokenizer& tokenizer) {
  PrepareOptions options = given;
  if (!tokenizer.splits_at_lines) options.documents.piece_bytes = kWholeDocument;
  check_options(options, tokenizer);
  check_output(options.out);
  DataIndex index;
  base::write_folder(options.out,
                     [&](const filesystem::path& folder) { index = tokenize_into(folder, options, tokenizer); });
  return index;
}

}  // namespace fledge::train
