#include "train/data/loader.h"

#include <algorithm>

#include "train/data/permutation.h"

namespace fledge::train {
namespace {

// Streams of random numbers: one per use, so that the order and the shift of an epoch are independent.
constexpr uint64_t kOrderStream = 0x646174610000;  // "data"
constexpr uint64_t kShiftStream = 0x736869667400;  // "shift"

/// The four tensors of a batch, as one run of places each.
struct Rows {
  int32_t *ids, *targets, *positions, *document_starts;
};

Rows prepare_rows(Batch& batch, int64_t rows, int64_t length, tensor::Arena& arena) {
  const auto tensor_of = [&](const char* name) {
    return batch.prepare(name, {rows, length}, tensor::DType::i32, arena).data<int32_t>();
  };
  batch.target_tokens = 0;
  return {tensor_of("ids"), tensor_of("targets"), tensor_of("positions"), tensor_of("document_starts")};
}

/// Room for one window and the token behind it.
struct Window {
  explicit Window(int64_t length) : ids(static_cast<size_t>(length) + 1), starts(ids.size()) {}
  std::vector<int32_t> ids, starts;
};

/// Fills the row at `out` with the T tokens from `first` on, and counts its targets. Where the split ends earlier, the
/// rest of the row becomes a document of its own without targets.
int64_t fill_row(const TokenSplit& split, const LoaderOptions& options, int64_t first, Window& window, Rows out) {
  const int64_t length = options.sequence_length;
  const int64_t tokens = std::clamp<int64_t>(split.tokens() - first, 0, length + 1);
  const int64_t own = std::min(tokens, length);
  if (tokens > 0) {
    split.read(first, std::span(window.ids).first(static_cast<size_t>(tokens)));
    if (options.separate_documents)
      split.read_document_starts(first, std::span(window.starts).first(static_cast<size_t>(tokens)));
  }
  int64_t targets = 0;
  for (int64_t place = 0; place < length; ++place) {
    const auto here = static_cast<size_t>(place), next = here + 1;
    const bool is_own = place < own;
    const bool ends_document = options.separate_documents && window.starts[next] == place + 1;
    const bool has_target = place + 1 < tokens && !ends_document;
    const int32_t start = is_own ? window.starts[here] : static_cast<int32_t>(own);
    out.ids[place] = is_own ? window.ids[here] : 0;
    out.targets[place] = has_target ? window.ids[next] : kIgnoredTarget;
    out.document_starts[place] = start;
    out.positions[place] = static_cast<int32_t>(place) - start;
    targets += has_target;
  }
  return targets;
}

void advance(Rows& rows, int64_t places) {
  rows.ids += places;
  rows.targets += places;
  rows.positions += places;
  rows.document_starts += places;
}

void check_options(const LoaderOptions& options) {
  constexpr int64_t kMaximumLength = int64_t{1} << 30;
  if (options.sequence_length < 1 || options.sequence_length > kMaximumLength)
    throw base::UsageError("a sequence length of 1 or more was expected, not {}", options.sequence_length);
}

}  // namespace

void BatchPlan::check() const {
  if (rows < 1 || processes < 1 || global_rows < 1 || rank < 0 || rank >= processes)
    throw base::UsageError("a batch needs at least one row and one process (got {} rows of {}, process {} of {})", rows,
                           global_rows, rank, processes);
  if (global_rows % (rows * processes) != 0)
    throw base::UsageError(
        "a global batch of {} rows cannot be shared by {} processes in micro-batches of {} rows: it must be a multiple "
        "of {}",
        global_rows, processes, rows, rows * processes);
}

TrainingLoader::TrainingLoader(std::shared_ptr<const TokenData> data, const std::string& split, LoaderOptions options)
    : data_(std::move(data)), split_(data_->split(split)), options_(options) {
  check_options(options_);
  const int64_t length = options_.sequence_length;
  if (split_.tokens() < length + 1)
    throw base::Error(
        "{}: it has {} tokens and one sample needs {}: prepare more text, or train with a shorter sequence",
        split_.name(), split_.tokens(), length + 1);
  windows_ = (split_.tokens() - 1) / length;
  slack_ = (split_.tokens() - 1) % length;
}

int64_t TrainingLoader::window_start(int64_t sample) const {
  if (sample < 0) throw base::Error("{}: there is no sample {}", split_.name(), sample);
  const auto epoch = static_cast<uint64_t>(sample / windows_);
  const auto index = static_cast<uint64_t>(sample % windows_);
  const Permutation order(static_cast<uint64_t>(windows_), options_.seed, kOrderStream, epoch);
  const base::Random shifts(options_.seed, kShiftStream);
  const auto shift = static_cast<int64_t>(shifts.below(static_cast<uint64_t>(slack_) + 1, epoch));
  return shift + static_cast<int64_t>(order(index)) * options_.sequence_length;
}

void TrainingLoader::load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  Rows row = prepare_rows(batch, rows, options_.sequence_length, arena);
  Window window(options_.sequence_length);
  for (int64_t index = 0; index < rows; ++index) {
    batch.target_tokens += fill_row(split_, options_, window_start(first_sample + index), window, row);
    advance(row, options_.sequence_length);
  }
}

EvaluationLoader::EvaluationLoader(std::shared_ptr<const TokenData> data, const std::string& split,
                                   LoaderOptions options, int64_t rows)
    : data_(std::move(data)), split_(data_->split(split)), options_(options), rows_(rows) {
  check_options(options_);
  if (rows_ < 1) throw base::UsageError("an evaluation batch needs at least one row, not {}", rows_);
  if (split_.tokens() < 2)
    throw base::Error("{}: it has {} tokens; evaluation needs at least 2: prepare more text", split_.name(),
                      split_.tokens());
  const int64_t windows = (split_.tokens() - 1 + options_.sequence_length - 1) / options_.sequence_length;
  batches_ = (windows + rows_ - 1) / rows_;
}

void EvaluationLoader::load(int64_t index, tensor::Arena& arena, Batch& batch) const {
  if (index < 0 || index >= batches_)
    throw base::Error("{}: there is no evaluation batch {} of {}", split_.name(), index, batches_);
  Rows row = prepare_rows(batch, rows_, options_.sequence_length, arena);
  Window window(options_.sequence_length);
  for (int64_t line = 0; line < rows_; ++line) {
    const int64_t first = (index * rows_ + line) * options_.sequence_length;
    batch.target_tokens += fill_row(split_, options_, first, window, row);
    advance(row, options_.sequence_length);
  }
}

}  // namespace fledge::train
