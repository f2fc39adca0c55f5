#pragma once

#include <vector>

#include "models/language_model.h"
#include "models/llama_config.h"

namespace fledge::models {

/// Llama and what is built like it (Touvron et al., "LLaMA: open and efficient foundation language models", 2023;
/// "Llama 2", 2023; "The Llama 3 herd of models", 2024; Jiang et al., "Mistral 7B", 2023; "Qwen2 technical report",
/// 2024; "Qwen3 technical report", 2025): a decoder with RMS norm before each sublayer, rotary positions, grouped-query
/// attention and SwiGLU. Names and layouts are Hugging Face's: linear weights stand as [out, in].
///
/// Queries, keys and values come from one product, and so do gates and values of the feed-forward layer: their
/// parameters lie next to each other in memory.
class Llama : public LanguageModel {
 public:
  explicit Llama(const LlamaConfig& config);

  base::Json config() const override { return config_.to_json(); }
  base::Json generation_config() const override;
  WeightNames weight_names() const override;
  ForwardOutput forward(grad::Graph& graph, const ForwardInput& input) override;
  Head head() override { return {head_, grad::WeightLayout::output_input}; }
  nn::StateLayout state_layout() const override;
  int64_t vocabulary_size() const override { return config_.vocab_size; }
  int64_t context_length() const override { return config_.max_position_embeddings; }
  double training_flops_per_token(int64_t sequence_length) const override;

 private:
  struct Linear {
    grad::Parameter *weight, *bias;  ///< the bias may be null
  };
  struct Block {
    grad::Parameter* input_norm;
    Linear qkv;
    grad::Parameter *query_norm, *key_norm;  ///< null where heads are not normalized
    Linear output;
    grad::Parameter* post_attention_norm;
    Linear gate_up, down;
  };

  nn::ParameterOptions matrix_options() const;
  grad::Parameter* add_norm(const std::string& name, int64_t size);
  /// Linear layers on the same input, each with its rows of the result.
  struct Part {
    std::string name;
    int64_t rows;
  };
  Linear add_linear(const std::vector<Part>& parts, int64_t in, bool has_bias);
  grad::Variable linear(grad::Graph& graph, const grad::Variable& x, const Linear& layer,
                        const grad::Variable& residual = {});
  grad::Variable run_block(grad::Graph& graph, int64_t index, grad::Variable x, const ForwardInput& input,
                           const tensor::Tensor& angles);

  LlamaConfig config_;
  nn::RotaryFrequencies frequencies_;
  grad::Parameter* embedding_;
  std::vector<Block> blocks_;
  grad::Parameter *norm_, *head_;
};

}  // namespace fledge::models
