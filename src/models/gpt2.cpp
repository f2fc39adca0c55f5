#include "models/gpt2.h"

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "grad/attention.h"
#include "grad/attention_scores.h"
#include "grad/dropout.h"
#include "grad/embedding.h"
#include "grad/layer_norm.h"
#include "grad/linear.h"

namespace fledge::models {
namespace {

using grad::Graph;
using grad::Variable;
using tensor::Activation;

Activation parse_activation(const std::string& name, const std::string& origin) {
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu_exact;
  throw base::Error("{}: activation_function \"{}\" is not supported; it can be gelu_new, gelu_pytorch_tanh or gelu",
                    origin, name);
}

void require_positive(int64_t value, const char* key, const std::string& origin) {
  constexpr int64_t kLargest = int64_t{1} << 24;
  if (value < 1 || value > kLargest) {
    throw base::Error("{}: {} is {}, expected 1 to {}", origin, key, value, kLargest);
  }
}

Variable tapped(const ForwardInput& input, int64_t block, const char* point, const Variable& value) {
  return input.tap ? input.tap(fmt::format("blocks.{}.{}", block, point), value) : value;
}

}  // namespace

Gpt2Config Gpt2Config::from_json(const base::Json& json, const std::string& origin) {
  Gpt2Config config;
  const auto integer = [&](const char* key, int64_t fallback) { return base::json_get(json, key, fallback, origin); };
  const auto real = [&](const char* key, double fallback) { return base::json_get(json, key, fallback, origin); };
  config.vocab_size = integer("vocab_size", config.vocab_size);
  config.n_positions = integer("n_positions", integer("n_ctx", config.n_positions));
  config.n_embd = integer("n_embd", config.n_embd);
  config.n_layer = integer("n_layer", config.n_layer);
  config.n_head = integer("n_head", config.n_head);
  config.n_inner = integer("n_inner", 0);
  config.activation =
      parse_activation(base::json_get<std::string>(json, "activation_function", "gelu_new", origin), origin);
  config.layer_norm_epsilon = real("layer_norm_epsilon", config.layer_norm_epsilon);
  config.initializer_range = real("initializer_range", config.initializer_range);
  config.embd_pdrop = real("embd_pdrop", config.embd_pdrop);
  config.attn_pdrop = real("attn_pdrop", config.attn_pdrop);
  config.resid_pdrop = real("resid_pdrop", config.resid_pdrop);
  config.bos_token_id = integer("bos_token_id", config.bos_token_id);
  config.eos_token_id = integer("eos_token_id", config.eos_token_id);

  require_positive(config.vocab_size, "vocab_size", origin);
  require_positive(config.n_positions, "n_positions", origin);
  require_positive(config.n_embd, "n_embd", origin);
  require_positive(config.n_layer, "n_layer", origin);
  require_positive(config.n_head, "n_head", origin);
  require_positive(config.feed_forward_size(), "n_inner", origin);
  if (config.n_embd % config.n_head != 0) {
    throw base::Error("{}: n_embd {} is not a multiple of n_head {}", origin, config.n_embd, config.n_head);
  }
  if (!base::json_get(json, "tie_word_embeddings", true, origin)) {
    throw base::Error("{}: tie_word_embeddings is false; fledge's GPT-2 has a tied head", origin);
  }
  if (!base::json_get(json, "scale_attn_weights", true, origin) ||
      base::json_get(json, "scale_attn_by_inverse_layer_idx", false, origin)) {
    throw base::Error("{}: only attention scaled by 1/sqrt(head size) is supported", origin);
  }
  return config;
}

base::Json Gpt2Config::to_json() const {
  base::Json json = {{"model_type", "gpt2"},
                     {"architectures", {"GPT2LMHeadModel"}},
                     {"vocab_size", vocab_size},
                     {"n_positions", n_positions},
                     {"n_ctx", n_positions},
                     {"n_embd", n_embd},
                     {"n_layer", n_layer},
                     {"n_head", n_head},
                     {"n_inner", nullptr},
                     {"activation_function", activation == Activation::gelu_exact ? "gelu" : "gelu_new"},
                     {"layer_norm_epsilon", layer_norm_epsilon},
                     {"initializer_range", initializer_range},
                     {"embd_pdrop", embd_pdrop},
                     {"attn_pdrop", attn_pdrop},
                     {"resid_pdrop", resid_pdrop},
                     {"scale_attn_weights", true},
                     {"tie_word_embeddings", true},
                     {"bos_token_id", bos_token_id},
                     {"eos_token_id", eos_token_id}};
  if (n_inner > 0) json["n_inner"] = n_inner;
  return json;
}

Gpt2::Gpt2(const Gpt2Config& config) : config_(config) {
  const int64_t width = config.n_embd;
  const nn::ParameterOptions table{
      .standard_deviation = config.initializer_range, .decays = true, .module = nn::ModuleKind::embedding};
  wte_ = &parameters_.add("transformer.wte.weight", {config.vocab_size, width}, table);
  wpe_ = &parameters_.add("transformer.wpe.weight", {config.n_positions, width}, table);
  // Projections into the residual stream start smaller, so that its variance does not grow with depth (section 2.3).
  const double narrow = config.initializer_range / std::sqrt(2.0 * static_cast<double>(config.n_layer));
  for (int64_t layer = 0; layer < config.n_layer; ++layer) {
    const std::string name = fmt::format("transformer.h.{}.", layer);
    Block block;
    block.ln_1 = add_norm(name + "ln_1");
    block.c_attn = add_linear(name + "attn.c_attn", width, 3 * width, config.initializer_range);
    block.attn_c_proj = add_linear(name + "attn.c_proj", width, width, narrow);
    block.ln_2 = add_norm(name + "ln_2");
    block.c_fc = add_linear(name + "mlp.c_fc", width, config.feed_forward_size(), config.initializer_range);
    block.mlp_c_proj = add_linear(name + "mlp.c_proj", config.feed_forward_size(), width, narrow);
    blocks_.push_back(block);
  }
  ln_f_ = add_norm("transformer.ln_f");
}

Gpt2::Norm Gpt2::add_norm(const std::string& name) {
  return {&parameters_.add(name + ".weight", {config_.n_embd}, {.mean = 1.0}),
          &parameters_.add(name + ".bias", {config_.n_embd}, {})};
}

Gpt2::Linear Gpt2::add_linear(const std::string& name, int64_t in, int64_t out, double standard_deviation) {
  return {&parameters_.add(
              name + ".weight", {in, out},
              {.standard_deviation = standard_deviation, .decays = true, .module = nn::ModuleKind::transposed_linear}),
          &parameters_.add(name + ".bias", {out}, {})};
}

Variable Gpt2::linear(Graph& graph, const Variable& x, const Linear& layer, const Variable& residual) {
  grad::LinearOptions options;
  options.bias = layer.bias;
  // Dropout acts on the projection alone, so the residual is then added behind it.
  const bool drops = residual && graph.recording() && config_.resid_pdrop > 0.0;
  if (!drops) options.residual = residual;
  Variable y = grad::linear(graph, x, *layer.weight, grad::WeightLayout::input_output, options);
  return drops ? grad::add(graph, residual, grad::dropout(graph, y, config_.resid_pdrop)) : y;
}

Variable Gpt2::run_block(Graph& graph, int64_t index, Variable x, const ForwardInput& input) {
  const Block& block = blocks_[static_cast<size_t>(index)];
  x = tapped(input, index, "resid_pre", x);
  Variable normed = grad::layer_norm(graph, x, *block.ln_1.weight, block.ln_1.bias, config_.layer_norm_epsilon);
  Variable qkv = linear(graph, normed, block.c_attn);
  normed.drop_value();

  grad::AttentionOptions attention;
  attention.document_starts = input.document_starts;
  attention.dropout = config_.attn_pdrop;
  if (input.state != nullptr) {
    attention.cache = &input.state->layers[static_cast<size_t>(index)];
    attention.sequences = input.state->sequences;
  }
  qkv = tapped(input, index, "attn.qkv", qkv);
  if (input.tap && input.tap_scores)
    tapped(input, index, "attn.scores", grad::attention_scores(graph, qkv, config_.n_head, attention));
  Variable mixed = tapped(input, index, "attn.z", grad::packed_attention(graph, qkv, config_.n_head, attention));
  x = tapped(input, index, "resid_mid", linear(graph, mixed, block.attn_c_proj, x));

  normed = grad::layer_norm(graph, x, *block.ln_2.weight, block.ln_2.bias, config_.layer_norm_epsilon);
  grad::LinearOptions expand;
  expand.bias = block.c_fc.bias;
  expand.activation = config_.activation;
  Variable inner = grad::linear(graph, normed, *block.c_fc.weight, grad::WeightLayout::input_output, expand);
  normed.drop_value();
  inner = tapped(input, index, "mlp.post", inner);
  x = linear(graph, inner, block.mlp_c_proj, x);
  inner.drop_value();
  return tapped(input, index, "resid_post", x);
}

ForwardOutput Gpt2::forward(Graph& graph, const ForwardInput& input) {
  check_input(*this, input);
  Variable x = input.embeddings;
  if (!x) {
    const tensor::Tensor positions = positions_of(input, input.ids.dim(0), input.ids.dim(1), graph.arena());
    x = grad::embedding(graph, input.ids, *wte_, positions, wpe_);
  }
  x = grad::dropout(graph, x, config_.embd_pdrop);
  for (int64_t index = 0; index < config_.n_layer; ++index) {
    x = through_block(graph, input, x, [this, index, input](Graph& inner, const Variable& value) {
      return run_block(inner, index, value, input);
    });
  }
  if (input.state != nullptr) input.state->advance();
  return {grad::layer_norm(graph, x, *ln_f_.weight, ln_f_.bias, config_.layer_norm_epsilon), {}};
}

nn::StateLayout Gpt2::state_layout() const {
  return nn::StateLayout(static_cast<size_t>(config_.n_layer),
                         {config_.n_head, config_.head_size(), config_.head_size()});
}

double Gpt2::training_flops_per_token(int64_t sequence_length) const {
  const auto width = static_cast<double>(config_.n_embd), layers = static_cast<double>(config_.n_layer);
  const double block = width * (4.0 * width + 2.0 * static_cast<double>(config_.feed_forward_size()));
  const double weights = layers * block + static_cast<double>(config_.vocab_size) * width;
  return 6.0 * weights + 12.0 * layers * width * static_cast<double>(sequence_length);
}

}  // namespace fledge::models
