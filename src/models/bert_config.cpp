#include "models/bert_config.h"

#include <array>

#include "base/error.h"

namespace fledge::models {
namespace {

using tensor::Activation;

struct Architecture {
  std::string_view name;
  BertHeads heads;
};
constexpr std::array kArchitectures = {Architecture{"BertModel", BertHeads::none},
                                       Architecture{"BertForMaskedLM", BertHeads::masked},
                                       Architecture{"BertForPreTraining", BertHeads::pretraining}};

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
  if (config.hidden_size % config.num_attention_heads != 0) {
    throw base::Error("{}: hidden_size {} is not a multiple of num_attention_heads {}", origin, config.hidden_size,
                      config.num_attention_heads);
  }
  return config;
}

base::Json BertConfig::to_json() const {
  const auto architecture = kArchitectures[static_cast<size_t>(heads)].name;
  return {{"model_type", "bert"},
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
}

}  // namespace fledge::models
