#include "models/bert_config.h"

#include <array>

#include "base/error.h"
#include "base/json.h"

namespace fledge::models {
namespace {

using tensor::Activation;

struct Architecture {
  std::string_view name;
  BertHeads heads;
};
constexpr std::array kArchitectures = {
    Architecture{"BertModel", BertHeads::none}, Architecture{"BertForMaskedLM", BertHeads::masked},
    Architecture{"BertForPreTraining", BertHeads::pretraining},
    Architecture{"BertForSequenceClassification", BertHeads::sequence_classification},
    Architecture{"BertForTokenClassification", BertHeads::token_classification}};

Activation parse_activation(const std::string& name, const std::string& origin) {
  if (name == "gelu") return Activation::gelu_exact;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  throw base::Error("{}: hidden_act \"{}\" is not supported; it can be gelu, gelu_new or gelu_pytorch_tanh", origin,
                    name);
}

BertHeads parse_architecture(const base::Json& json, const std::string& origin) {
  const auto named = json.find("architectures");
  if (named == json.end() || named->is_null()) return BertHeads::masked;
  if (!named->is_array() || named->size() != 1 || !named->front().is_string()) {
    throw base::Error("{}: architectures is {}, expected a list of one name", origin, named->dump());
  }
  const std::string name = named->front().get<std::string>();
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return architecture.heads;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", architecture.name);
  }
  throw base::Error("{}: the architecture \"{}\" is not supported; it can be {}", origin, name, known);
}

/// The names in id2label ({"0": "negative", ...}), or LABEL_0 and so on where there are only `num_labels`, or nothing.
std::vector<std::string> parse_labels(const base::Json& json, const std::string& origin) {
  constexpr int64_t kMostLabels = 1 << 16;
  const auto named = json.find("id2label");
  const bool has_names = named != json.end() && !named->is_null();
  if (has_names && !named->is_object()) throw base::Error("{}: id2label is not an object of ids and names", origin);
  const int64_t count =
      has_names ? static_cast<int64_t>(named->size()) : base::json_get<int64_t>(json, "num_labels", 2, origin);
  if (count < 1 || count > kMostLabels) {
    throw base::Error("{}: the head has {} labels, expected 1 to {}", origin, count, kMostLabels);
  }
  std::vector<std::string> labels;
  for (int64_t id = 0; id < count; ++id) {
    if (!has_names) {
      labels.push_back(fmt::format("LABEL_{}", id));
      continue;
    }
    const auto name = named->find(std::to_string(id));
    if (name == named->end() || !name->is_string()) {
      throw base::Error("{}: id2label names {} labels, but no \"{}\" is among them", origin, count, id);
    }
    labels.push_back(name->get<std::string>());
  }
  return labels;
}

std::string parse_problem_type(const base::Json& json, const BertConfig& config, const std::string& origin) {
  const auto given = json.find("problem_type");
  if (given == json.end() || given->is_null()) return "";
  const auto type = base::json_require<std::string>(json, "problem_type", origin);
  if (type != "single_label_classification" && type != "regression") {
    throw base::Error(
        "{}: the problem_type \"{}\" is not supported; it can be single_label_classification or regression", origin,
        type);
  }
  if (type == "regression" && config.labels.size() != 1) {
    throw base::Error("{}: the problem_type is regression, but the head has {} labels instead of one", origin,
                      config.labels.size());
  }
  return type;
}

void parse_classifier(const base::Json& json, BertConfig& config, const std::string& origin) {
  config.labels = parse_labels(json, origin);
  config.problem_type = parse_problem_type(json, config, origin);
  const auto dropout = json.find("classifier_dropout");
  if (dropout == json.end() || dropout->is_null()) return;
  config.classifier_dropout = base::json_require<double>(json, "classifier_dropout", origin);
  if (!(config.classifier_dropout >= 0.0 && config.classifier_dropout < 1.0)) {
    throw base::Error("{}: classifier_dropout is {}, expected 0 or more and less than 1", origin,
                      config.classifier_dropout);
  }
}

void require_positive(int64_t value, const char* key, const std::string& origin) {
  constexpr int64_t kLargest = int64_t{1} << 24;
  if (value < 1 || value > kLargest) {
    throw base::Error("{}: {} is {}, expected 1 to {}", origin, key, value, kLargest);
  }
}

void refuse_other_forms(const base::Json& json, const std::string& origin) {
  const auto positions = base::json_get<std::string>(json, "position_embedding_type", "absolute", origin);
  if (positions != "absolute") {
    throw base::Error("{}: position_embedding_type \"{}\" is not supported; it can be absolute", origin, positions);
  }
  if (base::json_get(json, "is_decoder", false, origin) || base::json_get(json, "add_cross_attention", false, origin)) {
    throw base::Error("{}: a BERT that is a decoder is not supported", origin);
  }
  if (!base::json_get(json, "tie_word_embeddings", true, origin)) {
    throw base::Error("{}: tie_word_embeddings is false; fledge's BERT has a tied head", origin);
  }
}

}  // namespace

BertConfig BertConfig::from_json(const base::Json& json, const std::string& origin) {
  BertConfig config;
  const auto integer = [&](const char* key, int64_t fallback) { return base::json_get(json, key, fallback, origin); };
  const auto real = [&](const char* key, double fallback) { return base::json_get(json, key, fallback, origin); };
  const auto size = [&](const char* key, int64_t& value) {
    value = integer(key, value);
    require_positive(value, key, origin);
  };
  size("vocab_size", config.vocab_size);
  size("hidden_size", config.hidden_size);
  size("num_hidden_layers", config.num_hidden_layers);
  size("num_attention_heads", config.num_attention_heads);
  size("intermediate_size", config.intermediate_size);
  size("max_position_embeddings", config.max_position_embeddings);
  size("type_vocab_size", config.type_vocab_size);
  config.activation = parse_activation(base::json_get<std::string>(json, "hidden_act", "gelu", origin), origin);
  config.layer_norm_eps = real("layer_norm_eps", config.layer_norm_eps);
  config.initializer_range = real("initializer_range", config.initializer_range);
  config.hidden_dropout_prob = real("hidden_dropout_prob", config.hidden_dropout_prob);
  config.attention_probs_dropout_prob = real("attention_probs_dropout_prob", config.attention_probs_dropout_prob);
  config.pad_token_id = integer("pad_token_id", config.pad_token_id);
  config.heads = parse_architecture(json, origin);
  refuse_other_forms(json, origin);
  if (config.classifies()) parse_classifier(json, config, origin);
  if (config.hidden_size % config.num_attention_heads != 0) {
    throw base::Error("{}: hidden_size {} is not a multiple of num_attention_heads {}", origin, config.hidden_size,
                      config.num_attention_heads);
  }
  return config;
}

base::Json BertConfig::to_json() const {
  const auto architecture = kArchitectures[static_cast<size_t>(heads)].name;
  base::Json json = {{"model_type", "bert"},
                     {"architectures", {architecture}},
                     {"vocab_size", vocab_size},
                     {"hidden_size", hidden_size},
                     {"num_hidden_layers", num_hidden_layers},
                     {"num_attention_heads", num_attention_heads},
                     {"intermediate_size", intermediate_size},
                     {"hidden_act", activation == Activation::gelu_exact ? "gelu" : "gelu_new"},
                     {"max_position_embeddings", max_position_embeddings},
                     {"type_vocab_size", type_vocab_size},
                     {"layer_norm_eps", layer_norm_eps},
                     {"initializer_range", initializer_range},
                     {"hidden_dropout_prob", hidden_dropout_prob},
                     {"attention_probs_dropout_prob", attention_probs_dropout_prob},
                     {"position_embedding_type", "absolute"},
                     {"tie_word_embeddings", true},
                     {"pad_token_id", pad_token_id}};
  if (!classifies()) return json;
  base::Json names = base::Json::object(), ids = base::Json::object();
  for (size_t id = 0; id < labels.size(); ++id) {
    names[std::to_string(id)] = labels[id];
    ids[labels[id]] = id;
  }
  json["id2label"] = std::move(names);
  json["label2id"] = std::move(ids);
  if (!problem_type.empty()) json["problem_type"] = problem_type;
  if (classifier_dropout >= 0.0) json["classifier_dropout"] = classifier_dropout;
  return json;
}

}  // namespace fledge::models
