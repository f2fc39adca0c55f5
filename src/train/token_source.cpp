#include "train/token_source.h"

#include "train/tokenizer_source.h"

namespace fledge::train {

TokenSource::TokenSource(const Recipe& recipe, const std::filesystem::path& data_folder)
    : data_(std::make_shared<const TokenData>(TokenData::open(data_folder))),
      tokenizer_folder_(tokenizer_folder_of(recipe, data_folder)),
      tokenizer_(std::make_unique<nn::Tokenizer>(nn::Tokenizer::load(tokenizer_folder_))),
      options_{recipe.batch.sequence_length, static_cast<uint64_t>(recipe.run.seed), recipe.data.separate_documents} {
  require_same_tokenizer(*tokenizer_, data_->tokenizer(), tokenizer_folder_, data_folder);
  loader_ = std::make_unique<TrainingLoader>(data_, kTrainSplit, options_);
}

int32_t TokenSource::end_of_text_id() const {
  return static_cast<int32_t>(data_->tokenizer().end_of_text_id);
}

std::string TokenSource::identity() const {
  return data_->index().text();
}

int64_t TokenSource::training_tokens() const {
  return data_->split(kTrainSplit).tokens();
}

void TokenSource::load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  loader_->load(first_sample, rows, arena, batch);
}

int64_t TokenSource::evaluation_batches(int64_t rows) const {
  if (!data_->has_split(kValidationSplit)) return 0;
  return EvaluationLoader(data_, kValidationSplit, options_, rows).batches();
}

void TokenSource::load_evaluation(int64_t index, int64_t rows, tensor::Arena& arena, Batch& batch) const {
  EvaluationLoader(data_, kValidationSplit, options_, rows).load(index, arena, batch);
}

void TokenSource::shape(int64_t rows, tensor::Arena& arena, Batch& batch) const {
  const tensor::Shape shape{rows, options_.sequence_length};
  for (const char* name : {"ids", "targets", "positions"}) batch.prepare(name, shape, tensor::DType::i32, arena);
  if (options_.separate_documents) batch.prepare("document_starts", shape, tensor::DType::i32, arena);
  batch.target_tokens = shape.elements();
}

}  // namespace fledge::train
