#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/data/batch_source.h"
#include "train/data/chat_data.h"
#include "train/data/pack_plan.h"
#include "train/recipe.h"

namespace fledge::train {

/// What an objective wants of a chat file; nothing where it does not learn from chats.
std::optional<ChatPurpose> chat_purpose_of(const std::string& objective);

/// Prepared chats in packed rows. A row holds several conversations (or pairs of answers), each with positions of its
/// own and blind for the others; its rest is padding without targets, which nothing sees. Tensors, beside ids, targets,
/// positions and document_starts (see Batch):
///   sequences  i32 [B, T], of pairs only: which sequence a place's target belongs to, counted over the batch: piece
///              p of row b has the sequences 2 (b P + p) and 2 (b P + p) + 1; -1 where there is no target. P is the
///              most pieces that a row has
///   examples   i32 [B, P], of pairs only: number of the example of each piece, those of the validation behind those of
///              the training data; -1 for no piece
///   labels     i32 [B, P], of pairs only: 1 desirable, 0 undesirable, -1 neither
/// The loss of conversations is averaged over trained tokens, that of pairs over pairs.
class ChatSource : public BatchSource {
 public:
  /// Opens prepared chats. `context_length` is the model's. Throws Error where nothing fits into a row.
  ChatSource(const Recipe& recipe, const std::filesystem::path& folder, int64_t context_length);

  const nn::Tokenizer& tokenizer() const override { return *tokenizer_; }
  const std::filesystem::path& tokenizer_folder() const override { return folder_; }
  int32_t end_of_text_id() const override { return end_of_text_id_; }
  std::vector<int32_t> sample_prompt(const std::string& text) const override;
  std::vector<int32_t> sample_ends() const override;
  std::string identity() const override { return data_.index().text(); }
  int64_t training_tokens() const override;
  int64_t samples_per_epoch() const override { return training_.plan->rows(); }
  void load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const override;
  int64_t evaluation_batches(int64_t rows) const override;
  void load_evaluation(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const override;
  void shape(int64_t rows, tensor::Arena& arena, Batch& batch) const override;
  std::vector<std::string> notes() const override;

  /// T.
  int64_t row_length() const { return length_; }
  /// Examples of training and validation together, as `examples` counts them.
  int64_t examples() const { return training_.examples() + validation_.examples(); }
  /// Batches of `rows` rows that hold every example that fits once, in a fixed order: of the training data, then of the
  /// validation data.
  int64_t passes(int64_t rows) const;
  void load_pass(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const;

 private:
  struct Part {
    const ChatSplit* split = nullptr;
    std::vector<int64_t> kept;  ///< tokens of each sequence that remain
    std::unique_ptr<PackPlan> plan;
    int64_t first_example = 0, cut = 0, left_out = 0;

    int64_t examples() const { return split == nullptr ? 0 : split->examples(); }
    int64_t batches(int64_t rows) const { return plan ? (plan->rows() + rows - 1) / rows : 0; }
  };
  struct Rows;
  Part make_part(const char* name, int64_t context_length, uint64_t seed) const;
  Rows prepare(Batch& batch, int64_t rows, tensor::Arena& arena) const;
  void fill_row(const Part& part, const std::vector<int64_t>& pieces, int64_t row, Rows& rows, Batch& batch) const;
  void load_in_order(const Part& part, int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const;
  int64_t pieces_per_row() const;

  std::filesystem::path folder_;
  ChatData data_;
  std::unique_ptr<nn::Tokenizer> tokenizer_;
  int64_t length_;  ///< T
  int64_t sequences_;
  int32_t end_of_text_id_ = -1, padding_id_ = 0;
  Part training_, validation_;
};

}  // namespace fledge::train
