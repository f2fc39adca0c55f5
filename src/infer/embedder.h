#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/language_model.h"
#include "nn/memory.h"
#include "nn/text/tokenizer.h"
#include "tensor/pooling.h"

namespace fledge::infer {

/// How hidden states become the vector of a text (Reimers, Gurevych, "Sentence-BERT", 2019, section 3).
struct EmbeddingSettings {
  tensor::Pooling pooling = tensor::Pooling::mean;
  bool normalizes = true;   ///< the vector has length one
  int64_t max_tokens = 0;   ///< of a text with its special tokens; longer ones are cut, and the result says so
  bool from_files = false;  ///< modules.json was there

  /// What a folder of sentence-transformers says in modules.json, 1_Pooling/config.json and sentence_bert_config.json;
  /// without them the defaults above and the model's context. Throws Error where it names a step that is not supported.
  static EmbeddingSettings read(const std::filesystem::path& folder, const models::LanguageModel& model);
};

/// "mean", "mean_sqrt", "max" or "cls".
std::string_view name_of(tensor::Pooling pooling);

/// The tokens of one text with the special ones around it.
struct TokenizedText {
  std::vector<int32_t> ids;
  int64_t dropped = 0;  ///< tokens of the text that did not fit and are left out
};

/// Texts to vectors, with the weights of a model that is loaded once. Texts of any lengths go through it side by side
/// in one row, without padding; a text's vector depends on it alone. Methods may be called from several threads; the
/// arithmetic of one call runs at a time. The model and its memory must outlive the embedder and be used by nobody else
/// meanwhile.
class Embedder {
 public:
  Embedder(models::LanguageModel& model, nn::Memory& memory, nn::Tokenizer tokenizer, const EmbeddingSettings& settings,
           tensor::DType activation_type);

  const EmbeddingSettings& settings() const { return settings_; }
  /// Size of a vector.
  int64_t dimension() const { return dimension_; }

  TokenizedText tokenize(std::string_view text) const;
  /// One vector for each list of ids. Throws Error where one is empty, longer than the model's context, or has an id
  /// that is no token.
  std::vector<std::vector<float>> embed_ids(std::span<const std::vector<int32_t>> texts);
  std::vector<std::vector<float>> embed(std::span<const std::string> texts);

 private:
  struct Part;
  std::vector<float> run(std::span<const std::vector<int32_t>> texts, std::span<const size_t> order);

  models::LanguageModel& model_;
  nn::Memory& memory_;
  nn::Tokenizer tokenizer_;
  EmbeddingSettings settings_;
  tensor::DType activation_type_;
  int64_t dimension_;
  std::mutex mutex_;
};

}  // namespace fledge::infer
