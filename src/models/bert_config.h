#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "tensor/matmul.h"

namespace fledge::models {

/// What stands on top of BERT's encoder.
enum class BertHeads : uint8_t {
  none,                     ///< BertModel: the pooler alone
  masked,                   ///< BertForMaskedLM: predicts tokens; no pooler
  pretraining,              ///< BertForPreTraining: predicts tokens, pooler, next sentence
  sequence_classification,  ///< BertForSequenceClassification: pooler, labels of a text or a pair
  token_classification      ///< BertForTokenClassification: labels of every token; no pooler
};

/// Hugging Face's BERT configuration.
struct BertConfig {
  int64_t vocab_size = 30522;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  tensor::Activation activation = tensor::Activation::gelu_exact;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 2;
  double layer_norm_eps = 1e-12;
  double initializer_range = 0.02;
  double hidden_dropout_prob = 0.1, attention_probs_dropout_prob = 0.1;
  int64_t pad_token_id = 0;
  BertHeads heads = BertHeads::masked;
  std::vector<std::string> labels = {"LABEL_0", "LABEL_1"};  ///< of a head that classifies; one label: a number
  std::string problem_type;          ///< "single_label_classification", "regression" or "" (by the number of labels)
  double classifier_dropout = -1.0;  ///< before the labels' head; negative: hidden_dropout_prob

  bool has_pooler() const { return heads != BertHeads::masked && heads != BertHeads::token_classification; }
  bool predicts_tokens() const { return heads == BertHeads::masked || heads == BertHeads::pretraining; }
  bool classifies() const {
    return heads == BertHeads::sequence_classification || heads == BertHeads::token_classification;
  }

  /// Throws Error naming `origin` and the key where a value is missing, wrong or not supported.
  static BertConfig from_json(const base::Json& json, const std::string& origin);
  base::Json to_json() const;
};

}  // namespace fledge::models
