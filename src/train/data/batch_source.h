#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nn/text/tokenizer.h"
#include "train/data/batch.h"

namespace fledge::train {

/// Where the batches of a run come from. A sample is one row of a batch and a function of its number alone, so a
/// resumed run needs its step and nothing else. Loading is safe from several threads with different batches.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  virtual const nn::Tokenizer& tokenizer() const = 0;
  /// Its files go into the checkpoints, so that a saved model is whole.
  virtual const std::filesystem::path& tokenizer_folder() const = 0;
  /// The token that separates texts; -1 where there is none.
  virtual int32_t end_of_text_id() const = 0;

  /// What a sample of the model's writing begins with, as the model reads it: `text` itself, or the end of a text where
  /// that is empty; of chats, the user's message with the beginning of an answer.
  virtual std::vector<int32_t> sample_prompt(const std::string& text) const {
    std::vector<int32_t> ids = tokenizer().encode(text);
    if (ids.empty()) ids.push_back(end_of_text_id());
    return ids;
  }
  /// Any of these ends a sample.
  virtual std::vector<int32_t> sample_ends() const { return {end_of_text_id()}; }

  /// Text that changes when any sample does.
  virtual std::string identity() const = 0;
  virtual int64_t training_tokens() const = 0;
  virtual int64_t samples_per_epoch() const = 0;
  /// Fills `batch` with the samples [first_sample, first_sample + rows). The tensors of an earlier batch of the same
  /// size are used again; others come from `arena`.
  virtual void load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const = 0;

  /// Batches of `rows` rows that go once through the validation data; 0: there is none.
  virtual int64_t evaluation_batches(int64_t rows) const = 0;
  virtual void load_evaluation(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const = 0;

  /// The largest shapes of a batch, without content: for planning on the shape-only device.
  virtual void shape(int64_t rows, tensor::Arena& arena, Batch& batch) const = 0;

  /// What a user should know before the run starts: what was skipped, cut or found odd.
  virtual std::vector<std::string> notes() const { return {}; }
};

}  // namespace fledge::train
