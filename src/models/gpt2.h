#pragma once

#include <vector>

#include "models/language_model.h"

namespace fledge::models {

/// Hugging Face's GPT-2 configuration.
struct Gpt2Config {
  int64_t vocab_size = 50257;
  int64_t n_positions = 1024;
  int64_t n_embd = 768;
  int64_t n_layer = 12;
  int64_t n_head = 12;
  int64_t n_inner = 0;  ///< feed-forward size; 0: 4 n_embd
  tensor::Activation activation = tensor::Activation::gelu_tanh;
  double layer_norm_epsilon = 1e-5;
  double initializer_range = 0.02;
  double embd_pdrop = 0.1, attn_pdrop = 0.1, resid_pdrop = 0.1;
  int64_t bos_token_id = 50256, eos_token_id = 50256;

  int64_t feed_forward_size() const { return n_inner > 0 ? n_inner : 4 * n_embd; }
  int64_t head_size() const { return n_embd / n_head; }

  /// Throws Error naming `origin` and the key where a value is missing, wrong or not supported.
  static Gpt2Config from_json(const base::Json& json, const std::string& origin);
  base::Json to_json() const;
};

/// GPT-2 (Radford et al., "Language models are unsupervised multitask learners", 2019): a decoder with learned
/// positions, layer norm before each sublayer, and a head tied to the token embedding. Names and layouts are Hugging
/// Face's: linear weights stand as [in, out].
class Gpt2 : public LanguageModel {
 public:
  explicit Gpt2(const Gpt2Config& config);

  base::Json config() const override { return config_.to_json(); }
  base::Json generation_config() const override {
    return {{"bos_token_id", config_.bos_token_id}, {"eos_token_id", config_.eos_token_id}};
  }
  WeightNames weight_names() const override {
    return {{"transformer."}, {"attn.bias", "attn.masked_bias", "lm_head.weight"}, {}};
  }
  ForwardOutput forward(grad::Graph& graph, const ForwardInput& input) override;
  Head head() override { return {wte_, grad::WeightLayout::output_input}; }
  nn::StateLayout state_layout() const override;
  int64_t vocabulary_size() const override { return config_.vocab_size; }
  int64_t context_length() const override { return config_.n_positions; }
  double training_flops_per_token(int64_t sequence_length) const override;

 private:
  struct Norm {
    grad::Parameter *weight, *bias;
  };
  struct Linear {
    grad::Parameter *weight, *bias;
  };
  struct Block {
    Norm ln_1;
    Linear c_attn, attn_c_proj;
    Norm ln_2;
    Linear c_fc, mlp_c_proj;
  };

  Norm add_norm(const std::string& name);
  Linear add_linear(const std::string& name, int64_t in, int64_t out, double standard_deviation);
  grad::Variable linear(grad::Graph& graph, const grad::Variable& x, const Linear& layer,
                        const grad::Variable& residual = {});
  grad::Variable run_block(grad::Graph& graph, int64_t index, grad::Variable x, const ForwardInput& input);

  Gpt2Config config_;
  grad::Parameter *wte_, *wpe_;
  std::vector<Block> blocks_;
  Norm ln_f_;
};

}  // namespace fledge::models
