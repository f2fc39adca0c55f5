#include "models/adapters/adapter_config.h"

#include <array>
#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "models/formats/model_folder.h"
#include "nn/text/regex.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;

constexpr int64_t kLargestRank = 65536;
constexpr size_t kMostNames = 100'000;

/// Settings that change what is computed, with the value at which they do nothing besides null.
struct Unsupported {
  const char* key;
  Json neutral;
};

const std::vector<Unsupported>& unsupported() {
  static const std::vector<Unsupported> settings{{"modules_to_save", Json::array()},
                                                 {"target_parameters", Json::array()},
                                                 {"trainable_token_indices", Json::array()},
                                                 {"layer_replication", Json::array()},
                                                 {"lora_bias", false},
                                                 {"use_qalora", false},
                                                 {"use_bdlora", false},
                                                 {"alora_invocation_tokens", Json::array()},
                                                 {"arrow_config", Json::object()},
                                                 {"kasa_config", Json::object()},
                                                 {"monteclora_config", Json::object()},
                                                 {"velora_config", Json::object()}};
  return settings;
}

void refuse_unsupported(const Json& json, const std::string& origin) {
  for (const Unsupported& setting : unsupported()) {
    const auto found = json.find(setting.key);
    if (found == json.end() || found->is_null() || *found == setting.neutral) continue;
    throw Error("{}: {} is {}, which fledge does not support; it can be null", origin, setting.key,
                found->dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60));
  }
  const auto init = json.find("init_lora_weights");
  if (init == json.end() || !init->is_string()) return;
  // These begin with changed base weights, so that the files alone do not say what the adapter does.
  constexpr std::array<std::string_view, 3> kHarmless{"gaussian", "eva", "orthogonal"};
  const auto name = init->get<std::string>();
  if (std::ranges::find(kHarmless, name) != kHarmless.end()) return;
  throw Error(
      "{}: init_lora_weights is \"{}\", which changes the base model's own weights; convert the adapter to an ordinary "
      "one with PEFT's path_initial_model_for_weight_conversion",
      origin, name.substr(0, 60));
}

std::vector<std::string> names_of(const Json& value, const char* key, const std::string& origin) {
  std::vector<std::string> names;
  if (!value.is_array() || value.size() > kMostNames) {
    throw Error("{}: {} is no list of names", origin, key);
  }
  for (const Json& name : value) {
    if (!name.is_string() || name.get_ref<const std::string&>().empty()) {
      throw Error("{}: {} holds something that is no name of a module", origin, key);
    }
    names.push_back(name.get<std::string>());
  }
  return names;
}

/// A list of names, or one regular expression.
void read_names(const Json& json, const char* key, const std::string& origin, std::vector<std::string>& names,
                std::string& pattern) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return;
  if (found->is_string()) {
    pattern = found->get<std::string>();
  } else {
    names = names_of(*found, key, origin);
  }
}

void read_layers(const Json& json, const std::string& origin, AdapterConfig& config) {
  if (const auto found = json.find("layers_to_transform"); found != json.end() && !found->is_null()) {
    const Json list = found->is_array() ? *found : Json::array({*found});
    for (const Json& layer : list) {
      if (!layer.is_number_integer()) throw Error("{}: layers_to_transform holds something that is no number", origin);
      config.layers.push_back(layer.get<int64_t>());
    }
  }
  if (const auto found = json.find("layers_pattern"); found != json.end() && !found->is_null()) {
    config.layers_patterns =
        found->is_string() ? std::vector{found->get<std::string>()} : names_of(*found, "layers_pattern", origin);
    std::erase(config.layers_patterns, "");
  }
}

template <typename T>
std::vector<std::pair<std::string, T>> read_pattern(const Json& json, const char* key, const std::string& origin) {
  std::vector<std::pair<std::string, T>> pattern;
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return pattern;
  if (!found->is_object()) throw Error("{}: {} is no object of names with numbers", origin, key);
  for (const auto& [name, value] : found->items()) {
    pattern.emplace_back(name, base::json_require<T>(*found, name.c_str(), origin + ": " + key));
  }
  return pattern;
}

void require_rank(int64_t rank, const std::string& key, const std::string& origin) {
  if (rank < 1 || rank > kLargestRank) {
    throw Error("{}: {} is {}, expected a rank from 1 to {}", origin, key, rank, kLargestRank);
  }
}

void require_alpha(double alpha, const std::string& key, const std::string& origin) {
  if (!std::isfinite(alpha) || std::fabs(alpha) > 1e6) {
    throw Error("{}: {} is {}, expected a number up to 1e6", origin, key, alpha);
  }
}

template <typename T>
T looked_up(const std::vector<std::pair<std::string, T>>& pattern, const std::string& module, T otherwise) {
  for (const auto& [regex, value] : pattern) {
    if (is_end_of_name(regex, module, "a pattern of the adapter")) return value;
  }
  return otherwise;
}

}  // namespace

AdapterConfig AdapterConfig::from_json(const Json& json, const std::string& origin) {
  const auto kind = base::json_require<std::string>(json, "peft_type", origin);
  if (kind != "LORA") {
    throw Error("{}: peft_type is \"{}\"; fledge reads adapters of the type LORA", origin, kind.substr(0, 60));
  }
  refuse_unsupported(json, origin);
  const auto bias = base::json_get<std::string>(json, "bias", "none", origin);
  if (bias != "none") {
    throw Error("{}: bias is \"{}\": trained biases are not supported, only \"none\"", origin, bias.substr(0, 60));
  }
  AdapterConfig config;
  config.rank = base::json_require<int64_t>(json, "r", origin);
  config.alpha = base::json_get<double>(json, "lora_alpha", 8.0, origin);
  config.dropout = base::json_get<double>(json, "lora_dropout", 0.0, origin);
  config.use_rslora = base::json_get<bool>(json, "use_rslora", false, origin);
  config.use_dora = base::json_get<bool>(json, "use_dora", false, origin);
  config.fan_in_fan_out = base::json_get<bool>(json, "fan_in_fan_out", false, origin);
  config.base_model = base::json_get<std::string>(json, "base_model_name_or_path", "", origin);
  config.task_type = base::json_get<std::string>(json, "task_type", "", origin);
  read_names(json, "target_modules", origin, config.target_modules, config.target_pattern);
  read_names(json, "exclude_modules", origin, config.exclude_modules, config.exclude_pattern);
  read_layers(json, origin, config);
  config.rank_pattern = read_pattern<int64_t>(json, "rank_pattern", origin);
  config.alpha_pattern = read_pattern<double>(json, "alpha_pattern", origin);
  require_rank(config.rank, "r", origin);
  for (const auto& [name, rank] : config.rank_pattern) require_rank(rank, "rank_pattern: " + name, origin);
  require_alpha(config.alpha, "lora_alpha", origin);
  for (const auto& [name, alpha] : config.alpha_pattern) require_alpha(alpha, "alpha_pattern: " + name, origin);
  if (!(config.dropout >= 0.0 && config.dropout < 1.0)) {
    throw Error("{}: lora_dropout is {}, expected at least 0 and less than 1", origin, config.dropout);
  }
  if (config.target_modules.empty() && config.target_pattern.empty()) {
    throw Error("{}: target_modules is missing: it says which layers the adapter changes", origin);
  }
  return config;
}

AdapterConfig AdapterConfig::read(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kAdapterConfigFile;
  if (!std::filesystem::exists(file)) {
    throw Error("{}: holds no {}; expected the folder of an adapter", folder.string(), kAdapterConfigFile);
  }
  const Json json = base::read_json(file);
  if (!json.is_object()) throw Error("{}: holds no JSON object, expected the settings of an adapter", file.string());
  return from_json(json, file.string());
}

Json AdapterConfig::to_json() const {
  Json json = {{"peft_type", "LORA"},
               {"auto_mapping", nullptr},
               {"base_model_name_or_path", base_model.empty() ? Json(nullptr) : Json(base_model)},
               {"bias", "none"},
               {"fan_in_fan_out", fan_in_fan_out},
               {"inference_mode", true},
               {"init_lora_weights", true},
               {"layers_pattern", nullptr},
               {"layers_to_transform", nullptr},
               {"lora_alpha", alpha},
               {"lora_dropout", dropout},
               {"modules_to_save", nullptr},
               {"r", rank},
               {"revision", nullptr},
               {"task_type", task_type.empty() ? Json(nullptr) : Json(task_type)},
               {"use_dora", use_dora},
               {"use_rslora", use_rslora},
               {"rank_pattern", Json::object()},
               {"alpha_pattern", Json::object()}};
  // PEFT's own files have a whole number where there is one.
  if (alpha == std::floor(alpha) && std::fabs(alpha) < 1e15) json["lora_alpha"] = static_cast<int64_t>(alpha);
  json["target_modules"] = target_pattern.empty() ? Json(target_modules) : Json(target_pattern);
  json["exclude_modules"] = exclude_pattern.empty() ? Json(exclude_modules) : Json(exclude_pattern);
  if (exclude_pattern.empty() && exclude_modules.empty()) json["exclude_modules"] = nullptr;
  if (!layers.empty()) json["layers_to_transform"] = layers;
  if (!layers_patterns.empty()) json["layers_pattern"] = layers_patterns;
  for (const auto& [name, value] : rank_pattern) json["rank_pattern"][name] = value;
  for (const auto& [name, value] : alpha_pattern) json["alpha_pattern"][name] = value;
  return json;
}

int64_t AdapterConfig::rank_of(const std::string& module) const {
  return looked_up(rank_pattern, module, rank);
}

double AdapterConfig::scale_of(const std::string& module) const {
  const auto own_rank = static_cast<double>(rank_of(module));
  return looked_up(alpha_pattern, module, alpha) / (use_rslora ? std::sqrt(own_rank) : own_rank);
}

bool is_whole_name(const std::string& regex, const std::string& module, const std::string& origin) {
  size_t begin = 0, end = 0;
  return nn::Regex("\\A(?:" + regex + ")\\z", origin).find(module, 0, begin, end);
}

bool is_end_of_name(const std::string& regex, const std::string& module, const std::string& origin) {
  // A plain name, by far the most frequent pattern.
  if (module == regex || module.ends_with("." + regex)) return true;
  return is_whole_name("(?:.*\\.)?(?:" + regex + ")", module, origin);
}

}  // namespace fledge::models
