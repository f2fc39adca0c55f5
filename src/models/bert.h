#pragma once

#include <vector>

#include "models/bert_config.h"
#include "models/language_model.h"

namespace fledge::models {

/// BERT (Devlin et al., "BERT: pre-training of deep bidirectional transformers", 2019): an encoder with learned
/// positions and segments, layer norm behind each sublayer, and on top of it, as the configuration says, a pooler, a
/// head for masked tokens (dense, GELU, layer norm; tied to the word embeddings, with a bias), one for the next
/// sentence, and one for labels. Names and layouts are Hugging Face's: linear weights stand as [out, in].
///
/// forward() returns, of a model that predicts tokens, the transformed hidden states for head(); with encode_only, and
/// of other models, the last hidden states in the parameter type. Where there is a pooler, and no encode_only, `named`
/// has "pooled" [D, C] (D documents: the rows of the batch, or what document_starts packs) and, for pretraining,
/// "next_sentence" [D, 2]; a model with L labels gives "logits", [D, L] of texts or [B, T, L] of tokens.
class Bert : public LanguageModel {
 public:
  explicit Bert(const BertConfig& config);

  base::Json config() const override { return config_.to_json(); }
  WeightNames weight_names() const override;
  ForwardOutput forward(grad::Graph& graph, const ForwardInput& input) override;
  Head head() override;
  bool predicts_tokens() const override { return config_.predicts_tokens(); }
  bool is_causal() const override { return false; }
  nn::StateLayout state_layout() const override;
  int64_t vocabulary_size() const override { return config_.vocab_size; }
  int64_t context_length() const override { return config_.max_position_embeddings; }
  double training_flops_per_token(int64_t sequence_length) const override;

 private:
  struct Weights {
    grad::Parameter* weight = nullptr;
    grad::Parameter* bias = nullptr;
  };
  struct Block {
    Weights query_key_value;  ///< three parameters each, multiplied as one
    Weights attention_output, attention_norm;
    Weights intermediate, output, output_norm;
  };

  nn::ParameterOptions matrix_options(nn::ModuleKind kind = nn::ModuleKind::linear) const {
    return {.standard_deviation = config_.initializer_range, .decays = true, .module = kind};
  }
  Weights add_norm(const std::string& name);
  Weights add_linear(const std::string& name, int64_t in, int64_t out);
  Block add_block(const std::string& name);
  void add_heads(const std::string& encoder);

  grad::Variable embed(grad::Graph& graph, const ForwardInput& input);
  grad::Variable run_block(grad::Graph& graph, int64_t index, grad::Variable x, const ForwardInput& input);
  /// residual + dropout(x W + bias).
  grad::Variable add_projection(grad::Graph& graph, const grad::Variable& x, const Weights& layer,
                                const grad::Variable& residual);
  grad::Variable pool(grad::Graph& graph, const grad::Variable& x, const ForwardInput& input);
  /// Logits of the labels.
  grad::Variable classify(grad::Graph& graph, const grad::Variable& features);
  grad::Variable norm(grad::Graph& graph, const grad::Variable& x, const Weights& weights, bool wide);

  BertConfig config_;
  grad::Parameter *word_, *position_, *token_type_;
  Weights embedding_norm_;
  std::vector<Block> blocks_;
  Weights pooler_, transform_, transform_norm_, next_sentence_, classifier_;
  grad::Parameter* prediction_bias_ = nullptr;
};

}  // namespace fledge::models
