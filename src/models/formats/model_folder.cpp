#include "models/formats/model_folder.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;

Json read_object(const std::filesystem::path& path) {
  Json object = base::read_json(path);
  if (!object.is_object()) throw Error("{}: holds no JSON object, expected the settings of a model", path.string());
  return object;
}

std::string without_prefix(const std::string& name, const std::vector<std::string>& prefixes) {
  for (const std::string& prefix : prefixes) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

/// The present name of a tensor that an old file calls otherwise.
std::string renamed(const std::string& name, const WeightNames& names) {
  for (const auto& [old_ending, ending] : names.renamed) {
    if (name.ends_with(old_ending)) return name.substr(0, name.size() - old_ending.size()) + ending;
  }
  return name;
}

bool is_ignored(std::string_view name, const std::vector<std::string>& ignored) {
  return std::ranges::any_of(ignored, [&](const std::string& ending) {
    return name == ending || (name.ends_with(ending) && name[name.size() - ending.size() - 1] == '.');
  });
}

/// "2 tensors are WHAT ("a", "b")", with the first few names; empty for none.
std::string listing(const std::vector<std::string>& names, std::string_view what) {
  constexpr size_t kShown = 5;
  if (names.empty()) return "";
  std::string text = fmt::format("{} {} {} (", names.size(), names.size() == 1 ? "tensor is" : "tensors are", what);
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i == 0 ? "" : ", ") + quoted_name(names[i]);
  return text + (names.size() > kShown ? ", ...)" : ")");
}

}  // namespace

ModelFolder ModelFolder::open(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) throw Error("{}: there is no such folder", folder.string());
  if (!std::filesystem::exists(folder / kConfigFile)) {
    throw Error("{}: holds no {}; expected the folder of a model", folder.string(), kConfigFile);
  }
  ModelFolder result;
  result.path_ = folder;
  result.config_ = read_object(folder / kConfigFile);
  result.generation_config_ = std::filesystem::exists(folder / kGenerationConfigFile)
                                  ? read_object(folder / kGenerationConfigFile)
                                  : Json::object();
  return result;
}

std::string ModelFolder::model_type() const {
  return base::json_require<std::string>(config_, "model_type", config_origin());
}

std::filesystem::path ModelFolder::tokenizer() const {
  const std::filesystem::path file = path_ / kTokenizerFile;
  if (!std::filesystem::exists(file)) {
    throw Error("{}: holds no {}; copy the tokenizer that the model was trained with into it", path_.string(),
                kTokenizerFile);
  }
  return file;
}

void write_pretty_json(const std::filesystem::path& file, const Json& object) {
  try {
    base::write_file(file, object.dump(2) + "\n");
  } catch (const Json::exception&) {
    throw Error("{}: cannot be written, because it would hold text that is not UTF-8", file.string());
  }
}

void copy_if_there(const std::filesystem::path& from, const std::filesystem::path& to, const char* name) {
  if (std::filesystem::exists(from / name)) base::write_file(to / name, base::read_file(from / name));
}

std::map<std::string, std::string> match_names(const SafetensorsReader& weights, std::span<const std::string> expected,
                                               const WeightNames& names) {
  std::set<std::string_view> wanted(expected.begin(), expected.end());
  std::map<std::string, std::string> stored_name;
  std::vector<std::string> unexpected;
  for (const std::string& stored : weights.names()) {
    const std::string name = renamed(without_prefix(stored, names.prefixes), names);
    if (!wanted.contains(name)) {
      if (!is_ignored(name, names.ignored)) unexpected.push_back(stored);
      continue;
    }
    const auto [place, fresh] = stored_name.emplace(name, stored);
    if (!fresh) {
      throw Error("{}: the tensors {} and {} are the same parameter, {}", weights.origin(), quoted_name(place->second),
                  quoted_name(stored), quoted_name(name));
    }
  }
  std::vector<std::string> missing;
  for (const std::string& name : expected) {
    const bool optional = std::ranges::find(names.optional, name) != names.optional.end();
    if (!optional && !stored_name.contains(name)) missing.push_back(name);
  }
  if (!missing.empty() || !unexpected.empty()) {
    throw Error("{}: {}{}{}; does the file belong to this config.json?", weights.origin(), listing(missing, "missing"),
                missing.empty() || unexpected.empty() ? "" : " and ", listing(unexpected, "unexpected"));
  }
  return stored_name;
}

std::vector<std::string> read_weights(const SafetensorsReader& weights, std::span<const NamedTensor> targets,
                                      const WeightNames& names) {
  std::vector<std::string> expected;
  for (const NamedTensor& target : targets) expected.push_back(target.name);
  const std::map<std::string, std::string> stored_name = match_names(weights, expected, names);
  std::vector<std::string> absent;
  for (const NamedTensor& target : targets) {
    const auto found = stored_name.find(target.name);
    if (found == stored_name.end()) {
      absent.push_back(target.name);
    } else if (target.tensor) {
      weights.read_into(found->second, target.tensor);
    }
  }
  return absent;
}

}  // namespace fledge::models
