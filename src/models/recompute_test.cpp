// Recomputing blocks gives the same gradients, bit for bit, with less memory.
#include <gtest/gtest.h>

#include "base/json.h"
#include "grad/linear_cross_entropy.h"
#include "models/language_model.h"
#include "support/operation_check.h"

namespace fledge::models {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::as_doubles;

constexpr int64_t kRows = 2, kTokens = 24;

base::Json config_of(const std::string& family) {
  if (family == "gpt2") {
    return {{"model_type", "gpt2"}, {"vocab_size", 61},  {"n_positions", 32}, {"n_embd", 32},      {"n_layer", 6},
            {"n_head", 4},          {"embd_pdrop", 0.1}, {"attn_pdrop", 0.1}, {"resid_pdrop", 0.1}};
  }
  if (family == "bert") {
    return {{"model_type", "bert"},     {"architectures", {"BertForMaskedLM"}},
            {"vocab_size", 61},         {"hidden_size", 32},
            {"num_hidden_layers", 6},   {"num_attention_heads", 4},
            {"intermediate_size", 128}, {"max_position_embeddings", 32},
            {"type_vocab_size", 2}};
  }
  return {{"model_type", "llama"},    {"vocab_size", 61},
          {"hidden_size", 32},        {"intermediate_size", 96},
          {"num_hidden_layers", 6},   {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"max_position_embeddings", 32},
          {"rms_norm_eps", 1e-5},     {"tie_word_embeddings", true}};
}

struct Outcome {
  std::vector<double> losses, gradients;
  std::vector<std::string> ready;  ///< parameters, in the order in which their gradients were complete
  size_t activation_bytes = 0;
};

Outcome one_pass(const std::string& family, DType type, bool recomputes) {
  nn::Memory memory;
  const auto model = make_model(config_of(family), family);
  model->parameters().allocate(memory, DType::f32, true);
  model->parameters().initialize(5);
  std::vector<int32_t> ids, targets;
  for (int32_t index = 0; index < kRows * kTokens; ++index) {
    ids.push_back(index * 37 % 61);
    targets.push_back(index % 5 == 0 ? -100 : (index * 11 + 3) % 61);
  }
  Outcome outcome;
  grad::Graph graph(memory.activations, memory.encodings, type, true);
  graph.set_random_state({3, 1, 0});
  graph.set_recomputes_blocks(recomputes);
  graph.on_parameter_ready([&](grad::Parameter& parameter) { outcome.ready.push_back(parameter.name()); });
  grad::Variable loss;
  {
    ForwardInput input;
    input.ids = Tensor::from(ids, {kRows, kTokens}, memory.activations);
    const Head head = model->head();
    const grad::HeadLoss result =
        grad::linear_cross_entropy(graph, model->forward(graph, input).hidden, *head.weight, head.layout,
                                   Tensor::from(targets, {kRows * kTokens}, memory.activations), 0.01, head.bias);
    outcome.losses = as_doubles(result.token_losses);
    loss = result.loss;
  }
  graph.backward(loss);
  for (const auto& entry : model->parameters().entries()) {
    const std::vector<double> values = as_doubles(entry.parameter->gradient());
    if (!entry.parameter->has_gradient()) continue;
    outcome.gradients.insert(outcome.gradients.end(), values.begin(), values.end());
  }
  outcome.activation_bytes = memory.activations.peak_bytes();
  return outcome;
}

class Recompute : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, Recompute, testing::Values("gpt2", "llama", "bert"));

TEST_P(Recompute, GivesTheSameBitsWithLessMemory) {
  for (const DType type : {DType::f32, DType::bf16}) {
    const Outcome kept = one_pass(GetParam(), type, false), again = one_pass(GetParam(), type, true);
    EXPECT_EQ(kept.losses, again.losses);
    EXPECT_EQ(kept.gradients, again.gradients);
    EXPECT_GT(kept.gradients.size(), 50000u);
    // Each gradient is announced once, as before, so that several processes exchange the same sums.
    std::vector<std::string> names = kept.ready, names_again = again.ready;
    std::ranges::sort(names);
    std::ranges::sort(names_again);
    EXPECT_EQ(names, names_again);
    // One block of six is alive at a time.
    EXPECT_LT(static_cast<double>(again.activation_bytes), 0.6 * static_cast<double>(kept.activation_bytes));
  }
}

}  // namespace
}  // namespace fledge::models
