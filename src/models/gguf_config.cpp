#include "models/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/json.h"
#include "models/gguf_names.h"
#include "models/llama_config.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;

/// The file's metadata with the architecture's prefix.
class Values {
 public:
  explicit Values(const GgufReader& file)
      : file_(file), architecture_(file.metadata().require<std::string>("general.architecture", file.origin())) {
    GgufNames::of_architecture(architecture_, file.origin());
  }

  const std::string& architecture() const { return architecture_; }
  bool has(const std::string& key) const { return file_.metadata().contains(architecture_ + "." + key); }
  template <typename T>
  T require(const std::string& key) const {
    return file_.metadata().require<T>(architecture_ + "." + key, file_.origin());
  }
  template <typename T>
  T get(const std::string& key, T fallback) const {
    return file_.metadata().get<T>(architecture_ + "." + key, fallback, file_.origin());
  }

 private:
  const GgufReader& file_;
  std::string architecture_;
};

/// f32 widened to the shortest decimal number that gives the same f32: 1e-5, not 9.999999747378752e-06.
double shortest(double value) {
  return std::stod(fmt::format("{}", static_cast<float>(value)));
}

int64_t vocabulary_of(const GgufReader& file) {
  const GgufTensor& table = file.info("token_embd.weight");
  if (table.shape.rank() != 2) throw Error("{}: token_embd.weight has the shape {}", file.origin(), table.shape.text());
  return table.shape[0];
}

void add_token_ids(const GgufReader& file, Json& config) {
  for (const auto& [key, name] :
       {std::pair{"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"padding", "pad_token_id"}}) {
    const std::string full = fmt::format("tokenizer.ggml.{}_token_id", key);
    if (file.metadata().contains(full)) config[name] = file.metadata().require<int64_t>(full, file.origin());
  }
}

std::vector<float> llama3_factors(double factor, double low, double high, double original, double theta, int64_t size) {
  std::vector<float> factors;
  for (int64_t index = 0; index < size / 2; ++index) {
    const double exponent = 2.0 * static_cast<double>(index) / static_cast<double>(size);
    const double wavelength = 2.0 * std::numbers::pi * std::pow(theta, exponent);
    double value = 1.0;
    if (wavelength > original / low) {
      value = factor;
    } else if (wavelength >= original / high) {
      const double smooth = (original / wavelength - low) / (high - low);
      value = 1.0 / ((1.0 - smooth) / factor + smooth);
    }
    factors.push_back(static_cast<float>(value));
  }
  return factors;
}

/// Where fledge says of what the divisors of rotary frequencies were made; others write the divisors alone.
constexpr const char* kScalingKey = "fledge.rope_scaling";

/// The file has the divisors of the frequencies. They are those of Llama 3.1 with one of its factors, or what
/// kScalingKey says, or refused.
Json scaling_of_factors(const GgufReader& file, double theta, int64_t head_size) {
  const GgufTensor& stored = file.info("rope_freqs.weight");
  tensor::Arena arena("rotary factors");
  const tensor::Tensor values = tensor::Tensor::empty(stored.shape, tensor::DType::f32, arena);
  file.read_into(stored.name, values);
  const std::vector<float> given = values.to_vector<float>();
  Json scaling = {{"rope_type", "llama3"},
                  {"factor", given.empty() ? 1.0f : std::ranges::max(given)},
                  {"low_freq_factor", 1.0},
                  {"high_freq_factor", 4.0},
                  {"original_max_position_embeddings", 8192}};
  if (file.metadata().contains(kScalingKey)) {
    scaling = base::parse_json(file.metadata().require<std::string>(kScalingKey, file.origin()), file.origin());
  }
  const auto real = [&](const char* key) { return base::json_require<double>(scaling, key, file.origin()); };
  const std::vector<float> expected = llama3_factors(real("factor"), real("low_freq_factor"), real("high_freq_factor"),
                                                     real("original_max_position_embeddings"), theta, head_size);
  // The converter computes in f32.
  const auto near = [](float a, float b) { return std::abs(a - b) <= 1e-4f * std::abs(b); };
  if (!std::ranges::equal(given, expected, near)) {
    throw Error("{}: rope_freqs.weight is not the scaling of Llama 3.1, the only one of this kind that is read",
                file.origin());
  }
  return scaling;
}

void add_rotary(const GgufReader& file, const Values& values, int64_t head_size, Json& config) {
  const double theta = shortest(values.get<double>("rope.freq_base", 10000.0));
  const int64_t turned = values.get<int64_t>("rope.dimension_count", head_size);
  if (turned != head_size) {
    throw Error("{}: positions turn {} of a head's {} elements; only whole heads are supported", file.origin(), turned,
                head_size);
  }
  config["rope_theta"] = theta;
  config["rope_scaling"] = nullptr;
  if (file.contains("rope_freqs.weight")) config["rope_scaling"] = scaling_of_factors(file, theta, head_size);
  const auto kind = values.get<std::string>("rope.scaling.type", "none");
  if (kind == "none") return;
  if (kind != "linear" && kind != "yarn") {
    throw Error("{}: the scaling \"{}\" of rotary positions is not supported; linear, yarn and Llama 3.1's are",
                file.origin(), kind);
  }
  Json scaling = {{"rope_type", kind}, {"factor", shortest(values.get<double>("rope.scaling.factor", 1.0))}};
  if (values.has("rope.scaling.original_context_length")) {
    scaling["original_max_position_embeddings"] = values.require<int64_t>("rope.scaling.original_context_length");
  }
  if (kind == "yarn") {
    for (const char* key : {"beta_fast", "beta_slow"}) {
      const std::string full = std::string("rope.scaling.yarn_") + key;
      if (values.has(full)) scaling[key] = shortest(values.require<double>(full));
    }
    for (const char* key : {"attn_factor", "yarn_attn_factor", "yarn_ext_factor"}) {
      const double factor = values.get<double>(std::string("rope.scaling.") + key, 1.0);
      if (factor != 1.0) throw Error("{}: rope.scaling.{} is {}; only 1 is supported", file.origin(), key, factor);
    }
  }
  config["rope_scaling"] = scaling;
}

/// Layers that see the last tokens alone. A Llama with a window is a Mistral.
void add_windows(const GgufReader& file, const Values& values, Json& config) {
  const std::string key = values.architecture() + ".attention.sliding_window";
  const int64_t window = values.get<int64_t>("attention.sliding_window", 0);
  const Json* pattern = file.metadata().array(key + "_pattern", GgufValueType::boolean, file.origin());
  const auto layers = config["num_hidden_layers"].get<int64_t>();
  if (pattern != nullptr && static_cast<int64_t>(pattern->size()) != layers) {
    throw Error("{}: {}_pattern has {} values for {} layers", file.origin(), key, pattern->size(), layers);
  }
  if (window <= 0) return;
  if (values.architecture() != "llama") {
    config["use_sliding_window"] = true;
    config["sliding_window"] = window;
    if (pattern == nullptr) {
      config["max_window_layers"] = 0;
      return;
    }
    for (const Json& has_window : *pattern) {
      config["layer_types"].push_back(has_window.get<bool>() ? "sliding_attention" : "full_attention");
    }
    return;
  }
  const bool everywhere =
      pattern == nullptr || std::ranges::all_of(*pattern, [](const Json& one) { return one == true; });
  if (!everywhere || config["attention_bias"] == true || config["mlp_bias"] == true) {
    throw Error("{}: a Llama with a sliding window in some layers, or with biases, is not supported", file.origin());
  }
  config["model_type"] = "mistral";
  config["architectures"] = {"MistralForCausalLM"};
  config["sliding_window"] = window;
  config.erase("attention_bias");
  config.erase("mlp_bias");
}

Json llama_config(const GgufReader& file, const Values& values) {
  const std::string& name = values.architecture();
  const auto width = values.require<int64_t>("embedding_length"),
             heads = values.require<int64_t>("attention.head_count");
  if (heads < 1) throw Error("{}: {}.attention.head_count is {}", file.origin(), name, heads);
  if (values.get<int64_t>("expert_count", 0) > 0) {
    throw Error("{}: is a mixture of experts, which is not supported", file.origin());
  }
  const int64_t head_size = values.get<int64_t>("attention.key_length", width / heads);
  if (values.get<int64_t>("attention.value_length", head_size) != head_size) {
    throw Error("{}: keys and values of different sizes are not supported", file.origin());
  }
  Json config = {{"model_type", name},
                 {"architectures",
                  {name == "qwen2"   ? "Qwen2ForCausalLM"
                   : name == "qwen3" ? "Qwen3ForCausalLM"
                                     : "LlamaForCausalLM"}},
                 {"vocab_size", vocabulary_of(file)},
                 {"hidden_size", width},
                 {"intermediate_size", values.require<int64_t>("feed_forward_length")},
                 {"num_hidden_layers", values.require<int64_t>("block_count")},
                 {"num_attention_heads", heads},
                 {"num_key_value_heads", values.get<int64_t>("attention.head_count_kv", heads)},
                 {"head_dim", head_size},
                 {"hidden_act", "silu"},
                 {"max_position_embeddings", values.require<int64_t>("context_length")},
                 {"rms_norm_eps", shortest(values.require<double>("attention.layer_norm_rms_epsilon"))},
                 {"tie_word_embeddings", !file.contains("output.weight")}};
  if (name == "qwen3") config["attention_bias"] = file.contains("blk.0.attn_q.bias");
  if (name == "llama") {
    config["attention_bias"] = file.contains("blk.0.attn_q.bias");
    config["mlp_bias"] = file.contains("blk.0.ffn_up.bias");
  }
  add_rotary(file, values, head_size, config);
  add_windows(file, values, config);
  return config;
}

Json gpt2_config(const GgufReader& file, const Values& values) {
  return {{"model_type", "gpt2"},
          {"architectures", {"GPT2LMHeadModel"}},
          {"vocab_size", vocabulary_of(file)},
          {"n_positions", values.require<int64_t>("context_length")},
          {"n_ctx", values.require<int64_t>("context_length")},
          {"n_embd", values.require<int64_t>("embedding_length")},
          {"n_layer", values.require<int64_t>("block_count")},
          {"n_head", values.require<int64_t>("attention.head_count")},
          {"n_inner", values.require<int64_t>("feed_forward_length")},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", shortest(values.require<double>("attention.layer_norm_epsilon"))}};
}

/// The format has no key for BERT's activation, and others take it for "gelu".
constexpr const char* kActivationKey = "fledge.hidden_act";

Json bert_config(const GgufReader& file, const Values& values) {
  return {{"model_type", "bert"},
          {"architectures", {"BertModel"}},
          {"vocab_size", vocabulary_of(file)},
          {"hidden_size", values.require<int64_t>("embedding_length")},
          {"intermediate_size", values.require<int64_t>("feed_forward_length")},
          {"num_hidden_layers", values.require<int64_t>("block_count")},
          {"num_attention_heads", values.require<int64_t>("attention.head_count")},
          {"max_position_embeddings", values.require<int64_t>("context_length")},
          {"type_vocab_size", file.metadata().get<int64_t>("tokenizer.ggml.token_type_count", 2, file.origin())},
          {"hidden_act", file.metadata().get<std::string>(kActivationKey, "gelu", file.origin())},
          {"layer_norm_eps", shortest(values.require<double>("attention.layer_norm_epsilon"))}};
}

/// Hugging Face keeps the rotary settings at the top (older) or under "rope_parameters".
Json rotary_of(const Json& config) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto found = config.find(key);
    if (found != config.end() && found->is_object() && !found->empty()) return *found;
  }
  return Json::object();
}

std::string kind_of(const Json& rotary, const std::string& origin) {
  return base::json_get(rotary, "rope_type", base::json_get<std::string>(rotary, "type", "default", origin), origin);
}

double theta_of(const Json& config, const std::string& origin) {
  return base::json_get(rotary_of(config), "rope_theta", base::json_get(config, "rope_theta", 10000.0, origin), origin);
}

int64_t head_size_of(const Json& config, const std::string& origin) {
  const auto width = base::json_require<int64_t>(config, "hidden_size", origin);
  return base::json_get(config, "head_dim", width / heads_of(config, origin).query, origin);
}

void write_windows(const Json& config, const std::string& prefix, const std::string& origin, GgufMetadata& metadata) {
  const std::vector<int64_t> windows = LlamaConfig::from_json(config, origin).windows;
  const int64_t window = windows.empty() ? 0 : std::ranges::max(windows);
  if (window == 0) return;
  metadata.set_u32(prefix + "attention.sliding_window", window);
  if (std::ranges::count(windows, window) == static_cast<int64_t>(windows.size())) return;
  Json pattern = Json::array();
  for (const int64_t one : windows) pattern.push_back(one != 0);
  metadata.set_array(prefix + "attention.sliding_window_pattern", GgufValueType::boolean, std::move(pattern));
}

void add_llama(const Json& config, const std::string& prefix, const std::string& origin, GgufMetadata& metadata) {
  const auto integer = [&](const char* key) { return base::json_require<int64_t>(config, key, origin); };
  const GgufHeads heads = heads_of(config, origin);
  const int64_t size = head_size_of(config, origin);
  metadata.set_u32(prefix + "context_length", base::json_get<int64_t>(config, "max_position_embeddings", 2048, origin));
  metadata.set_u32(prefix + "embedding_length", integer("hidden_size"));
  metadata.set_u32(prefix + "feed_forward_length", integer("intermediate_size"));
  metadata.set_u32(prefix + "attention.head_count", heads.query);
  metadata.set_u32(prefix + "attention.head_count_kv", heads.key);
  metadata.set_u32(prefix + "attention.key_length", size);
  metadata.set_u32(prefix + "attention.value_length", size);
  metadata.set_f32(prefix + "attention.layer_norm_rms_epsilon", base::json_get(config, "rms_norm_eps", 1e-6, origin));
  metadata.set_u32(prefix + "vocab_size", integer("vocab_size"));
  metadata.set_u32(prefix + "rope.dimension_count", size);
  metadata.set_f32(prefix + "rope.freq_base", theta_of(config, origin));
  write_windows(config, prefix, origin, metadata);
  const Json rotary = rotary_of(config);
  const std::string kind = kind_of(rotary, origin);
  if (kind == "llama3") {
    Json kept = {{"rope_type", kind}};
    for (const char* key : {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
      kept[key] = rotary.value(key, Json());
    }
    metadata.set_string(kScalingKey, kept.dump());
  }
  if (kind == "default" || kind == "llama3") return;
  if (kind != "linear" && kind != "yarn") {
    throw Error("{}: the scaling \"{}\" of rotary positions has no place in a GGUF file", origin, kind);
  }
  metadata.set_string(prefix + "rope.scaling.type", kind);
  metadata.set_f32(prefix + "rope.scaling.factor", base::json_require<double>(rotary, "factor", origin));
  if (rotary.contains("original_max_position_embeddings")) {
    metadata.set_u32(prefix + "rope.scaling.original_context_length",
                     base::json_require<int64_t>(rotary, "original_max_position_embeddings", origin));
  }
  if (kind != "yarn") return;
  for (const char* key : {"beta_fast", "beta_slow"}) {
    const std::string full = fmt::format("{}rope.scaling.yarn_{}", prefix, key);
    if (rotary.contains(key)) metadata.set_f32(full, base::json_require<double>(rotary, key, origin));
  }
  for (const char* key : {"attention_factor", "mscale", "mscale_all_dim", "truncate"}) {
    if (rotary.value(key, Json()).is_null() || rotary[key] == true) continue;
    throw Error("{}: \"{}\" of the scaling yarn has no place in a GGUF file", origin, key);
  }
}

void add_gpt2(const Json& config, const std::string& prefix, const std::string& origin, GgufMetadata& metadata) {
  const auto width = base::json_require<int64_t>(config, "n_embd", origin);
  const auto activation = base::json_get<std::string>(config, "activation_function", "gelu_new", origin);
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh") {
    throw Error("{}: a GPT-2 in a GGUF file has the activation gelu_new, and this one has {}", origin, activation);
  }
  metadata.set_u32(prefix + "context_length", base::json_get<int64_t>(config, "n_positions", 1024, origin));
  metadata.set_u32(prefix + "embedding_length", width);
  metadata.set_u32(prefix + "feed_forward_length", base::json_get<int64_t>(config, "n_inner", 4 * width, origin));
  metadata.set_u32(prefix + "attention.head_count", base::json_require<int64_t>(config, "n_head", origin));
  metadata.set_f32(prefix + "attention.layer_norm_epsilon", base::json_get(config, "layer_norm_epsilon", 1e-5, origin));
}

void add_bert(const Json& config, const std::string& prefix, const std::string& origin, GgufMetadata& metadata) {
  const auto integer = [&](const char* key) { return base::json_require<int64_t>(config, key, origin); };
  metadata.set_u32(prefix + "context_length", integer("max_position_embeddings"));
  metadata.set_u32(prefix + "embedding_length", integer("hidden_size"));
  metadata.set_u32(prefix + "feed_forward_length", integer("intermediate_size"));
  metadata.set_u32(prefix + "attention.head_count", integer("num_attention_heads"));
  metadata.set_f32(prefix + "attention.layer_norm_epsilon", base::json_get(config, "layer_norm_eps", 1e-12, origin));
  metadata.set_bool(prefix + "attention.causal", false);
  const auto activation = base::json_get<std::string>(config, "hidden_act", "gelu", origin);
  if (activation != "gelu") metadata.set_string(kActivationKey, activation);
  metadata.set_u32("tokenizer.ggml.token_type_count", base::json_get<int64_t>(config, "type_vocab_size", 2, origin));
}

}  // namespace

Json config_of_gguf(const GgufReader& file) {
  const Values values(file);
  const std::string& name = values.architecture();
  Json config = name == "gpt2"   ? gpt2_config(file, values)
                : name == "bert" ? bert_config(file, values)
                                 : llama_config(file, values);
  add_token_ids(file, config);
  return config;
}

Json generation_config_of_gguf(const GgufReader& file) {
  Json config = Json::object();
  add_token_ids(file, config);
  return config;
}

GgufMetadata gguf_of_config(const Json& config, const std::string& name, const std::string& origin) {
  const auto type = base::json_require<std::string>(config, "model_type", origin);
  const std::string architecture = GgufNames::of_model_type(type, origin).architecture(), prefix = architecture + ".";
  GgufMetadata metadata;
  metadata.set_string("general.architecture", architecture);
  metadata.set_string("general.type", "model");
  metadata.set_string("general.name", name);
  const char* layers = architecture == "gpt2" ? "n_layer" : "num_hidden_layers";
  metadata.set_u32(prefix + "block_count", base::json_require<int64_t>(config, layers, origin));
  if (architecture == "gpt2") {
    add_gpt2(config, prefix, origin, metadata);
  } else if (architecture == "bert") {
    add_bert(config, prefix, origin, metadata);
  } else {
    add_llama(config, prefix, origin, metadata);
  }
  return metadata;
}

std::vector<float> rope_factors(const Json& config, const std::string& origin) {
  const Json rotary = rotary_of(config);
  if (kind_of(rotary, origin) != "llama3") return {};
  const auto real = [&](const char* key) { return base::json_require<double>(rotary, key, origin); };
  return llama3_factors(real("factor"), real("low_freq_factor"), real("high_freq_factor"),
                        real("original_max_position_embeddings"), theta_of(config, origin),
                        head_size_of(config, origin));
}

GgufHeads heads_of(const Json& config, const std::string& origin) {
  const int64_t gpt2_heads = base::json_get<int64_t>(config, "n_head", 1, origin);
  const int64_t query = base::json_get(config, "num_attention_heads", gpt2_heads, origin);
  const int64_t key = base::json_get(config, "num_key_value_heads", query, origin);
  if (query < 1 || key < 1) throw Error("{}: a model needs heads; it has {} and {}", origin, query, key);
  return {query, key};
}

}  // namespace fledge::models
