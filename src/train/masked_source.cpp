#include "train/masked_source.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "train/data/encoder_rows.h"
#include "train/tokenizer_source.h"

namespace fledge::train {
namespace {

using nn::EncoderRow;

constexpr uint64_t kPairStream = 0x7061697200;  // "pair"
constexpr int64_t kSetting = 2;                 // [CLS] and [SEP] around a text
constexpr int64_t kPairSetting = 3;             // and a [SEP] between two
constexpr int32_t kFollows = 0, kFromElsewhere = 1;

}  // namespace

/// What a batch is gathered in.
struct MaskedSource::Filling {
  std::vector<EncoderRow> rows;
  std::vector<int32_t> places, targets, labels;
};

MaskedSource::MaskedSource(const Recipe& recipe, const std::filesystem::path& data_folder)
    : data_(std::make_shared<const TokenData>(TokenData::open(data_folder))),
      tokenizer_folder_(tokenizer_folder_of(recipe, data_folder)),
      tokenizer_(std::make_unique<nn::Tokenizer>(nn::Tokenizer::load(tokenizer_folder_))),
      length_(recipe.batch.sequence_length),
      window_tokens_(length_ - kSetting),
      next_sentence_(recipe.objective.next_sentence),
      seed_(static_cast<uint64_t>(recipe.run.seed)) {
  require_same_tokenizer(*tokenizer_, data_->tokenizer(), tokenizer_folder_, data_folder);
  special_ = nn::encoder_tokens(*tokenizer_, tokenizer_folder_.string());
  masking_ = std::make_unique<Masking>(
      *tokenizer_, MaskingOptions{recipe.objective.mask_probability, recipe.objective.whole_words, seed_});
  constexpr int64_t kShortest = 8;
  if (length_ < kShortest)
    throw base::UsageError("batch.sequence_length = {} is too short for masked tokens; give {} or more", length_,
                           kShortest);
  loader_ = std::make_unique<TrainingLoader>(data_, kTrainSplit, LoaderOptions{window_tokens_, seed_, true});
}

int32_t MaskedSource::end_of_text_id() const {
  return data_->tokenizer().end_of_text_id;
}

std::string MaskedSource::identity() const {
  return data_->index().text();
}

int64_t MaskedSource::training_tokens() const {
  return data_->split(kTrainSplit).tokens();
}

/// Up to `length` tokens of one text from a place that `draw` decides; empty where it hits a text's end.
std::vector<int32_t> MaskedSource::text_from_elsewhere(const TokenSplit& split, int64_t length, uint64_t draw) const {
  const int64_t first = static_cast<int64_t>(draw % static_cast<uint64_t>(split.tokens()));
  const auto count = static_cast<size_t>(std::min(length + 1, split.tokens() - first));
  std::vector<int32_t> ids(count), starts(count);
  split.read(first, ids);
  split.read_document_starts(first, starts);
  size_t begin = ids.front() == end_of_text_id() ? 1 : 0, end = begin;
  while (end < count && end - begin < static_cast<size_t>(length) && ids[end] != end_of_text_id() &&
         starts[end] == starts[begin]) {
    ++end;
  }
  return {ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)};
}

/// Two segments of a text, or its beginning and a piece of another place, one as often as the other.
void MaskedSource::add_pair(const TokenSplit& split, std::span<const int32_t> text, const base::Random& random,
                            uint64_t sample, uint64_t number, EncoderRow& row, std::vector<int32_t>& labels) const {
  const auto draws = random.block(number, sample);
  const size_t cut = 1 + static_cast<size_t>(uint64_t{draws[0]} * (text.size() - 1) >> 32);
  const auto first = text.first(cut), second = text.subspan(cut);
  const bool is_elsewhere = (draws[1] & 1) != 0;
  const auto other = is_elsewhere ? text_from_elsewhere(split, static_cast<int64_t>(second.size()),
                                                        uint64_t{draws[2]} << 32 | draws[3])
                                  : std::vector<int32_t>{};
  row.add_pair(first, other.empty() ? second : std::span<const int32_t>(other));
  labels.push_back(other.empty() ? kFollows : kFromElsewhere);
}

void MaskedSource::add_row(const TokenSplit& split, int64_t first_token, Masking::Stream stream, uint64_t sample,
                           Filling& filling) const {
  EncoderRow row(special_);
  // A second segment from elsewhere may be short; then the row goes on into the next window.
  const int64_t reach = next_sentence_ ? 2 * window_tokens_ : window_tokens_;
  const auto count = static_cast<size_t>(std::clamp<int64_t>(split.tokens() - first_token, 0, reach));
  std::vector<int32_t> ids(count), starts(count);
  if (count > 0) {
    split.read(first_token, ids);
    split.read_document_starts(first_token, starts);
  }
  const base::Random pairs(seed_, kPairStream ^ static_cast<uint64_t>(stream));
  const int64_t setting = next_sentence_ ? kPairSetting : kSetting, least = next_sentence_ ? 2 : 1;
  for (size_t begin = 0; begin < count;) {
    size_t end = begin + 1;
    while (end < count && starts[end] == starts[begin]) ++end;
    // The token that ends a text is its [SEP], which is set anyway.
    size_t length = end - begin - (ids[end - 1] == end_of_text_id() ? 1 : 0);
    const int64_t room = length_ - row.size() - setting;
    if (room < least) break;
    length = std::min(length, static_cast<size_t>(room));
    const auto text = std::span<const int32_t>(ids).subspan(begin, length);
    if (next_sentence_ && length >= 2) {
      add_pair(split, text, pairs, sample, begin, row, filling.labels);
    } else if (!next_sentence_ && length >= 1) {
      row.add(text);
    }
    begin = end;
  }
  if (row.size() < length_ && next_sentence_) filling.labels.push_back(kIgnoredTarget);
  row.pad(length_);
  const int64_t first_place = static_cast<int64_t>(filling.rows.size()) * length_;
  masking_->apply(row, stream, sample, first_place, filling.places, filling.targets);
  filling.rows.push_back(std::move(row));
}

void MaskedSource::store(Filling& filling, tensor::Arena& arena, Batch& batch) const {
  set_encoder_rows(filling.rows, next_sentence_, arena, batch);
  set_integers("masked_rows", filling.places, arena, batch);
  set_integers("targets", filling.targets, arena, batch);
  if (next_sentence_) set_integers("next_sentence", filling.labels, arena, batch);
  batch.target_tokens = static_cast<int64_t>(filling.targets.size());
}

void MaskedSource::load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  Filling filling;
  for (int64_t sample = first_sample; sample < first_sample + rows; ++sample) {
    add_row(data_->split(kTrainSplit), loader_->window_start(sample), Masking::Stream::kTraining,
            static_cast<uint64_t>(sample), filling);
  }
  store(filling, arena, batch);
}

int64_t MaskedSource::evaluation_batches(int64_t rows) const {
  if (!data_->has_split(kValidationSplit)) return 0;
  const int64_t tokens_of_batch = rows * window_tokens_;
  return (data_->split(kValidationSplit).tokens() + tokens_of_batch - 1) / tokens_of_batch;
}

void MaskedSource::load_evaluation(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  Filling filling;
  for (int64_t row = index * rows; row < (index + 1) * rows; ++row) {
    add_row(data_->split(kValidationSplit), row * window_tokens_, Masking::Stream::kEvaluation,
            static_cast<uint64_t>(row), filling);
  }
  store(filling, arena, batch);
}

void MaskedSource::shape(int64_t rows, tensor::Arena& arena, Batch& batch) const {
  const tensor::Shape shape{rows, length_};
  for (const char* name : {"ids", "positions", "document_starts", "document_ends"}) {
    batch.prepare(name, shape, tensor::DType::i32, arena);
  }
  const tensor::Shape chosen{rows * masking_->most_chosen(length_)};
  batch.prepare("masked_rows", chosen, tensor::DType::i32, arena);
  batch.prepare("targets", chosen, tensor::DType::i32, arena);
  if (next_sentence_) {
    batch.prepare("token_types", shape, tensor::DType::i32, arena);
    batch.prepare("next_sentence", {rows}, tensor::DType::i32, arena);
  }
  batch.target_tokens = chosen[0];
}

}  // namespace fledge::train
