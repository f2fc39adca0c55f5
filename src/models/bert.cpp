#include "models/bert.h"

#include "base/error.h"
#include "grad/attention.h"
#include "grad/attention_scores.h"
#include "grad/cast.h"
#include "grad/dropout.h"
#include "grad/embedding.h"
#include "grad/gather.h"
#include "grad/layer_norm.h"
#include "grad/linear.h"
#include "grad/tanh.h"

namespace fledge::models {
namespace {

using grad::Graph;
using grad::Variable;
using grad::WeightLayout;
using tensor::Tensor;

Variable tapped(const ForwardInput& input, int64_t block, const char* point, const Variable& value) {
  return input.tap ? input.tap(fmt::format("blocks.{}.{}", block, point), value) : value;
}

/// The first token of every document, as numbers of rows: of every row of the batch, or where a document starts in it.
Tensor first_tokens(const ForwardInput& input, int64_t batch, int64_t tokens, tensor::Arena& arena) {
  std::vector<int32_t> rows;
  if (input.document_starts && input.document_starts.device() != tensor::Device::meta) {
    const std::vector<int32_t> starts = input.document_starts.to_vector<int32_t>();
    for (size_t place = 0; place < starts.size(); ++place) {
      if (starts[place] == static_cast<int32_t>(place) % static_cast<int32_t>(tokens)) {
        rows.push_back(static_cast<int32_t>(place));
      }
    }
  } else {
    for (int64_t row = 0; row < batch; ++row) rows.push_back(static_cast<int32_t>(row * tokens));
  }
  return Tensor::from(rows, {static_cast<int64_t>(rows.size())}, arena);
}

}  // namespace

Bert::Bert(const BertConfig& config) : config_(config) {
  const std::string encoder = config.heads == BertHeads::none ? "" : "bert.";
  const int64_t width = config.hidden_size;
  const auto add_table = [&](const char* name, int64_t rows) {
    return &parameters_.add(fmt::format("{}embeddings.{}_embeddings.weight", encoder, name), {rows, width},
                            matrix_options(nn::ModuleKind::embedding));
  };
  word_ = add_table("word", config.vocab_size);
  position_ = add_table("position", config.max_position_embeddings);
  token_type_ = add_table("token_type", config.type_vocab_size);
  embedding_norm_ = add_norm(encoder + "embeddings.LayerNorm");
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    blocks_.push_back(add_block(fmt::format("{}encoder.layer.{}.", encoder, layer)));
  }
  add_heads(encoder);
}

Bert::Block Bert::add_block(const std::string& name) {
  const int64_t width = config_.hidden_size, inner = config_.intermediate_size;
  Block block;
  std::vector<nn::ParameterSet::NamedShape> weights, biases;
  for (const char* part : {"query", "key", "value"}) {
    weights.push_back({fmt::format("{}attention.self.{}.weight", name, part), {width, width}});
    biases.push_back({fmt::format("{}attention.self.{}.bias", name, part), {width}});
  }
  block.query_key_value = {&parameters_.add_joined(weights, matrix_options()), &parameters_.add_joined(biases, {})};
  block.attention_output = add_linear(name + "attention.output.dense", width, width);
  block.attention_norm = add_norm(name + "attention.output.LayerNorm");
  block.intermediate = add_linear(name + "intermediate.dense", width, inner);
  block.output = add_linear(name + "output.dense", inner, width);
  block.output_norm = add_norm(name + "output.LayerNorm");
  return block;
}

void Bert::add_heads(const std::string& encoder) {
  const int64_t width = config_.hidden_size;
  if (config_.has_pooler()) pooler_ = add_linear(encoder + "pooler.dense", width, width);
  if (config_.classifies()) classifier_ = add_linear("classifier", width, static_cast<int64_t>(config_.labels.size()));
  if (!config_.predicts_tokens()) return;
  prediction_bias_ = &parameters_.add("cls.predictions.bias", {config_.vocab_size}, {});
  transform_ = add_linear("cls.predictions.transform.dense", width, width);
  transform_norm_ = add_norm("cls.predictions.transform.LayerNorm");
  if (config_.heads == BertHeads::pretraining) next_sentence_ = add_linear("cls.seq_relationship", width, 2);
}

Bert::Weights Bert::add_norm(const std::string& name) {
  return {&parameters_.add(name + ".weight", {config_.hidden_size}, {.mean = 1.0}),
          &parameters_.add(name + ".bias", {config_.hidden_size}, {})};
}

Bert::Weights Bert::add_linear(const std::string& name, int64_t in, int64_t out) {
  return {&parameters_.add(name + ".weight", {out, in}, matrix_options()), &parameters_.add(name + ".bias", {out}, {})};
}

WeightNames Bert::weight_names() const {
  WeightNames names;
  names.prefixes = {"bert."};
  // A position list and copies of tied tensors; and the heads of a file that has more of them than its configuration.
  names.ignored = {"embeddings.position_ids", "predictions.decoder.weight", "predictions.decoder.bias"};
  if (config_.heads != BertHeads::pretraining) {
    names.ignored.insert(names.ignored.end(), {"cls.seq_relationship.weight", "cls.seq_relationship.bias"});
  }
  if (!config_.has_pooler()) names.ignored.insert(names.ignored.end(), {"pooler.dense.weight", "pooler.dense.bias"});
  if (!config_.predicts_tokens()) {
    for (const char* part : {"bias", "transform.dense.weight", "transform.dense.bias", "transform.LayerNorm.weight",
                             "transform.LayerNorm.bias"}) {
      names.ignored.push_back(fmt::format("cls.predictions.{}", part));
    }
  }
  if (!config_.classifies()) names.ignored.insert(names.ignored.end(), {"classifier.weight", "classifier.bias"});
  names.renamed = {{"LayerNorm.gamma", "LayerNorm.weight"}, {"LayerNorm.beta", "LayerNorm.bias"}};
  return names;
}

Variable Bert::pool(Graph& graph, const Variable& x, const ForwardInput& input) {
  const Tensor firsts = first_tokens(input, x.shape()[0], x.shape()[1], graph.arena());
  grad::LinearOptions options;
  options.bias = pooler_.bias;
  const Variable first = grad::gather_rows(graph, x, firsts);
  return grad::tanh(graph, grad::linear(graph, first, *pooler_.weight, WeightLayout::output_input, options));
}

Variable Bert::classify(Graph& graph, const Variable& features) {
  const double dropout = config_.classifier_dropout < 0.0 ? config_.hidden_dropout_prob : config_.classifier_dropout;
  grad::LinearOptions options;
  options.bias = classifier_.bias;
  options.wide = true;
  return grad::linear(graph, grad::dropout(graph, features, dropout), *classifier_.weight, WeightLayout::output_input,
                      options);
}

Variable Bert::norm(Graph& graph, const Variable& x, const Weights& weights, bool wide) {
  return grad::layer_norm(graph, x, *weights.weight, weights.bias, config_.layer_norm_eps, wide);
}

Variable Bert::add_projection(Graph& graph, const Variable& x, const Weights& layer, const Variable& residual) {
  grad::LinearOptions options;
  options.bias = layer.bias;
  // Dropout acts on the projection alone, so the residual is then added behind it.
  const bool drops = graph.recording() && config_.hidden_dropout_prob > 0.0;
  if (!drops) options.residual = residual;
  Variable y = grad::linear(graph, x, *layer.weight, WeightLayout::output_input, options);
  return drops ? grad::add(graph, residual, grad::dropout(graph, y, config_.hidden_dropout_prob)) : y;
}

Variable Bert::embed(Graph& graph, const ForwardInput& input) {
  Variable x = input.embeddings;
  const tensor::Shape& shape = x ? x.shape() : input.ids.shape();
  const int64_t batch = shape[0], tokens = shape[1];
  if (!x) {
    const Tensor positions = positions_of(input, batch, tokens, graph.arena());
    x = grad::embedding(graph, input.ids, *word_, positions, position_);
    Tensor types = input.token_types;
    if (!types) types = Tensor::zeros({batch, tokens}, tensor::DType::i32, graph.arena());
    tensor::require_shape(types, {batch, tokens}, "token types");
    x = grad::add(graph, x, grad::embedding(graph, types, *token_type_));
  }
  return grad::dropout(graph, norm(graph, x, embedding_norm_, true), config_.hidden_dropout_prob);
}

Variable Bert::run_block(Graph& graph, int64_t index, Variable x, const ForwardInput& input) {
  const Block& block = blocks_[static_cast<size_t>(index)];
  x = tapped(input, index, "resid_pre", x);
  const auto project = [&](const Weights& layer, tensor::Activation activation) {
    grad::LinearOptions options;
    options.bias = layer.bias;
    options.activation = activation;
    return grad::linear(graph, x, *layer.weight, WeightLayout::output_input, options);
  };
  grad::AttentionOptions attention;
  attention.causal = false;
  attention.document_starts = input.document_starts;
  attention.document_ends = input.document_ends;
  attention.dropout = config_.attention_probs_dropout_prob;
  const int64_t heads = config_.num_attention_heads;
  Variable qkv = project(block.query_key_value, tensor::Activation::none);
  qkv = tapped(input, index, "attn.qkv", qkv);
  if (input.tap && input.tap_scores)
    tapped(input, index, "attn.scores", grad::attention_scores(graph, qkv, heads, attention));
  const Variable mixed = tapped(input, index, "attn.z", grad::packed_attention(graph, qkv, heads, attention));
  x = norm(graph, add_projection(graph, mixed, block.attention_output, x), block.attention_norm, true);
  x = tapped(input, index, "resid_mid", x);

  Variable inner = project(block.intermediate, config_.activation);
  inner = tapped(input, index, "mlp.post", inner);
  const Variable sum = add_projection(graph, inner, block.output, x);
  inner.drop_value();
  return tapped(input, index, "resid_post", norm(graph, sum, block.output_norm, true));
}

ForwardOutput Bert::forward(Graph& graph, const ForwardInput& input) {
  check_input(*this, input);
  if (input.state != nullptr) require_causal(*this, "generate");
  if (static_cast<bool>(input.document_starts) && !input.document_ends) {
    throw base::Error("an encoder needs document_ends beside document_starts: its tokens see those behind them too");
  }
  Variable x = embed(graph, input);
  for (int64_t index = 0; index < config_.num_hidden_layers; ++index) {
    x = through_block(graph, input, x, [this, index, input](Graph& inner, const Variable& value) {
      return run_block(inner, index, value, input);
    });
  }
  ForwardOutput output{x, {}};
  if (input.encode_only) return output;

  const auto project = [&](const Variable& value, const Weights& layer, grad::LinearOptions options) {
    options.bias = layer.bias;
    return grad::linear(graph, value, *layer.weight, WeightLayout::output_input, options);
  };
  if (config_.has_pooler()) {
    const Variable pooled = output.named["pooled"] = pool(graph, x, input);
    if (next_sentence_.weight != nullptr)
      output.named["next_sentence"] = project(pooled, next_sentence_, {.wide = true});
  }
  if (config_.classifies()) {
    output.named["logits"] = classify(graph, config_.has_pooler() ? output.named["pooled"] : x);
  }
  if (config_.predicts_tokens()) {
    const Variable places = input.head_rows ? grad::gather_rows(graph, x, input.head_rows) : x;
    const Variable dense = project(places, transform_, {.activation = config_.activation});
    output.hidden = norm(graph, grad::widen(graph, dense), transform_norm_, false);
  }
  return output;
}

Head Bert::head() {
  if (!config_.predicts_tokens()) {
    throw base::Error("this BERT model is an encoder alone (BertModel): it has no head that predicts tokens");
  }
  return {word_, WeightLayout::output_input, prediction_bias_};
}

nn::StateLayout Bert::state_layout() const {
  require_causal(*this, "generate");
  return {};
}

double Bert::training_flops_per_token(int64_t sequence_length) const {
  const auto width = static_cast<double>(config_.hidden_size), layers = static_cast<double>(config_.num_hidden_layers);
  double weights = layers * width * (4.0 * width + 2.0 * static_cast<double>(config_.intermediate_size));
  // Of masked tokens alone: the others do not reach the head.
  constexpr double kMasked = 0.15;
  if (config_.predicts_tokens()) weights += kMasked * width * (width + static_cast<double>(config_.vocab_size));
  return 6.0 * weights + 12.0 * layers * width * static_cast<double>(sequence_length);
}

}  // namespace fledge::models
