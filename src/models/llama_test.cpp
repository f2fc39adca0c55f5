// Llama-type models against transformers (tests/reference) and against themselves: caches, packed documents, files.
#include "models/llama.h"
#include "base/error.h"
#include "base/json.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "grad/linear_cross_entropy.h"
#include "models/model_io.h"
#include "support/operation_check.h"
#include "support/reference_data.h"
#include "tensor/elementwise.h"

namespace fledge::models {
namespace {

using tensor::DType;
using tensor::Tensor;
using test::as_doubles;
using test::ReferenceData;
using test::relative_error;

constexpr int64_t kVocabulary = 43, kContext = 40;  // of all reference models

std::filesystem::path reference_folder(const std::string& name) {
  return std::filesystem::path(FLEDGE_REFERENCE_DIR) / name;
}

Tensor integers(const ReferenceData& data, const std::string& name, tensor::Arena& arena) {
  return Tensor::from(data.integers<int32_t>(name), data.shape(name), arena);
}

std::vector<int32_t> some_ids(size_t count) {
  const base::Random random(4, 2);
  std::vector<int32_t> ids(count);
  for (size_t index = 0; index < count; ++index) ids[index] = static_cast<int32_t>(random.below(kVocabulary, index));
  return ids;
}

/// Grouped heads, biases and llama3's positions; a window; biases of the projections and a window in one layer; a norm
/// of heads.
class LlamaReference : public testing::TestWithParam<std::string> {
 protected:
  static LoadedModel load(DType type, bool trainable) {
    return load_model(reference_folder(GetParam()), type, trainable);
  }
};
INSTANTIATE_TEST_SUITE_P(Models, LlamaReference, testing::Values("llama", "mistral", "qwen2", "qwen3"));

// f64 is held to the rounding of the stored reference, to f32, and of the angles; f32: every logit is a sum over two
// layers of sums of a few dozen terms, each rounded to 6e-8.
TEST_P(LlamaReference, LogitsMatchTransformers) {
  const ReferenceData data(GetParam() + "_reference");
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-6}, {DType::f32, 1e-5}, {DType::bf16, 3e-2}}) {
    const LoadedModel loaded = load(type == DType::f64 ? DType::f64 : DType::f32, false);
    grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, type, false);
    ForwardInput input;
    input.ids = integers(data, "ids", loaded.memory->activations);
    const grad::Variable result = logits(graph, *loaded.model, loaded.model->forward(graph, input).hidden);
    EXPECT_LT(relative_error(as_doubles(result.value()), data.values<double>("logits")), tolerance)
        << tensor::name_of(type);
  }
}

TEST_P(LlamaReference, LossAndGradientsMatchTransformers) {
  const ReferenceData data(GetParam() + "_reference");
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 2e-6}, {DType::f32, 2e-5}}) {
    const LoadedModel loaded = load(type, true);
    nn::Memory& memory = *loaded.memory;
    grad::Graph graph(memory.activations, memory.encodings, type, true);
    ForwardInput input;
    input.ids = integers(data, "ids", memory.activations);
    const Tensor targets = integers(data, "targets", memory.activations).reshape({-1});
    const std::vector<int32_t> labels = targets.to_vector<int32_t>();
    const auto counted = static_cast<double>(std::ranges::count_if(labels, [](int32_t label) { return label >= 0; }));
    const Head head = loaded.model->head();
    const grad::Variable loss = grad::linear_cross_entropy(graph, loaded.model->forward(graph, input).hidden,
                                                           *head.weight, head.layout, targets, 1.0 / counted)
                                    .loss;
    graph.backward(loss);
    EXPECT_NEAR(as_doubles(loss.value())[0] / data.value("loss"), 1.0, 1e-6);
    for (const auto& entry : loaded.model->parameters().entries()) {
      grad::Parameter& parameter = *entry.parameter;
      EXPECT_TRUE(parameter.has_gradient()) << parameter.name();
      const std::vector<double> expected = data.values<double>("gradients." + parameter.name());
      EXPECT_LT(relative_error(as_doubles(parameter.gradient()), expected), tolerance)
          << parameter.name() << " " << tensor::name_of(type);
    }
  }
}

/// Hidden states of some new tokens of one or several sequences.
std::vector<double> run_with_state(const LoadedModel& loaded, DType type, nn::SequenceState& state,
                                   const std::vector<int32_t>& ids) {
  nn::Memory& memory = *loaded.memory;
  grad::Graph graph(memory.activations, memory.encodings, type, false);
  ForwardInput input;
  input.ids = Tensor::from(ids, {1, static_cast<int64_t>(ids.size())}, memory.activations);
  input.state = &state;
  return as_doubles(loaded.model->forward(graph, input).hidden.value());
}

/// Hidden states after feeding `ids` in parts of the given sizes with a cache.
std::vector<double> run_in_parts(const LoadedModel& loaded, DType type, const std::vector<int32_t>& ids,
                                 const std::vector<int64_t>& parts) {
  nn::SequenceState state = nn::make_sequence(loaded.model->state_layout(), kContext, type, loaded.memory->activations);
  std::vector<double> result;
  auto next = ids.begin();
  for (const int64_t count : parts) {
    state.sequences[0].count = count;
    const std::vector<double> hidden = run_with_state(loaded, type, state, {next, next + count});
    result.insert(result.end(), hidden.begin(), hidden.end());
    next += count;
  }
  return result;
}

TEST_P(LlamaReference, GivesTheSameBitsWithACacheAndInAnyParts) {
  const std::vector<int32_t> ids = some_ids(kContext);
  for (const DType type : {DType::f32, DType::bf16}) {
    const LoadedModel loaded = load(DType::f32, false);
    nn::Memory& memory = *loaded.memory;
    grad::Graph graph(memory.activations, memory.encodings, type, false);
    ForwardInput input;
    input.ids = Tensor::from(ids, {1, kContext}, memory.activations);
    const std::vector<double> uncached = as_doubles(loaded.model->forward(graph, input).hidden.value());
    EXPECT_EQ(run_in_parts(loaded, type, ids, {kContext}), uncached) << tensor::name_of(type);
    EXPECT_EQ(run_in_parts(loaded, type, ids, {17, 1, 1, 21}), uncached) << tensor::name_of(type);
    EXPECT_EQ(run_in_parts(loaded, type, ids, std::vector<int64_t>(kContext, 1)), uncached) << tensor::name_of(type);
  }
}

TEST_P(LlamaReference, SequencesInOnePassDoNotSeeEachOther) {
  const LoadedModel loaded = load(DType::f32, false);
  const std::vector<int32_t> ids = some_ids(30);
  const std::vector<int32_t> first(ids.begin(), ids.begin() + 19), second(ids.begin() + 19, ids.end());
  std::vector<double> expected = run_in_parts(loaded, DType::f32, first, {19});
  const std::vector<double> of_second = run_in_parts(loaded, DType::f32, second, {11});
  expected.insert(expected.end(), of_second.begin(), of_second.end());
  nn::SequenceState state = nn::make_pages(loaded.model->state_layout(), 2, DType::f32, loaded.memory->activations);
  state.sequences = {{0, 19, {1}}, {0, 11, {0}}};
  EXPECT_EQ(run_with_state(loaded, DType::f32, state, ids), expected);
}

TEST_P(LlamaReference, PackedDocumentsEqualSeparateOnes) {
  const LoadedModel loaded = load(DType::f64, false);
  nn::Memory& memory = *loaded.memory;
  const std::vector<int32_t> ids = some_ids(20);
  const auto run = [&](const std::vector<int32_t>& part, const std::vector<int32_t>& positions,
                       const std::vector<int32_t>& starts) {
    grad::Graph graph(memory.activations, memory.encodings, DType::f64, false);
    const tensor::Shape shape{1, static_cast<int64_t>(part.size())};
    ForwardInput input;
    input.ids = Tensor::from(part, shape, memory.activations);
    if (!positions.empty()) input.positions = Tensor::from(positions, shape, memory.activations);
    if (!starts.empty()) input.document_starts = Tensor::from(starts, shape, memory.activations);
    return as_doubles(loaded.model->forward(graph, input).hidden.value());
  };
  std::vector<double> separate = run({ids.begin(), ids.begin() + 13}, {}, {});
  const std::vector<double> second = run({ids.begin() + 13, ids.end()}, {}, {});
  separate.insert(separate.end(), second.begin(), second.end());
  std::vector<int32_t> positions(20), starts(20, 0);
  for (int32_t token = 0; token < 20; ++token) {
    positions[static_cast<size_t>(token)] = token < 13 ? token : token - 13;
    if (token >= 13) starts[static_cast<size_t>(token)] = 13;
  }
  EXPECT_LT(relative_error(run(ids, positions, starts), separate), 1e-12);
}

TEST_P(LlamaReference, GradientsMatchFiniteDifferences) {
  const LoadedModel loaded = load(DType::f64, true);
  nn::Memory& memory = *loaded.memory;
  const Tensor ids = Tensor::from(some_ids(14), {2, 7}, memory.activations);
  const Tensor targets = Tensor::from(some_ids(14), {14}, memory.activations);
  const auto loss = [&](bool recording) {
    grad::Graph graph(memory.activations, memory.encodings, DType::f64, recording);
    ForwardInput input;
    input.ids = ids;
    const Head head = loaded.model->head();
    const grad::Variable value = grad::linear_cross_entropy(graph, loaded.model->forward(graph, input).hidden,
                                                            *head.weight, head.layout, targets, 1.0 / 14.0)
                                     .loss;
    if (recording) graph.backward(value);
    return as_doubles(value.value())[0];
  };
  loss(true);
  for (const char* name : {"model.layers.0.input_layernorm.weight", "model.layers.0.self_attn.k_proj.weight",
                           "model.layers.1.self_attn.k_norm.weight", "model.layers.1.self_attn.q_proj.bias",
                           "model.layers.1.mlp.up_proj.weight", "model.norm.weight"}) {
    grad::Parameter* parameter = loaded.model->parameters().find(name);
    if (parameter == nullptr) continue;  // a norm of heads, a bias: not all have them
    const auto evaluate = [&] {
      loaded.model->parameters().values_changed();
      return loss(false);
    };
    test::expect_finite_differences(parameter->value(), as_doubles(parameter->gradient()), evaluate, name);
  }
}

TEST_P(LlamaReference, SavesAndLoadsTheSameBits) {
  const LoadedModel saved = load(DType::f32, false);
  const auto folder = std::filesystem::path(testing::TempDir()) / (GetParam() + "_round_trip");
  std::filesystem::create_directories(folder);
  save_model(*saved.model, folder);
  const LoadedModel loaded = load_model(folder, DType::f32, false);
  EXPECT_EQ(loaded.model->config(), saved.model->config());
  for (const auto& entry : saved.model->parameters().entries()) {
    const grad::Parameter* other = loaded.model->parameters().find(entry.parameter->name());
    EXPECT_EQ(as_doubles(other->value()), as_doubles(entry.parameter->value()));
  }
  std::filesystem::remove_all(folder);
}

TEST_P(LlamaReference, ConfigurationKeepsWhatTransformersWrote) {
  const base::Json theirs = base::read_json(reference_folder(GetParam()) / "config.json");
  const base::Json ours = make_model(theirs, "config.json")->config();
  for (const auto& [key, value] : theirs.items()) {
    const bool says_nothing = key == "dtype" || key == "transformers_version" || key == "use_cache" ||
                              key == "pretraining_tp" || key == "max_window_layers" || value.is_null();
    if (says_nothing) continue;
    if (!ours.contains(key)) {
      ADD_FAILURE() << key << " is missing";
    } else if (key == "rope_parameters") {
      for (const auto& [name, setting] : value.items()) EXPECT_EQ(ours[key].value(name, base::Json()), setting) << name;
    } else {
      EXPECT_EQ(ours[key], value) << key;
    }
  }
}

TEST_P(LlamaReference, TheShapeOnlyDeviceNeedsTheSameMemory) {
  const auto peak = [](tensor::Device device) {
    nn::Memory memory(device);
    const auto config = reference_folder(GetParam()) / "config.json";
    const auto model = make_model(base::read_json(config), config.string());
    model->parameters().allocate(memory, DType::f32, true);
    grad::Graph graph(memory.activations, memory.encodings, DType::bf16, true);
    ForwardInput input;
    input.ids = Tensor::zeros({3, 16}, DType::i32, memory.activations);
    const Tensor targets = Tensor::zeros({48}, DType::i32, memory.activations);
    const Head head = model->head();
    const grad::Variable loss =
        grad::linear_cross_entropy(graph, model->forward(graph, input).hidden, *head.weight, head.layout, targets, 1.0)
            .loss;
    graph.backward(loss);
    return std::vector<size_t>{memory.parameters.peak_bytes(), memory.gradients.peak_bytes(),
                               memory.encodings.peak_bytes(), memory.activations.peak_bytes()};
  };
  EXPECT_EQ(peak(tensor::Device::meta), peak(tensor::Device::cpu));
}

TEST(Llama, CountsTheArithmeticOfTraining) {
  const auto model = make_model(base::parse_json(R"({"model_type": "llama", "hidden_size": 576, "vocab_size": 49152,
      "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
      "max_position_embeddings": 8192, "tie_word_embeddings": true})",
                                                 "test"),
                                "config.json");
  EXPECT_EQ(model->parameters().element_count(), 134515008);  // as the model's card says: 135M
  // Every weight but those of the 61 norms is one of a product; attention is 12 T H D in each layer.
  EXPECT_EQ(model->training_flops_per_token(512), 6.0 * (134515008 - 61 * 576) + 30 * 12.0 * 512 * 576);
}

TEST(Llama, StartsAsTransformersDoes) {
  nn::Memory memory;
  const auto model = make_model(base::parse_json(R"({"model_type": "qwen2", "hidden_size": 64, "vocab_size": 211,
      "intermediate_size": 160, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
      "max_position_embeddings": 16, "initializer_range": 0.05})",
                                                 "test"),
                                "config.json");
  model->parameters().allocate(memory, DType::f32, false);
  model->parameters().initialize(1);
  for (const auto& entry : model->parameters().entries()) {
    const grad::Parameter& parameter = *entry.parameter;
    const std::vector<double> values = as_doubles(parameter.value());
    if (parameter.shape().rank() == 2) {
      double squares = 0.0;
      for (const double value : values) squares += value * value;
      const auto count = static_cast<double>(values.size());
      // The sample's deviation is within five of its own deviations.
      EXPECT_NEAR(std::sqrt(squares / count), 0.05, 5 * 0.05 / std::sqrt(2 * count)) << parameter.name();
      EXPECT_TRUE(entry.options.decays);
    } else {
      const double expected = parameter.name().ends_with("bias") ? 0.0 : 1.0;
      EXPECT_EQ(values, std::vector<double>(values.size(), expected)) << parameter.name();
      EXPECT_FALSE(entry.options.decays);
    }
  }
}

TEST(Llama, DropsAttentionWeightsInTrainingOnly) {
  base::Json config = base::read_json(reference_folder("llama") / "config.json");
  config["attention_dropout"] = 0.5;
  nn::Memory memory;
  const auto model = make_model(config, "config.json");
  model->parameters().allocate(memory, DType::f32, true);
  model->parameters().initialize(1);
  const auto run = [&](bool recording, uint64_t step) {
    grad::Graph graph(memory.activations, memory.encodings, DType::f32, recording);
    graph.set_random_state({1, step, 0});
    ForwardInput input;
    input.ids = Tensor::from(some_ids(20), {2, 10}, memory.activations);
    return as_doubles(model->forward(graph, input).hidden.value());
  };
  EXPECT_EQ(run(false, 1), run(false, 2));
  EXPECT_EQ(run(true, 1), run(true, 1));
  EXPECT_NE(run(true, 1), run(true, 2));
  EXPECT_NE(run(true, 1), run(false, 1));
}

TEST(Llama, RefusesWhatItCannotRun) {
  const auto refuse = [](const char* changes, const char* sentence) {
    base::Json config = base::read_json(reference_folder("qwen2") / "config.json");
    config.update(base::parse_json(changes, "test"));
    try {
      make_model(config, "config.json");
      FAIL() << changes;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(sentence));
      EXPECT_THAT(error.what(), testing::HasSubstr("config.json"));
    }
  };
  refuse(R"({"num_attention_heads": 3, "num_key_value_heads": 2})", "not a multiple");
  refuse(R"({"num_attention_heads": 0})", "num_attention_heads");
  refuse(R"({"num_key_value_heads": 4})", "num_key_value_heads");
  refuse(R"({"num_attention_heads": 2, "num_key_value_heads": 2})", "even");
  refuse(R"({"num_hidden_layers": 0})", "num_hidden_layers");
  refuse(R"({"hidden_size": "wide"})", "hidden_size");
  refuse(R"({"hidden_size": 16777216, "intermediate_size": 16777216, "num_hidden_layers": 90000, "head_dim": 64})",
         "beyond");
  refuse(R"({"hidden_act": "gelu"})", "gelu");
  refuse(R"({"attention_dropout": 1.0})", "attention_dropout");
  refuse(R"({"layer_types": ["full_attention"]})", "layer_types");
  refuse(R"({"layer_types": ["full_attention", 3]})", "layer_types");
  refuse(R"({"sliding_window": 0})", "sliding_window");
  refuse(R"({"eos_token_id": "end"})", "eos_token_id");
  refuse(R"({"rope_parameters": {"rope_type": "longrope"}})", "longrope");

  const LoadedModel loaded = load_model(reference_folder("qwen2"), DType::f32, false);
  grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, DType::f32, false);
  ForwardInput input;
  input.ids = Tensor::zeros({1, kContext + 1}, DType::i32, loaded.memory->activations);
  EXPECT_THROW(loaded.model->forward(graph, input), base::Error);
  input.ids = Tensor::from(std::vector<int32_t>{3, kVocabulary}, {1, 2}, loaded.memory->activations);
  EXPECT_THROW(loaded.model->forward(graph, input), base::Error);
}

}  // namespace
}  // namespace fledge::models
