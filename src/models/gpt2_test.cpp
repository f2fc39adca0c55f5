// GPT-2 against transformers (tests/reference) and against itself: caches, packed documents, files.
#include "models/gpt2.h"
#include "base/error.h"
#include "base/json.h"

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

std::filesystem::path reference_folder(const std::string& name) {
  return std::filesystem::path(FLEDGE_REFERENCE_DIR) / name;
}

Tensor integers(const ReferenceData& data, const std::string& name, tensor::Arena& arena) {
  return Tensor::from(data.integers<int32_t>(name), data.shape(name), arena);
}

class Gpt2Reference : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, Gpt2Reference, testing::Values("gpt2_gelu_new", "gpt2_gelu"));

// f32: every logit is a sum over two layers of sums of a few dozen terms, each rounded to 6e-8.
TEST_P(Gpt2Reference, LogitsMatchTransformers) {
  const ReferenceData data(GetParam() + "_reference");
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-6}, {DType::f32, 1e-5}, {DType::bf16, 3e-2}}) {
    const DType stored = type == DType::f64 ? DType::f64 : DType::f32;
    const LoadedModel loaded = load_model(reference_folder(GetParam()), stored, false);
    grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, type, false);
    ForwardInput input;
    input.ids = integers(data, "ids", loaded.memory->activations);
    const grad::Variable hidden = loaded.model->forward(graph, input).hidden;
    const grad::Variable result = logits(graph, *loaded.model, hidden);
    EXPECT_LT(relative_error(as_doubles(result.value()), data.values<double>("logits")), tolerance)
        << tensor::name_of(type);
  }
}

/// A key's bias adds the same to all scores of a query, so softmax removes it: its gradient is zero but for rounding.
bool is_key_bias(const std::string& name) {
  return name.ends_with("c_attn.bias");
}

TEST_P(Gpt2Reference, LossAndGradientsMatchTransformers) {
  const ReferenceData data(GetParam() + "_reference");
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-5}, {DType::f32, 1e-4}}) {
    const LoadedModel loaded = load_model(reference_folder(GetParam()), type, true);
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
      std::vector<double> actual = as_doubles(parameter.gradient());
      std::vector<double> expected = data.values<double>("gradients." + parameter.name());
      if (is_key_bias(parameter.name())) {
        const auto third = static_cast<int64_t>(actual.size() / 3);
        for (int64_t index = third; index < 2 * third; ++index) {
          EXPECT_NEAR(actual[static_cast<size_t>(index)], 0.0, 1e-6) << parameter.name();
        }
        actual.erase(actual.begin() + third, actual.begin() + 2 * third);
        expected.erase(expected.begin() + third, expected.begin() + 2 * third);
      }
      EXPECT_LT(relative_error(actual, expected), tolerance) << parameter.name() << " " << tensor::name_of(type);
    }
  }
}

LoadedModel small_model(DType type, bool trainable) {
  Gpt2Config config;
  config.vocab_size = 61;
  config.n_positions = 48;
  config.n_embd = 24;
  config.n_layer = 2;
  config.n_head = 3;
  config.embd_pdrop = config.attn_pdrop = config.resid_pdrop = 0.0;
  LoadedModel loaded;
  loaded.memory = std::make_unique<nn::Memory>();
  loaded.model = std::make_unique<Gpt2>(config);
  loaded.model->parameters().allocate(*loaded.memory, type, trainable);
  loaded.model->parameters().initialize(11);
  return loaded;
}

std::vector<int32_t> some_ids(size_t count) {
  const base::Random random(4, 2);
  std::vector<int32_t> ids(count);
  for (size_t index = 0; index < count; ++index) ids[index] = static_cast<int32_t>(random.below(61, index));
  return ids;
}

/// Hidden states after feeding `ids` in parts of the given sizes with a cache.
std::vector<double> run_in_parts(const LoadedModel& loaded, DType type, const std::vector<int32_t>& ids,
                                 const std::vector<int64_t>& parts) {
  nn::Memory& memory = *loaded.memory;
  nn::SequenceState state = nn::make_sequence(loaded.model->state_layout(), 48, type, memory.activations);
  std::vector<double> result;
  size_t first = 0;
  for (const int64_t count : parts) {
    grad::Graph graph(memory.activations, memory.encodings, type, false);
    ForwardInput input;
    const std::vector<int32_t> part(ids.begin() + static_cast<int64_t>(first),
                                    ids.begin() + static_cast<int64_t>(first) + count);
    input.ids = Tensor::from(part, {1, count}, memory.activations);
    input.state = &state;
    state.sequences[0].count = count;
    const std::vector<double> hidden = as_doubles(loaded.model->forward(graph, input).hidden.value());
    result.insert(result.end(), hidden.begin(), hidden.end());
    first += static_cast<size_t>(count);
  }
  return result;
}

TEST(Gpt2, GivesTheSameBitsWithACacheAndInAnyParts) {
  const std::vector<int32_t> ids = some_ids(40);
  for (const DType type : {DType::f32, DType::bf16}) {
    const LoadedModel loaded = small_model(DType::f32, false);
    const std::vector<double> whole = run_in_parts(loaded, type, ids, {40});
    EXPECT_EQ(run_in_parts(loaded, type, ids, {17, 1, 1, 21}), whole) << tensor::name_of(type);
    EXPECT_EQ(run_in_parts(loaded, type, ids, std::vector<int64_t>(40, 1)), whole) << tensor::name_of(type);
  }
}

TEST(Gpt2, PackedDocumentsEqualSeparateOnes) {
  const LoadedModel loaded = small_model(DType::f64, false);
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
  EXPECT_LT(relative_error(run(ids, positions, starts), separate), 1e-13);
}

TEST(Gpt2, GradientsMatchFiniteDifferences) {
  const LoadedModel loaded = small_model(DType::f64, true);
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
  for (const char* name : {"transformer.wpe.weight", "transformer.h.0.attn.c_attn.weight", "transformer.h.1.ln_2.bias",
                           "transformer.h.1.mlp.c_proj.bias", "transformer.ln_f.weight"}) {
    grad::Parameter* parameter = loaded.model->parameters().find(name);
    ASSERT_NE(parameter, nullptr);
    const auto evaluate = [&] {
      loaded.model->parameters().values_changed();
      return loss(false);
    };
    test::expect_finite_differences(parameter->value(), as_doubles(parameter->gradient()), evaluate, name);
  }
}

TEST(Gpt2, SavesAndLoadsTheSameBits) {
  const LoadedModel saved = small_model(DType::f32, false);
  const auto folder = std::filesystem::path(testing::TempDir()) / "gpt2_round_trip";
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

TEST(Gpt2, RunsAndSavesFrozenWeightsAsTheyAreStored) {
  const LoadedModel wide = small_model(DType::f32, false);
  LoadedModel stored;
  stored.memory = std::make_unique<nn::Memory>();
  stored.model = make_model(wide.model->config(), "test");
  nn::ParameterSet& parameters = stored.model->parameters();
  for (const auto& entry : wide.model->parameters().entries()) {
    grad::Parameter& source = *entry.parameter;
    if (!source.name().ends_with("c_fc.weight") && !source.name().ends_with("wte.weight")) continue;
    Tensor narrow = Tensor::empty(source.shape(), DType::bf16, stored.memory->parameters);
    tensor::copy(source.value(), narrow);
    tensor::copy(narrow, source.value());
    source.value_changed();
    parameters.find(source.name())->bind_stored(narrow);
  }
  parameters.allocate(*stored.memory, DType::f32, true);
  for (const auto& entry : wide.model->parameters().entries()) {
    grad::Parameter& target = *parameters.find(entry.parameter->name());
    if (!target.is_stored()) tensor::copy(entry.parameter->value(), target.value());
  }
  const std::vector<int32_t> ids = some_ids(30);
  EXPECT_EQ(run_in_parts(stored, DType::f32, ids, {30}), run_in_parts(wide, DType::f32, ids, {30}));
  EXPECT_FALSE(parameters.find("transformer.wte.weight")->trainable());
  EXPECT_TRUE(parameters.find("transformer.wpe.weight")->trainable());

  const auto folder = std::filesystem::path(testing::TempDir()) / "gpt2_stored";
  std::filesystem::create_directories(folder);
  save_model(*stored.model, folder);
  const LoadedModel loaded = load_model(folder, DType::f32, false);
  EXPECT_EQ(run_in_parts(loaded, DType::f32, ids, {30}), run_in_parts(wide, DType::f32, ids, {30}));
  std::filesystem::remove_all(folder);
}

TEST(Gpt2, TheShapeOnlyDeviceNeedsTheSameMemory) {
  const auto peak = [](tensor::Device device) {
    nn::Memory memory(device);
    Gpt2Config config;
    config.vocab_size = 61;
    config.n_positions = 48;
    config.n_embd = 24;
    config.n_layer = 2;
    config.n_head = 3;
    Gpt2 model(config);
    model.parameters().allocate(memory, DType::f32, true);
    grad::Graph graph(memory.activations, memory.encodings, DType::bf16, true);
    ForwardInput input;
    input.ids = Tensor::zeros({3, 16}, DType::i32, memory.activations);
    const Tensor targets = Tensor::zeros({48}, DType::i32, memory.activations);
    const Head head = model.head();
    const grad::Variable loss =
        grad::linear_cross_entropy(graph, model.forward(graph, input).hidden, *head.weight, head.layout, targets, 1.0)
            .loss;
    graph.backward(loss);
    return std::vector<size_t>{memory.parameters.peak_bytes(), memory.gradients.peak_bytes(),
                               memory.encodings.peak_bytes(), memory.activations.peak_bytes()};
  };
  EXPECT_EQ(peak(tensor::Device::meta), peak(tensor::Device::cpu));
}

TEST(Gpt2, RefusesWhatItCannotRun) {
  const auto refuse = [](const char* text, const char* sentence) {
    try {
      make_model(base::parse_json(text, "test"), "config.json");
      FAIL() << text;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(sentence));
    }
  };
  refuse(R"({"model_type": "gpt5"})", "gpt5");
  refuse(R"({"model_type": "gpt2", "n_head": 5, "n_embd": 32})", "not a multiple");
  refuse(R"({"model_type": "gpt2", "n_layer": 0})", "n_layer");
  refuse(R"({"model_type": "gpt2", "n_layer": "two"})", "n_layer");
  refuse(R"({"model_type": "gpt2", "activation_function": "relu"})", "relu");
  refuse(R"({"model_type": "gpt2", "tie_word_embeddings": false})", "tie_word_embeddings");

  const LoadedModel loaded = small_model(DType::f32, false);
  grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, DType::f32, false);
  ForwardInput input;
  input.ids = Tensor::zeros({1, 49}, DType::i32, loaded.memory->activations);
  EXPECT_THROW(loaded.model->forward(graph, input), base::Error);
  input.ids = Tensor::from(std::vector<int32_t>{3, 61}, {1, 2}, loaded.memory->activations);
  EXPECT_THROW(loaded.model->forward(graph, input), base::Error);
}

}  // namespace
}  // namespace fledge::models
