// The named points of a model's blocks: what they show, and that looking changes nothing.
#include <gtest/gtest.h>

#include <map>

#include "base/json.h"
#include "grad/attention_scores.h"
#include "models/language_model.h"
#include "support/operation_check.h"

namespace fledge::models {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::as_doubles;

base::Json config_of(const std::string& family) {
  if (family == "gpt2") {
    return {{"model_type", "gpt2"}, {"vocab_size", 31}, {"n_positions", 16},
            {"n_embd", 16},         {"n_layer", 2},     {"n_head", 4}};
  }
  if (family == "bert") {
    return {{"model_type", "bert"},    {"architectures", {"BertForMaskedLM"}},
            {"vocab_size", 31},        {"hidden_size", 16},
            {"num_hidden_layers", 2},  {"num_attention_heads", 4},
            {"intermediate_size", 32}, {"max_position_embeddings", 16},
            {"type_vocab_size", 2}};
  }
  return {{"model_type", "llama"},    {"vocab_size", 31},
          {"hidden_size", 16},        {"intermediate_size", 48},
          {"num_hidden_layers", 2},   {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"max_position_embeddings", 16},
          {"rms_norm_eps", 1e-5},     {"tie_word_embeddings", true}};
}

class Taps : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, Taps, testing::Values("gpt2", "llama", "bert"));

TEST_P(Taps, ShowEveryPointAndChangeNothing) {
  nn::Memory memory;
  const auto model = make_model(config_of(GetParam()), GetParam());
  model->parameters().allocate(memory, DType::f32, false);
  model->parameters().initialize(3);
  std::vector<int32_t> ids;
  for (int32_t index = 0; index < 20; ++index) ids.push_back(index * 7 % 31);
  ForwardInput input;
  input.ids = Tensor::from(ids, {2, 10}, memory.activations);
  grad::Graph graph(memory.activations, memory.encodings, DType::f32, false);
  const std::vector<double> plain = as_doubles(model->forward(graph, input).hidden.value());

  std::map<std::string, grad::Variable> seen;
  input.tap = [&](const std::string& name, const grad::Variable& value) {
    seen[name] = value;
    return value;
  };
  EXPECT_EQ(as_doubles(model->forward(graph, input).hidden.value()), plain);
  for (const char* point : {"resid_pre", "attn.qkv", "attn.z", "resid_mid", "mlp.post", "resid_post"}) {
    for (const int block : {0, 1}) EXPECT_TRUE(seen.contains(fmt::format("blocks.{}.{}", block, point))) << point;
  }
  EXPECT_FALSE(seen.contains("blocks.0.attn.scores"));
  EXPECT_EQ(as_doubles(seen["blocks.1.resid_pre"].value()), as_doubles(seen["blocks.0.resid_post"].value()));

  input.tap_scores = true;
  EXPECT_EQ(as_doubles(model->forward(graph, input).hidden.value()), plain);
  grad::AttentionOptions options;
  options.causal = model->is_causal();
  const int64_t key_heads = GetParam() == "llama" ? 2 : 4;
  const grad::Variable again = grad::attention_scores(graph, seen["blocks.1.attn.qkv"], 4, options, key_heads);
  EXPECT_EQ(as_doubles(seen.at("blocks.1.attn.scores").value()), as_doubles(again.value()));
}

}  // namespace
}  // namespace fledge::models
