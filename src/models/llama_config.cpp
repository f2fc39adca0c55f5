#include "models/llama_config.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"

namespace fledge::models {
namespace {

using base::Json;

struct FamilyNames {
  LlamaFamily family;
  const char *model_type, *architecture;
};
constexpr std::array kFamilies = {FamilyNames{LlamaFamily::llama, "llama", "LlamaForCausalLM"},
                                  FamilyNames{LlamaFamily::mistral, "mistral", "MistralForCausalLM"},
                                  FamilyNames{LlamaFamily::qwen2, "qwen2", "Qwen2ForCausalLM"},
                                  FamilyNames{LlamaFamily::qwen3, "qwen3", "Qwen3ForCausalLM"}};

/// What transformers takes where a config.json says nothing.
LlamaConfig defaults_of(const FamilyNames& names) {
  LlamaConfig config;
  config.family = names.family;
  switch (names.family) {
    case LlamaFamily::llama:
      config.bos_token_id = 1;
      config.eos_token_id = 2;
      break;
    case LlamaFamily::mistral:
      config.intermediate_size = 14336;
      config.num_key_value_heads = 8;
      config.max_position_embeddings = 131072;
      config.bos_token_id = 1;
      config.eos_token_id = 2;
      break;
    case LlamaFamily::qwen2:
    case LlamaFamily::qwen3:
      config.vocab_size = 151936;
      config.intermediate_size = 22016;
      config.max_position_embeddings = 32768;
  }
  return config;
}

void require_count(int64_t value, int64_t most, const char* key, const std::string& origin) {
  if (value >= 1 && value <= most) return;
  throw base::Error("{}: {} is {}, expected 1 to {}", origin, key, value, most);
}

/// A token id, several, or null.
Json read_token_ids(const Json& json, const char* key, const Json& fallback, const std::string& origin) {
  const auto found = json.find(key);
  if (found == json.end()) return fallback;
  const bool list =
      found->is_array() && std::ranges::all_of(*found, [](const Json& id) { return id.is_number_integer(); });
  if (list || found->is_null() || found->is_number_integer()) return *found;
  throw base::Error("{}: {} is {}, expected a token id or a list of them", origin, key, found->dump().substr(0, 60));
}

/// The largest window that a layer may have, and 0 for a layer that sees everything.
std::vector<int64_t> read_windows(const Json& json, const LlamaConfig& config, const std::string& origin) {
  constexpr int64_t kUsual = 4096;
  const auto layers = static_cast<size_t>(config.num_hidden_layers);
  std::vector<int64_t> windows(layers, 0);
  if (config.family == LlamaFamily::llama) return windows;
  const bool qwen = config.family != LlamaFamily::mistral;
  if (qwen && !base::json_get(json, "use_sliding_window", false, origin)) return windows;
  if (json.contains("sliding_window") && json["sliding_window"].is_null()) return windows;
  const int64_t window = base::json_get(json, "sliding_window", kUsual, origin);
  require_count(window, int64_t{1} << 40, "sliding_window", origin);
  if (!qwen) return std::vector<int64_t>(layers, window);

  const auto types = json.find("layer_types");
  if (types == json.end() || types->is_null()) {
    const int64_t first = base::json_get(json, "max_window_layers", int64_t{28}, origin);
    for (int64_t layer = std::max<int64_t>(0, first); layer < config.num_hidden_layers; ++layer) {
      windows[static_cast<size_t>(layer)] = window;
    }
    return windows;
  }
  if (!types->is_array() || types->size() != layers) {
    throw base::Error("{}: layer_types is no list of {} names", origin, layers);
  }
  for (size_t layer = 0; layer < layers; ++layer) {
    if ((*types)[layer] == "sliding_attention") {
      windows[layer] = window;
    } else if ((*types)[layer] != "full_attention") {
      throw base::Error("{}: layer_types has {}, expected full_attention or sliding_attention", origin,
                        (*types)[layer].dump().substr(0, 60));
    }
  }
  return windows;
}

void check_sizes(const LlamaConfig& config, const std::string& origin) {
  constexpr int64_t kLargest = int64_t{1} << 24;
  require_count(config.vocab_size, kLargest, "vocab_size", origin);
  require_count(config.hidden_size, kLargest, "hidden_size", origin);
  require_count(config.intermediate_size, kLargest, "intermediate_size", origin);
  require_count(config.num_hidden_layers, 100000, "num_hidden_layers", origin);
  require_count(config.num_attention_heads, 65536, "num_attention_heads", origin);
  require_count(config.num_key_value_heads, config.num_attention_heads, "num_key_value_heads", origin);
  require_count(config.head_dim, 65536, "head_dim", origin);
  require_count(config.max_position_embeddings, kLargest, "max_position_embeddings", origin);
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    throw base::Error("{}: num_attention_heads {} is not a multiple of num_key_value_heads {}", origin,
                      config.num_attention_heads, config.num_key_value_heads);
  }
  if (config.head_dim % 2 != 0) {
    throw base::Error("{}: head_dim is {}; rotary positions need an even one", origin, config.head_dim);
  }
  if (!(config.rms_norm_eps >= 0.0) || !(config.initializer_range >= 0.0)) {
    throw base::Error("{}: rms_norm_eps is {} and initializer_range {}, expected no negative numbers", origin,
                      config.rms_norm_eps, config.initializer_range);
  }
  if (!(config.attention_dropout >= 0.0 && config.attention_dropout < 1.0)) {
    throw base::Error("{}: attention_dropout is {}, expected 0 to below 1", origin, config.attention_dropout);
  }
  // So that no count of elements can overflow.
  constexpr double kMostWeights = 1e15;
  const double wide = static_cast<double>(config.num_attention_heads + config.num_key_value_heads) *
                      static_cast<double>(config.head_dim);
  const double layer =
      static_cast<double>(config.hidden_size) * (2 * wide + 3 * static_cast<double>(config.intermediate_size) + 4);
  if (layer * static_cast<double>(config.num_hidden_layers) > kMostWeights) {
    throw base::Error("{}: a model of {:.1e} weights is beyond every machine", origin,
                      layer * static_cast<double>(config.num_hidden_layers));
  }
}

}  // namespace

LlamaConfig LlamaConfig::from_json(const Json& json, const std::string& origin) {
  const auto type = base::json_require<std::string>(json, "model_type", origin);
  const auto names =
      std::ranges::find_if(kFamilies, [&](const FamilyNames& entry) { return entry.model_type == type; });
  if (names == kFamilies.end()) throw base::Error("{}: the model type \"{}\" is not Llama-like", origin, type);
  LlamaConfig config = defaults_of(*names);
  const auto integer = [&](const char* key, int64_t fallback) { return base::json_get(json, key, fallback, origin); };
  const auto real = [&](const char* key, double fallback) { return base::json_get(json, key, fallback, origin); };
  const auto flag = [&](const char* key, bool fallback) { return base::json_get(json, key, fallback, origin); };
  config.vocab_size = integer("vocab_size", config.vocab_size);
  config.hidden_size = integer("hidden_size", config.hidden_size);
  config.intermediate_size = integer("intermediate_size", config.intermediate_size);
  config.num_hidden_layers = integer("num_hidden_layers", config.num_hidden_layers);
  config.num_attention_heads = integer("num_attention_heads", config.num_attention_heads);
  const bool grouped = config.family != LlamaFamily::llama && !json.contains("num_key_value_heads");
  config.num_key_value_heads =
      integer("num_key_value_heads", grouped ? config.num_key_value_heads : config.num_attention_heads);
  require_count(config.num_attention_heads, 65536, "num_attention_heads", origin);
  const int64_t share = config.hidden_size / config.num_attention_heads;
  const bool own_size = config.family == LlamaFamily::qwen3 && !json.contains("head_dim");
  config.head_dim = integer("head_dim", own_size ? config.head_dim : share);
  config.max_position_embeddings = integer("max_position_embeddings", config.max_position_embeddings);
  config.rms_norm_eps = real("rms_norm_eps", config.rms_norm_eps);
  config.initializer_range = real("initializer_range", config.initializer_range);
  config.attention_dropout = real("attention_dropout", config.attention_dropout);
  config.tie_word_embeddings = flag("tie_word_embeddings", config.tie_word_embeddings);
  if (config.family == LlamaFamily::llama || config.family == LlamaFamily::qwen3) {
    config.projection_bias = config.output_bias = flag("attention_bias", false);
  }
  if (config.family == LlamaFamily::qwen2) config.projection_bias = true;
  if (config.family == LlamaFamily::llama) config.mlp_bias = flag("mlp_bias", false);
  config.bos_token_id = read_token_ids(json, "bos_token_id", config.bos_token_id, origin);
  config.eos_token_id = read_token_ids(json, "eos_token_id", config.eos_token_id, origin);
  config.pad_token_id = read_token_ids(json, "pad_token_id", config.pad_token_id, origin);

  const auto activation = base::json_get<std::string>(json, "hidden_act", "silu", origin);
  if (activation != "silu" && activation != "swish") {
    throw base::Error("{}: hidden_act \"{}\" is not supported; Llama-type models have silu", origin, activation);
  }
  check_sizes(config, origin);
  config.windows = read_windows(json, config, origin);
  config.rotary = nn::RotarySettings::from_json(json, config.max_position_embeddings, origin);
  return config;
}

Json LlamaConfig::to_json() const {
  const FamilyNames& names = *std::ranges::find(kFamilies, family, &FamilyNames::family);
  Json json = {{"model_type", names.model_type},
               {"architectures", {names.architecture}},
               {"vocab_size", vocab_size},
               {"hidden_size", hidden_size},
               {"intermediate_size", intermediate_size},
               {"num_hidden_layers", num_hidden_layers},
               {"num_attention_heads", num_attention_heads},
               {"num_key_value_heads", num_key_value_heads},
               {"head_dim", head_dim},
               {"hidden_act", "silu"},
               {"max_position_embeddings", max_position_embeddings},
               {"rms_norm_eps", rms_norm_eps},
               {"initializer_range", initializer_range},
               {"attention_dropout", attention_dropout},
               {"tie_word_embeddings", tie_word_embeddings},
               {"bos_token_id", bos_token_id},
               {"eos_token_id", eos_token_id},
               {"pad_token_id", pad_token_id}};
  rotary.to_json(json);
  if (family == LlamaFamily::llama || family == LlamaFamily::qwen3) json["attention_bias"] = projection_bias;
  if (family == LlamaFamily::llama) {
    json["mlp_bias"] = mlp_bias;
    return json;
  }
  const int64_t window = windows.empty() ? 0 : std::ranges::max(windows);
  json["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  if (family == LlamaFamily::mistral) return json;
  json["use_sliding_window"] = window > 0;
  Json types = Json::array();
  for (const int64_t of_layer : windows) types.push_back(of_layer > 0 ? "sliding_attention" : "full_attention");
  json["layer_types"] = types;
  return json;
}

}  // namespace fledge::models
