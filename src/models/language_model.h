#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/json_fwd.h"
#include "grad/graph.h"
#include "models/formats/model_folder.h"
#include "nn/parameter_set.h"
#include "nn/sequence_state.h"

namespace fledge::models {

/// Called at every named point of a model ("blocks.3.resid_post", ...) with the value there; what it returns goes on in
/// the value's place (the value itself, to only look).
using Tap = std::function<grad::Variable(const std::string& name, const grad::Variable& value)>;

/// What a model reads. Undefined parts have their usual meaning.
struct ForwardInput {
  tensor::Tensor ids;                  ///< i32 [B, T]
  grad::Variable embeddings;           ///< [B, T, C], parameter type: instead of ids
  tensor::Tensor token_types;          ///< i32 [B, T]: segment of each token (BERT); undefined: 0
  tensor::Tensor positions;            ///< i32 [B, T]; undefined: 0, 1, 2, ... behind what the state holds
  tensor::Tensor document_starts;      ///< i32 [B, T]: first place in the row that a token sees; undefined: 0
  tensor::Tensor document_ends;        ///< i32 [B, T]: one past the last place that a token sees; undefined: T. For
                                       ///< encoders, beside document_starts: packed documents, or rows with padding
  nn::SequenceState* state = nullptr;  ///< read and extended where given; B is then 1
  tensor::Tensor head_rows;            ///< i32 [N]: places among the B T that are made ready for the head; undefined:
                                       ///< all. `hidden` is then [N, C]. For encoders: of masked tokens alone
  bool encode_only = false;            ///< stop at the last hidden states: `hidden` is then not ready for the head
  Tap tap;
  /// `tap` also gets every block's scores before the softmax, "blocks.3.attn.scores" [B, H, T, T], which the fused
  /// attention never holds: they are computed for it alone, and what it returns there is not used.
  bool tap_scores = false;
};

/// What a model returns: its last hidden states [B, T, C] in the activation type, ready for the head, and anything else
/// by name.
struct ForwardOutput {
  grad::Variable hidden;
  std::map<std::string, grad::Variable> named;
};

/// The linear map from hidden states to logits.
struct Head {
  grad::Parameter* weight;
  grad::WeightLayout layout;
  grad::Parameter* bias = nullptr;  ///< [V], or none
};

/// A model that predicts tokens, or an encoder alone. It owns its parameters' objects; their memory comes from
/// ParameterSet::allocate.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  /// Hugging Face's config.json.
  virtual base::Json config() const = 0;
  /// Hugging Face's generation_config.json.
  virtual base::Json generation_config() const;
  /// How the names in files relate to the parameters' names.
  virtual WeightNames weight_names() const { return {}; }
  virtual ForwardOutput forward(grad::Graph& graph, const ForwardInput& input) = 0;
  /// Throws Error where the model has none (an encoder alone).
  virtual Head head() = 0;
  /// Whether head() exists.
  virtual bool predicts_tokens() const { return true; }
  /// Whether a token sees the earlier ones alone: what generation and perplexity need.
  virtual bool is_causal() const { return true; }
  /// What every layer keeps of a token for generation. Throws Error where the model cannot generate.
  virtual nn::StateLayout state_layout() const = 0;

  virtual int64_t vocabulary_size() const = 0;
  /// Longest sequence.
  virtual int64_t context_length() const = 0;
  /// Arithmetic of one token's forward and backward pass in a sequence of length T: 6 per weight of a matrix product
  /// and 12 T C per layer of attention (Chowdhery et al., "PaLM", 2022, appendix B).
  virtual double training_flops_per_token(int64_t sequence_length) const = 0;

  nn::ParameterSet& parameters() { return parameters_; }
  const nn::ParameterSet& parameters() const { return parameters_; }

 protected:
  using BlockFunction = std::function<grad::Variable(grad::Graph&, const grad::Variable&)>;
  /// block(graph, x): as it is, or, where the graph recomputes blocks and nobody looks inside this one, keeping x alone
  /// for the backward pass. `block` must not hold references to what ends before that.
  static grad::Variable through_block(grad::Graph& graph, const ForwardInput& input, const grad::Variable& x,
                                      const BlockFunction& block);

  nn::ParameterSet parameters_;
};

/// Logits [B, T, V] of the parameter type.
grad::Variable logits(grad::Graph& graph, LanguageModel& model, const grad::Variable& hidden);

/// Throws Error "... cannot WHAT" where the model is not causal.
void require_causal(const LanguageModel& model, std::string_view what);

/// Throws Error, with the numbers, where the input does not fit the model: longer than the context together with what
/// the state holds, or not the tokens that the state's sequences announce.
void check_input(const LanguageModel& model, const ForwardInput& input);

/// The input's positions [B, T], or where it has none: counted from 0 in every row, or behind what each of the state's
/// sequences holds.
tensor::Tensor positions_of(const ForwardInput& input, int64_t batch, int64_t tokens, tensor::Arena& arena);

/// A model without memory or values, from the content of config.json, whose "model_type" names the family. `origin`
/// names it in errors. Throws Error where the family is unknown or a value is not supported.
std::unique_ptr<LanguageModel> make_model(const base::Json& config, const std::string& origin);

}  // namespace fledge::models
