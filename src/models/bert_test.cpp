// BERT against transformers (tests/reference) and against itself: packed documents, old names, files.
#include "models/bert.h"
#include "base/error.h"
#include "base/json.h"

#include <filesystem>

#include "grad/linear_cross_entropy.h"
#include "models/model_io.h"
#include "support/operation_check.h"
#include "support/reference_data.h"

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

/// The reference's batch: rows with padding behind `lengths`.
ForwardInput padded_input(const ReferenceData& data, tensor::Arena& arena) {
  ForwardInput input;
  input.ids = integers(data, "ids", arena);
  input.token_types = integers(data, "token_types", arena);
  std::vector<int32_t> ends;
  for (const int32_t length : data.integers<int32_t>("lengths")) {
    ends.insert(ends.end(), static_cast<size_t>(input.ids.dim(1)), length);
  }
  input.document_ends = Tensor::from(ends, input.ids.shape(), arena);
  return input;
}

/// The same tokens without the padding, one document behind the other in a single row.
ForwardInput packed_input(const ReferenceData& data, tensor::Arena& arena) {
  const auto ids = data.integers<int32_t>("ids"), types = data.integers<int32_t>("token_types");
  const auto lengths = data.integers<int32_t>("lengths");
  const auto width = static_cast<size_t>(data.shape("ids")[1]);
  std::vector<int32_t> columns[5];
  for (size_t row = 0; row < lengths.size(); ++row) {
    const auto start = static_cast<int32_t>(columns[0].size());
    for (int32_t place = 0; place < lengths[row]; ++place) {
      const size_t at = row * width + static_cast<size_t>(place);
      columns[0].push_back(ids[at]);
      columns[1].push_back(types[at]);
      columns[2].push_back(place);
      columns[3].push_back(start);
      columns[4].push_back(start + lengths[row]);
    }
  }
  const tensor::Shape shape{1, static_cast<int64_t>(columns[0].size())};
  ForwardInput input;
  input.ids = Tensor::from(columns[0], shape, arena);
  input.token_types = Tensor::from(columns[1], shape, arena);
  input.positions = Tensor::from(columns[2], shape, arena);
  input.document_starts = Tensor::from(columns[3], shape, arena);
  input.document_ends = Tensor::from(columns[4], shape, arena);
  return input;
}

/// The rows of values [B, T, ...] that are no padding.
std::vector<double> unpadded(const ReferenceData& data, const std::vector<double>& values) {
  const auto lengths = data.integers<int32_t>("lengths");
  const auto tokens = static_cast<size_t>(data.shape("ids")[1]);
  const size_t width = values.size() / (lengths.size() * tokens);
  std::vector<double> kept;
  for (size_t row = 0; row < lengths.size(); ++row) {
    const auto first = values.begin() + static_cast<int64_t>(row * tokens * width);
    kept.insert(kept.end(), first, first + static_cast<int64_t>(static_cast<size_t>(lengths[row]) * width));
  }
  return kept;
}

// f32: every logit is a sum over two layers of sums of a few dozen terms, each rounded to 6e-8.
constexpr std::pair<DType, double> kTolerances[] = {{DType::f64, 1e-6}, {DType::f32, 1e-5}, {DType::bf16, 3e-2}};

TEST(Bert, OutputsMatchTransformersPaddedAndPacked) {
  for (const std::string name : {"bert_pretraining", "bert_encoder"}) {
    const ReferenceData data(name + "_reference");
    for (const auto& [type, tolerance] : kTolerances) {
      const LoadedModel loaded =
          load_model(reference_folder(name), type == DType::f64 ? DType::f64 : DType::f32, false);
      tensor::Arena& arena = loaded.memory->activations;
      for (const bool packs : {false, true}) {
        SCOPED_TRACE(fmt::format("{} {} {}", name, tensor::name_of(type), packs ? "packed" : "padded"));
        grad::Graph graph(arena, loaded.memory->encodings, type, false);
        const ForwardOutput output =
            loaded.model->forward(graph, packs ? packed_input(data, arena) : padded_input(data, arena));
        const bool predicts = loaded.model->predicts_tokens();
        const grad::Variable result = predicts ? logits(graph, *loaded.model, output.hidden) : output.hidden;
        std::vector<double> actual = as_doubles(result.value());
        if (!packs) actual = unpadded(data, actual);
        const std::vector<double> expected = unpadded(data, data.values<double>(predicts ? "logits" : "hidden"));
        EXPECT_LT(relative_error(actual, expected), tolerance);
        const char* other = predicts ? "next_sentence" : "pooled";
        EXPECT_LT(relative_error(as_doubles(output.named.at(other).value()), data.values<double>(other)), tolerance);
      }
    }
  }
}

/// A key's bias adds the same to all scores of a query, so softmax removes it: its gradient is zero but for rounding.
void expect_gradients(const LoadedModel& loaded, const ReferenceData& data, double tolerance) {
  for (const auto& entry : loaded.model->parameters().entries()) {
    grad::Parameter& parameter = *entry.parameter;
    const std::vector<double> actual = as_doubles(parameter.gradient_to_add_to());
    const std::vector<double> expected = data.values<double>("gradients." + parameter.name());
    if (parameter.name().ends_with("key.bias")) {
      for (const double value : actual) EXPECT_NEAR(value, 0.0, 1e-6) << parameter.name();
    } else {
      EXPECT_LT(relative_error(actual, expected), tolerance) << parameter.name();
    }
  }
}

TEST(Bert, LossAndGradientsMatchTransformers) {
  const ReferenceData data("bert_pretraining_reference");
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-5}, {DType::f32, 1e-4}}) {
    SCOPED_TRACE(tensor::name_of(type));
    const LoadedModel loaded = load_model(reference_folder("bert_pretraining"), type, true);
    nn::Memory& memory = *loaded.memory;
    grad::Graph graph(memory.activations, memory.encodings, type, true);
    const Tensor targets = integers(data, "targets", memory.activations).reshape({-1});
    const std::vector<int32_t> labels = targets.to_vector<int32_t>();
    const auto counted = static_cast<double>(std::ranges::count_if(labels, [](int32_t label) { return label >= 0; }));
    const Head head = loaded.model->head();
    const ForwardOutput output = loaded.model->forward(graph, padded_input(data, memory.activations));
    const grad::Variable loss =
        grad::linear_cross_entropy(graph, output.hidden, *head.weight, head.layout, targets, 1.0 / counted, head.bias)
            .loss;
    graph.backward(loss);
    EXPECT_NEAR(as_doubles(loss.value())[0] / data.value("loss"), 1.0, 1e-6);
    expect_gradients(loaded, data, tolerance);
  }
}

TEST(Bert, ThePoolersGradientsMatchTransformers) {
  const ReferenceData data("bert_encoder_reference");
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-5}, {DType::f32, 1e-4}}) {
    for (const bool packs : {false, true}) {
      SCOPED_TRACE(tensor::name_of(type));
      const LoadedModel loaded = load_model(reference_folder("bert_encoder"), type, true);
      tensor::Arena& arena = loaded.memory->activations;
      grad::Graph graph(arena, loaded.memory->encodings, type, true);
      const ForwardOutput output =
          loaded.model->forward(graph, packs ? packed_input(data, arena) : padded_input(data, arena));
      const std::vector<double> values = data.values<double>("seed");
      const std::vector<float> narrow(values.begin(), values.end());
      graph.backward(output.named.at("pooled"), type == DType::f64 ? Tensor::from(values, data.shape("seed"), arena)
                                                                   : Tensor::from(narrow, data.shape("seed"), arena));
      expect_gradients(loaded, data, tolerance);
    }
  }
}

BertConfig small_config(BertHeads heads) {
  BertConfig config;
  config.vocab_size = 61;
  config.max_position_embeddings = 32;
  config.hidden_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 3;
  config.intermediate_size = 40;
  config.heads = heads;
  return config;
}

/// Loss and gradients in bf16 of a small model, dropout on.
std::vector<double> bf16_gradients(uint64_t seed, double dropout) {
  nn::Memory memory;
  BertConfig config = small_config(BertHeads::masked);
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout;
  config.initializer_range = 0.2;
  Bert model(config);
  model.parameters().allocate(memory, DType::f32, true);
  model.parameters().initialize(3);
  grad::Graph graph(memory.activations, memory.encodings, DType::bf16, true);
  graph.set_random_state({.seed = seed, .step = 1, .first_sample = 0});
  std::vector<int32_t> ids(40), targets(40, -100);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 7 % 61);
  for (size_t i = 0; i < ids.size(); i += 3) targets[i] = static_cast<int32_t>(i % 61);
  ForwardInput input;
  input.ids = Tensor::from(ids, {2, 20}, memory.activations);
  const Head head = model.head();
  const grad::Variable loss =
      grad::linear_cross_entropy(graph, model.forward(graph, input).hidden, *head.weight, head.layout,
                                 Tensor::from(targets, {40}, memory.activations), 1.0 / 14.0, head.bias)
          .loss;
  graph.backward(loss);
  return as_doubles(model.parameters().flat_gradients());
}

TEST(Bert, DropoutIsAFunctionOfTheSeed) {
  EXPECT_EQ(bf16_gradients(5, 0.1), bf16_gradients(5, 0.1));
  EXPECT_GT(relative_error(bf16_gradients(5, 0.1), bf16_gradients(6, 0.1)), 0.1);
  EXPECT_GT(relative_error(bf16_gradients(5, 0.1), bf16_gradients(5, 0.0)), 0.1);
}

TEST(Bert, TheShapeOnlyDeviceNeedsTheSameMemory) {
  const auto peak = [](tensor::Device device) {
    nn::Memory memory(device);
    Bert model(small_config(BertHeads::pretraining));
    model.parameters().allocate(memory, DType::f32, true);
    grad::Graph graph(memory.activations, memory.encodings, DType::bf16, true);
    ForwardInput input;
    input.ids = Tensor::zeros({3, 16}, DType::i32, memory.activations);
    const Tensor targets = Tensor::zeros({48}, DType::i32, memory.activations);
    const Head head = model.head();
    const grad::Variable loss = grad::linear_cross_entropy(graph, model.forward(graph, input).hidden, *head.weight,
                                                           head.layout, targets, 1.0, head.bias)
                                    .loss;
    graph.backward(loss);
    return std::vector<size_t>{memory.parameters.peak_bytes(), memory.gradients.peak_bytes(),
                               memory.encodings.peak_bytes(), memory.activations.peak_bytes()};
  };
  EXPECT_EQ(peak(tensor::Device::meta), peak(tensor::Device::cpu));
}

/// Writes the model's tensors under names made by `rename`, and an extra position list.
void save_renamed(const LanguageModel& model, const std::filesystem::path& folder,
                  const std::function<std::string(std::string)>& rename) {
  save_model(model, folder);
  tensor::Arena arena("test");
  std::vector<NamedTensor> tensors;
  for (const auto& entry : model.parameters().entries()) {
    tensors.push_back({rename(entry.parameter->name()), entry.parameter->value()});
  }
  tensors.push_back({rename("bert.embeddings.position_ids"), Tensor::zeros({1, 32}, DType::i64, arena)});
  write_safetensors(folder / kWeightsFile, tensors, {});
}

void expect_own_and_old_files(BertHeads heads) {
  LoadedModel saved;
  saved.memory = std::make_unique<nn::Memory>();
  BertConfig config = small_config(heads);
  config.labels = {"no", "yes", "\u00e9"};
  config.classifier_dropout = 0.25;
  saved.model = std::make_unique<Bert>(config);
  saved.model->parameters().allocate(*saved.memory, DType::f32, false);
  saved.model->parameters().initialize(11);
  const auto old_name = [](std::string name) {
    for (const auto& [now, old] :
         {std::pair{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}}) {
      if (name.ends_with(now)) name.replace(name.size() - std::string(now).size(), std::string::npos, old);
    }
    return name.starts_with("bert.") ? name.substr(5) : name;
  };
  const auto folder = std::filesystem::path(testing::TempDir()) / "bert_round_trip";
  std::filesystem::create_directories(folder);
  for (const bool old : {false, true}) {
    if (old) {
      save_renamed(*saved.model, folder, old_name);
    } else {
      save_model(*saved.model, folder);
    }
    const LoadedModel loaded = load_model(folder, DType::f32, false);
    EXPECT_EQ(loaded.model->config(), saved.model->config());
    for (const auto& entry : saved.model->parameters().entries()) {
      const grad::Parameter* other = loaded.model->parameters().find(entry.parameter->name());
      EXPECT_EQ(as_doubles(other->value()), as_doubles(entry.parameter->value())) << entry.parameter->name();
    }
  }
  std::filesystem::remove_all(folder);
}

TEST(Bert, ReadsItsOwnFilesAndThoseWithOldNames) {
  for (const BertHeads heads :
       {BertHeads::pretraining, BertHeads::sequence_classification, BertHeads::token_classification}) {
    expect_own_and_old_files(heads);
  }
}

TEST(Bert, TheHeadOfChosenRowsIsTheHeadOfAllAtThoseRows) {
  const LoadedModel loaded = load_model(reference_folder("bert_pretraining"), DType::f32, false);
  const ReferenceData data("bert_pretraining_reference");
  tensor::Arena& arena = loaded.memory->activations;
  grad::Graph graph(arena, loaded.memory->encodings, DType::f32, false);
  ForwardInput input = packed_input(data, arena);
  const Tensor all = loaded.model->forward(graph, input).hidden.value();
  input.head_rows = Tensor::from(std::vector<int32_t>{1, 5, 9}, {3}, arena);
  const Tensor some = loaded.model->forward(graph, input).hidden.value();
  ASSERT_EQ(some.shape(), (tensor::Shape{3, 30}));
  const std::vector<float> every = all.to_vector<float>(), chosen = some.to_vector<float>();
  for (size_t row = 0; row < 3; ++row) {
    const size_t place = 1 + 4 * row;
    for (size_t column = 0; column < 30; ++column) EXPECT_EQ(chosen[row * 30 + column], every[place * 30 + column]);
  }
}

TEST(Bert, RefusesWhatItCannotRun) {
  const auto refuse = [](const char* text, const char* sentence) {
    try {
      make_model(base::parse_json(text, "test"), "config.json");
      FAIL() << text;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(sentence));
    }
  };
  refuse(R"({"model_type": "bert", "num_attention_heads": 5})", "not a multiple");
  refuse(R"({"model_type": "bert", "num_hidden_layers": 0})", "num_hidden_layers");
  refuse(R"({"model_type": "bert", "hidden_act": "relu"})", "relu");
  refuse(R"({"model_type": "bert", "position_embedding_type": "relative_key"})", "relative_key");
  refuse(R"({"model_type": "bert", "architectures": ["BertForQuestionAnswering"]})", "BertForQuestionAnswering");
  refuse(R"({"model_type": "bert", "architectures": 3})", "architectures");
  refuse(R"({"model_type": "bert", "is_decoder": true})", "decoder");
  const auto refuse_labels = [&](const std::string& keys, const char* sentence) {
    refuse((R"({"model_type": "bert", "architectures": ["BertForSequenceClassification"], )" + keys + "}").c_str(),
           sentence);
  };
  refuse_labels(R"("id2label": {"0": "a", "2": "b"})", "no \"1\" is among them");
  refuse_labels(R"("id2label": {})", "0 labels");
  refuse_labels(R"("id2label": [])", "id2label is not an object");
  refuse_labels(R"("num_labels": 70000)", "70000 labels");
  refuse_labels(R"("problem_type": "multi_label_classification")", "multi_label_classification");
  refuse_labels(R"("problem_type": "regression")", "2 labels instead of one");
  refuse_labels(R"("classifier_dropout": 1.5)", "classifier_dropout");

  nn::Memory memory;
  Bert model(small_config(BertHeads::none));
  model.parameters().allocate(memory, DType::f32, false);
  EXPECT_THROW(model.head(), base::Error);
  EXPECT_THROW(model.state_layout(), base::Error);
  grad::Graph graph(memory.activations, memory.encodings, DType::f32, false);
  ForwardInput input;
  input.ids = Tensor::zeros({1, 33}, DType::i32, memory.activations);
  EXPECT_THROW(model.forward(graph, input), base::Error);
  input.ids = Tensor::zeros({1, 4}, DType::i32, memory.activations);
  input.document_starts = Tensor::zeros({1, 4}, DType::i32, memory.activations);
  EXPECT_THROW(model.forward(graph, input), base::Error);
  input.document_starts = {};
  input.token_types = Tensor::from(std::vector<int32_t>{0, 0, 2, 0}, {1, 4}, memory.activations);
  EXPECT_THROW(model.forward(graph, input), base::Error);
}

}  // namespace
}  // namespace fledge::models
