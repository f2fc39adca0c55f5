#include "train/chat_source.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "nn/text/chat_encoder.h"
#include "nn/text/chat_template.h"
#include "train/data/chat_row.h"
#include "train/data/token_data.h"
#include "train/data/tokenizer_adapter.h"

namespace fledge::train {

std::optional<ChatPurpose> chat_purpose_of(const std::string& objective) {
  if (objective == "chat") return ChatPurpose::conversations;
  if (objective == "dpo" || objective == "orpo") return ChatPurpose::preferences;
  if (objective == "kto") return ChatPurpose::judgements;
  return std::nullopt;
}

/// The tensors of a batch, row after row.
struct ChatSource::Rows {
  int32_t *ids, *targets, *positions, *document_starts;
  int32_t *sequences = nullptr, *examples = nullptr, *labels = nullptr;
};

ChatSource::ChatSource(const Recipe& recipe, const std::filesystem::path& folder, int64_t context_length)
    : folder_(folder),
      data_(ChatData::open(folder)),
      tokenizer_(std::make_unique<nn::Tokenizer>(nn::Tokenizer::load(folder))),
      length_(recipe.batch.sequence_length),
      sequences_(data_.index().sequences()) {
  if (data_.index().purpose != chat_purpose_of(recipe.objective.kind))
    throw base::UsageError("{}: these chats were not prepared for the objective \"{}\"", folder.string(),
                           recipe.objective.kind);
  if (tokenizer_hash(*tokenizer_) != data_.index().tokenizer_hash)
    throw base::Error("{}: the chats were prepared with another tokenizer than the one beside them", folder.string());
  if (const auto end = tokenizer_->end_token()) end_of_text_id_ = *end;
  if (const auto padding = tokenizer_->padding_token()) padding_id_ = *padding;
  const auto seed = static_cast<uint64_t>(recipe.run.seed);
  training_ = make_part(kTrainSplit, context_length, seed);
  validation_ = make_part(kValidationSplit, context_length, seed);
  validation_.first_example = training_.examples();
  if (!training_.plan || training_.plan->rows() == 0) {
    throw base::Error(
        "{}: no answer fits into batch.sequence_length = {} tokens (the model's context has {}); give a larger one",
        folder.string(), length_, context_length);
  }
}

ChatSource::Part ChatSource::make_part(const char* name, int64_t context_length, uint64_t seed) const {
  Part part;
  part.split = data_.split(name);
  if (part.split == nullptr) return part;
  const int64_t longest = std::min(length_, context_length);
  std::vector<int32_t> lengths;
  for (int64_t example = 0; example < part.examples(); ++example) {
    int64_t size = 0, other_size = 0;
    const std::vector<TokenSpan> spans = part.split->read_spans(example, 0, size);
    int64_t places = 0, whole = size;
    if (sequences_ == 1) {
      part.kept.push_back(kept_tokens(spans, size, longest));
      places = std::max<int64_t>(0, part.kept.back() - 1);
    } else {
      const std::vector<TokenSpan> other = part.split->read_spans(example, 1, other_size);
      const KeptPair kept = kept_tokens_of_pair(spans, size, other, other_size, length_, longest);
      part.kept.push_back(kept.first);
      part.kept.push_back(kept.second);
      places = kept.first > 0 ? kept.first + kept.second - 2 : 0;
      whole += other_size;
    }
    lengths.push_back(static_cast<int32_t>(places));
    part.left_out += places == 0 ? 1 : 0;
    part.cut += places > 0 && places + sequences_ < whole ? 1 : 0;
  }
  part.plan = std::make_unique<PackPlan>(lengths, length_, seed);
  return part;
}

std::vector<int32_t> ChatSource::sample_prompt(const std::string& text) const {
  const auto chat_template = nn::ChatTemplate::load(folder_);
  if (!chat_template) throw base::Error("{}: the prepared chats have no chat template", folder_.string());
  const base::OrderedJson messages = {{{"role", "user"}, {"content", text}}};
  return nn::ChatEncoder(*chat_template, *tokenizer_).encode(messages, {}, {.add_generation_prompt = true}).ids;
}

std::vector<int32_t> ChatSource::sample_ends() const {
  std::vector<int32_t> ends = data_.index().end_of_turn;
  ends.push_back(end_of_text_id_);
  return ends;
}

int64_t ChatSource::training_tokens() const {
  return data_.index().splits.at(kTrainSplit).tokens;
}

int64_t ChatSource::pieces_per_row() const {
  const auto most = [](const Part& part) { return part.plan ? part.plan->most_pieces() : 0; };
  return std::max(most(training_), most(validation_));
}

ChatSource::Rows ChatSource::prepare(Batch& batch, int64_t rows, tensor::Arena& arena) const {
  const auto tensor_of = [&](const char* name, int64_t columns) {
    return batch.prepare(name, {rows, columns}, tensor::DType::i32, arena).data<int32_t>();
  };
  Rows result{tensor_of("ids", length_), tensor_of("targets", length_), tensor_of("positions", length_),
              tensor_of("document_starts", length_)};
  if (sequences_ == 2) {
    result.sequences = tensor_of("sequences", length_);
    result.examples = tensor_of("examples", pieces_per_row());
    result.labels = tensor_of("labels", pieces_per_row());
  }
  batch.target_tokens = 0;
  return result;
}

void ChatSource::fill_row(const Part& part, const std::vector<int64_t>& pieces, int64_t row, Rows& rows,
                          Batch& batch) const {
  const int64_t base = row * length_, per_row = pieces_per_row();
  int64_t place = 0;
  for (size_t index = 0; index < pieces.size(); ++index) {
    const int64_t piece = row * per_row + static_cast<int64_t>(index);
    for (int64_t sequence = 0; sequence < sequences_; ++sequence) {
      const ChatTokens tokens = part.split->read(pieces[index], sequence);
      const int64_t kept = part.kept[static_cast<size_t>(pieces[index] * sequences_ + sequence)];
      const std::vector<bool> trained = trained_mask(tokens.trained, kept);
      const auto start = static_cast<int32_t>(place);
      for (int64_t token = 0; token + 1 < kept; ++token, ++place) {
        const auto next = static_cast<size_t>(token) + 1;
        rows.ids[base + place] = tokens.ids[next - 1];
        rows.targets[base + place] = trained[next] ? tokens.ids[next] : kIgnoredTarget;
        rows.positions[base + place] = static_cast<int32_t>(token);
        rows.document_starts[base + place] = start;
        if (sequences_ == 2) {
          rows.sequences[base + place] = trained[next] ? static_cast<int32_t>(2 * piece + sequence) : -1;
        } else {
          batch.target_tokens += trained[next] ? 1 : 0;
        }
      }
    }
    if (sequences_ == 2) {
      rows.examples[piece] = static_cast<int32_t>(part.first_example + pieces[index]);
      rows.labels[piece] = part.split->label(pieces[index]);
      ++batch.target_tokens;
    }
  }
  for (; place < length_; ++place) {
    rows.ids[base + place] = padding_id_;
    rows.targets[base + place] = kIgnoredTarget;
    rows.positions[base + place] = 0;
    rows.document_starts[base + place] = static_cast<int32_t>(place);
    if (sequences_ == 2) rows.sequences[base + place] = -1;
  }
  for (auto index = static_cast<int64_t>(pieces.size()); sequences_ == 2 && index < per_row; ++index) {
    rows.examples[row * per_row + index] = rows.labels[row * per_row + index] = -1;
  }
}

void ChatSource::load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  Rows out = prepare(batch, rows, arena);
  const int64_t per_epoch = samples_per_epoch();
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t sample = first_sample + row;
    fill_row(training_, training_.plan->pieces(sample / per_epoch, sample % per_epoch), row, out, batch);
  }
}

void ChatSource::load_in_order(const Part& part, int64_t index, int64_t rows, tensor::Arena& arena,
                               Batch& batch) const {
  if (index < 0 || index >= part.batches(rows)) throw base::Error("{}: there is no batch {}", folder_.string(), index);
  Rows out = prepare(batch, rows, arena);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t number = index * rows + row;
    const bool is_there = number < part.plan->rows();
    fill_row(part, is_there ? part.plan->pieces_in_order(number) : std::vector<int64_t>(), row, out, batch);
  }
}

int64_t ChatSource::evaluation_batches(int64_t rows) const {
  return validation_.batches(rows);
}

void ChatSource::load_evaluation(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  load_in_order(validation_, index, rows, arena, batch);
}

int64_t ChatSource::passes(int64_t rows) const {
  return training_.batches(rows) + validation_.batches(rows);
}

void ChatSource::load_pass(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  const int64_t of_training = training_.batches(rows);
  if (index < of_training) return load_in_order(training_, index, rows, arena, batch);
  load_in_order(validation_, index - of_training, rows, arena, batch);
}

void ChatSource::shape(int64_t rows, tensor::Arena& arena, Batch& batch) const {
  const auto prepare_one = [&](const char* name, int64_t columns) {
    batch.prepare(name, {rows, columns}, tensor::DType::i32, arena);
  };
  for (const char* name : {"ids", "targets", "positions", "document_starts"}) prepare_one(name, length_);
  if (sequences_ == 2) {
    prepare_one("sequences", length_);
    prepare_one("examples", pieces_per_row());
    prepare_one("labels", pieces_per_row());
  }
  batch.target_tokens = rows * (sequences_ == 2 ? pieces_per_row() : length_);
}

std::vector<std::string> ChatSource::notes() const {
  std::vector<std::string> notes = data_.index().notes;
  const int64_t cut = training_.cut + validation_.cut, left_out = training_.left_out + validation_.left_out;
  const char* const noun = sequences_ == 2 ? "pairs" : "conversations";
  if (cut > 0) {
    notes.push_back(fmt::format("{} of {} {} were cut to fit into {} tokens{}", base::with_separators(cut),
                                base::with_separators(examples()), noun, length_,
                                sequences_ == 2 ? "" : " (behind their last answer that fits, where one does)"));
  }
  if (left_out > 0)
    notes.push_back(fmt::format("{} {} were left out: no answer begins within {} tokens",
                                base::with_separators(left_out), noun, length_));
  const double places = static_cast<double>(training_.plan->rows() * length_);
  notes.push_back(fmt::format("{} {} in {} rows of {} tokens, {:.1f} % full",
                              base::with_separators(training_.examples() - training_.left_out), noun,
                              base::with_separators(training_.plan->rows()), length_,
                              100.0 * static_cast<double>(training_.plan->used_places()) / places));
  return notes;
}

}  // namespace fledge::train
