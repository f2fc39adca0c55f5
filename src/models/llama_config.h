#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "nn/rotary.h"

namespace fledge::models {

/// Models of one build with small differences: Qwen2 has biases in the projections of attention, Qwen3 normalizes
/// queries and keys, Mistral and Qwen may see a window of tokens only.
enum class LlamaFamily : uint8_t { llama, mistral, qwen2, qwen3 };

/// Hugging Face's configuration of a Llama-type model ("model_type": llama, mistral, qwen2 or qwen3).
struct LlamaConfig {
  LlamaFamily family = LlamaFamily::llama;
  int64_t vocab_size = 32000;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 11008;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  int64_t num_key_value_heads = 32;
  int64_t head_dim = 128;
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  double attention_dropout = 0.0;
  bool tie_word_embeddings = false;
  bool projection_bias = false;  ///< of queries, keys and values
  bool output_bias = false;      ///< of the projection behind attention
  bool mlp_bias = false;
  std::vector<int64_t> windows;  ///< most tokens that a token of each layer sees; 0: all
  nn::RotarySettings rotary;
  base::Json bos_token_id, eos_token_id, pad_token_id;  ///< a number, a list of numbers, or null

  bool has_head_norm() const { return family == LlamaFamily::qwen3; }

  /// Throws Error naming `origin` and the key where a value is missing, wrong or not supported.
  static LlamaConfig from_json(const base::Json& json, const std::string& origin);
  /// What from_json() and transformers read back.
  base::Json to_json() const;
};

}  // namespace fledge::models
