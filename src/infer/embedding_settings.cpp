#include <array>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "infer/embedder.h"

namespace fledge::infer {
namespace {

namespace filesystem = std::filesystem;
using base::Json;
using tensor::Pooling;

struct PoolingMode {
  const char* key;
  std::optional<Pooling> pooling;  ///< none: not supported
};
constexpr std::array kModes = {PoolingMode{"pooling_mode_cls_token", Pooling::first},
                               PoolingMode{"pooling_mode_mean_tokens", Pooling::mean},
                               PoolingMode{"pooling_mode_max_tokens", Pooling::max},
                               PoolingMode{"pooling_mode_mean_sqrt_len_tokens", Pooling::mean_sqrt},
                               PoolingMode{"pooling_mode_weightedmean_tokens", std::nullopt},
                               PoolingMode{"pooling_mode_lasttoken", std::nullopt}};

Pooling read_pooling(const filesystem::path& file) {
  const Json json = base::read_json(file);
  if (!json.is_object()) throw base::Error("{}: holds no JSON object", file.string());
  std::optional<Pooling> found;
  int64_t chosen = 0;
  // Newer files name one mode instead of setting flags.
  if (json.contains("pooling_mode")) {
    const auto name = base::json_require<std::string>(json, "pooling_mode", file.string());
    for (const Pooling pooling : {Pooling::mean, Pooling::max, Pooling::first}) {
      if (name_of(pooling) == name) found = pooling;
    }
    if (name == "mean_sqrt_len_tokens") found = Pooling::mean_sqrt;
    chosen = 1;
  } else {
    for (const PoolingMode& mode : kModes) {
      if (!base::json_get(json, mode.key, false, file.string())) continue;
      ++chosen;
      found = mode.pooling;
    }
  }
  if (chosen != 1 || !found) {
    throw base::Error("{}: fledge pools by one of mean, max, cls and mean_sqrt_len; the file asks for {}",
                      file.string(), chosen == 1 ? "another way" : fmt::format("{} ways together", chosen));
  }
  return *found;
}

/// The path of a module, which must stay inside the folder.
filesystem::path module_path(const filesystem::path& folder, const Json& module, const std::string& origin) {
  const filesystem::path path = base::json_get<std::string>(module, "path", "", origin);
  for (const auto& part : path) {
    if (path.is_absolute() || part == "..") {
      throw base::Error("{}: the path \"{}\" leaves the model's folder", origin, path.string());
    }
  }
  return folder / path;
}

}  // namespace

std::string_view name_of(Pooling pooling) {
  constexpr std::array<std::string_view, 4> kNames = {"mean", "mean_sqrt", "max", "cls"};
  return kNames[static_cast<size_t>(pooling)];
}

EmbeddingSettings EmbeddingSettings::read(const filesystem::path& folder, const models::LanguageModel& model) {
  EmbeddingSettings settings;
  settings.max_tokens = model.context_length();
  const filesystem::path length_file = folder / "sentence_bert_config.json";
  if (filesystem::exists(length_file)) {
    const Json json = base::read_json(length_file);
    if (!json.is_object()) throw base::Error("{}: holds no JSON object", length_file.string());
    const auto length = base::json_get<int64_t>(json, "max_seq_length", settings.max_tokens, length_file.string());
    if (length < 3) throw base::Error("{}: max_seq_length is {}, expected 3 or more", length_file.string(), length);
    settings.max_tokens = std::min(settings.max_tokens, length);
  }
  const filesystem::path modules_file = folder / "modules.json";
  if (!filesystem::exists(modules_file)) return settings;
  const std::string origin = modules_file.string();
  const Json modules = base::read_json(modules_file);
  if (!modules.is_array()) throw base::Error("{}: holds no JSON array", origin);
  settings.from_files = true;
  settings.normalizes = false;
  for (const Json& module : modules) {
    if (!module.is_object()) throw base::Error("{}: a module is no JSON object", origin);
    const auto type = base::json_require<std::string>(module, "type", origin);
    const std::string kind = type.substr(type.rfind('.') + 1);
    if (kind == "Pooling") {
      settings.pooling = read_pooling(module_path(folder, module, origin) / "config.json");
    } else if (kind == "Normalize") {
      settings.normalizes = true;
    } else if (kind != "Transformer") {
      throw base::Error("{}: the step \"{}\" is not supported; fledge knows Transformer, Pooling and Normalize", origin,
                        type);
    }
  }
  return settings;
}

}  // namespace fledge::infer
