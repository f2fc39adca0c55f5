#include "models/llama.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "grad/attention.h"
#include "grad/attention_scores.h"
#include "grad/embedding.h"
#include "grad/linear.h"
#include "grad/rms_norm.h"
#include "grad/rotary.h"
#include "grad/swiglu.h"
#include "tensor/rotary.h"

namespace fledge::models {
namespace {

using grad::Graph;
using grad::Variable;

Variable tapped(const ForwardInput& input, int64_t block, const char* point, const Variable& value) {
  return input.tap ? input.tap(fmt::format("blocks.{}.{}", block, point), value) : value;
}

}  // namespace

Llama::Llama(const LlamaConfig& config)
    : config_(config), frequencies_(nn::rotary_frequencies(config.rotary, config.head_dim)) {
  const int64_t width = config.hidden_size, size = config.head_dim;
  const nn::ParameterOptions table{
      .standard_deviation = config.initializer_range, .decays = true, .module = nn::ModuleKind::embedding};
  embedding_ = &parameters_.add("model.embed_tokens.weight", {config.vocab_size, width}, table);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string name = fmt::format("model.layers.{}.", layer), attention = name + "self_attn.",
                      mlp = name + "mlp.";
    Block block{};
    block.input_norm = add_norm(name + "input_layernorm", width);
    const int64_t key_width = config.num_key_value_heads * size, query_width = config.num_attention_heads * size;
    block.qkv = add_linear(
        {{attention + "q_proj", query_width}, {attention + "k_proj", key_width}, {attention + "v_proj", key_width}},
        width, config.projection_bias);
    if (config.has_head_norm()) {
      block.query_norm = add_norm(attention + "q_norm", size);
      block.key_norm = add_norm(attention + "k_norm", size);
    }
    block.output = add_linear({{attention + "o_proj", width}}, query_width, config.output_bias);
    block.post_attention_norm = add_norm(name + "post_attention_layernorm", width);
    block.gate_up =
        add_linear({{mlp + "gate_proj", config.intermediate_size}, {mlp + "up_proj", config.intermediate_size}}, width,
                   config.mlp_bias);
    block.down = add_linear({{mlp + "down_proj", width}}, config.intermediate_size, config.mlp_bias);
    blocks_.push_back(block);
  }
  norm_ = add_norm("model.norm", width);
  head_ = config.tie_word_embeddings ? embedding_
                                     : &parameters_.add("lm_head.weight", {config.vocab_size, width}, matrix_options());
}

nn::ParameterOptions Llama::matrix_options() const {
  return {.standard_deviation = config_.initializer_range, .decays = true, .module = nn::ModuleKind::linear};
}

grad::Parameter* Llama::add_norm(const std::string& name, int64_t size) {
  return &parameters_.add(name + ".weight", {size}, {.mean = 1.0});
}

Llama::Linear Llama::add_linear(const std::vector<Part>& parts, int64_t in, bool has_bias) {
  std::vector<nn::ParameterSet::NamedShape> weights, biases;
  for (const Part& part : parts) {
    weights.push_back({part.name + ".weight", {part.rows, in}});
    biases.push_back({part.name + ".bias", {part.rows}});
  }
  Linear layer{&parameters_.add_joined(weights, matrix_options()), nullptr};
  if (has_bias) layer.bias = &parameters_.add_joined(biases, {});
  return layer;
}

Variable Llama::linear(Graph& graph, const Variable& x, const Linear& layer, const Variable& residual) {
  grad::LinearOptions options;
  options.bias = layer.bias;
  options.residual = residual;
  return grad::linear(graph, x, *layer.weight, grad::WeightLayout::output_input, options);
}

Variable Llama::run_block(Graph& graph, int64_t index, Variable x, const ForwardInput& input,
                          const tensor::Tensor& angles) {
  const Block& block = blocks_[static_cast<size_t>(index)];
  const int64_t heads = config_.num_attention_heads, key_heads = config_.num_key_value_heads;
  x = tapped(input, index, "resid_pre", x);
  Variable normed = grad::rms_norm(graph, x, *block.input_norm, config_.rms_norm_eps);
  Variable qkv = linear(graph, normed, block.qkv);
  normed.drop_value();
  if (block.query_norm != nullptr) {
    qkv = grad::head_rms_norm(graph, qkv, {heads, key_heads, config_.head_dim}, *block.query_norm, *block.key_norm,
                              config_.rms_norm_eps);
  }
  qkv = grad::rotary(graph, qkv, heads + key_heads, angles);

  grad::AttentionOptions attention;
  attention.document_starts = input.document_starts;
  attention.window = config_.windows[static_cast<size_t>(index)];
  attention.dropout = config_.attention_dropout;
  if (input.state != nullptr) {
    attention.cache = &input.state->layers[static_cast<size_t>(index)];
    attention.sequences = input.state->sequences;
  }
  qkv = tapped(input, index, "attn.qkv", qkv);
  if (input.tap && input.tap_scores)
    tapped(input, index, "attn.scores", grad::attention_scores(graph, qkv, heads, attention, key_heads));
  Variable mixed = tapped(input, index, "attn.z", grad::packed_attention(graph, qkv, heads, attention, key_heads));
  x = tapped(input, index, "resid_mid", linear(graph, mixed, block.output, x));

  normed = grad::rms_norm(graph, x, *block.post_attention_norm, config_.rms_norm_eps);
  const Variable gate_up = linear(graph, normed, block.gate_up);
  normed.drop_value();
  Variable inner = tapped(input, index, "mlp.post", grad::swiglu(graph, gate_up));
  x = linear(graph, inner, block.down, x);
  inner.drop_value();
  return tapped(input, index, "resid_post", x);
}

ForwardOutput Llama::forward(Graph& graph, const ForwardInput& input) {
  check_input(*this, input);
  Variable x = input.embeddings ? input.embeddings : grad::embedding(graph, input.ids, *embedding_);
  const int64_t batch = x.shape()[0], tokens = x.shape()[1];
  const tensor::Tensor positions = positions_of(input, batch, tokens, graph.arena()).reshape({batch * tokens});
  tensor::Tensor angles = graph.empty({batch * tokens, config_.head_dim}, graph.parameter_type());
  tensor::rotary_angles(positions, frequencies_.inverse, frequencies_.attention_factor, angles);
  for (int64_t index = 0; index < config_.num_hidden_layers; ++index) {
    x = through_block(graph, input, x, [this, index, input, angles](Graph& inner, const Variable& value) {
      return run_block(inner, index, value, input, angles);
    });
  }
  if (input.state != nullptr) input.state->advance();
  return {grad::rms_norm(graph, x, *norm_, config_.rms_norm_eps), {}};
}

base::Json Llama::generation_config() const {
  base::Json json = base::Json::object();
  if (!config_.bos_token_id.is_null()) json["bos_token_id"] = config_.bos_token_id;
  if (!config_.eos_token_id.is_null()) json["eos_token_id"] = config_.eos_token_id;
  return json;
}

WeightNames Llama::weight_names() const {
  WeightNames names{{"model."}, {"rotary_emb.inv_freq"}, {}};
  if (config_.tie_word_embeddings) names.ignored.push_back("lm_head.weight");
  return names;
}

nn::StateLayout Llama::state_layout() const {
  return nn::StateLayout(static_cast<size_t>(config_.num_hidden_layers),
                         {config_.num_key_value_heads, config_.head_dim, config_.head_dim});
}

double Llama::training_flops_per_token(int64_t sequence_length) const {
  const auto width = static_cast<double>(config_.hidden_size), layers = static_cast<double>(config_.num_hidden_layers);
  const auto query_width = static_cast<double>(config_.num_attention_heads * config_.head_dim);
  const auto key_width = static_cast<double>(config_.num_key_value_heads * config_.head_dim);
  const double block =
      width * (2.0 * query_width + 2.0 * key_width + 3.0 * static_cast<double>(config_.intermediate_size));
  double flops = 6.0 * (layers * block + static_cast<double>(config_.vocab_size) * width);
  for (const int64_t window : config_.windows) {
    const int64_t seen = window > 0 ? std::min(window, sequence_length) : sequence_length;
    flops += 12.0 * query_width * static_cast<double>(seen);
  }
  return flops;
}

}  // namespace fledge::models
