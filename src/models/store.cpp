#include "models/store.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"
#include "models/formats/model_folder.h"
#include "models/model_io.h"

namespace fledge::models {
namespace {

namespace filesystem = std::filesystem;
constexpr const char* kSourceFile = "source.json";

/// The value of an environment variable; empty where it is not set.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool is_name_part(std::string_view part) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
  };
  return !part.empty() && part.size() <= 128 && part.front() != '.' && std::ranges::all_of(part, fits);
}

std::vector<filesystem::path> gguf_files(const filesystem::path& folder) {
  std::vector<filesystem::path> files;
  std::error_code ignored;
  for (const auto& entry : filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".gguf") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

bool holds_model(const filesystem::path& folder) {
  std::error_code ignored;
  return filesystem::exists(folder / kConfigFile, ignored) || !gguf_files(folder).empty();
}

/// The folder itself where it has config.json, or its only GGUF file; empty for another folder.
filesystem::path model_in(const filesystem::path& folder) {
  if (filesystem::exists(folder / kConfigFile)) return folder;
  const std::vector<filesystem::path> files = gguf_files(folder);
  if (files.empty()) return {};
  if (files.size() > 1) {
    throw base::Error("{}: holds {} GGUF files; name one of them, such as {}", folder.string(), files.size(),
                      files.front().string());
  }
  return files.front();
}

StoredModel describe(const std::string& name, const filesystem::path& path) {
  StoredModel model{name, path, "unknown", "", 0};
  std::error_code ignored;
  for (const auto& entry : filesystem::recursive_directory_iterator(path, ignored)) {
    if (entry.is_regular_file(ignored)) model.bytes += static_cast<int64_t>(entry.file_size(ignored));
  }
  // A damaged file must not hide the other models.
  const auto text = [&](const char* file, const char* key, const std::string& fallback) {
    try {
      const base::Json json = base::read_json(path / file);
      return json.is_object() ? base::json_get<std::string>(json, key, fallback, file) : fallback;
    } catch (const base::Error&) {
      return fallback;
    }
  };
  model.kind = text(kConfigFile, "model_type", gguf_files(path).empty() ? "unknown" : "gguf");
  model.source = text(kSourceFile, "source", "");
  return model;
}

std::string path_of_run_or_model(const filesystem::path& path) {
  if (filesystem::is_regular_file(path)) return path.string();
  const filesystem::path model = model_in(path);
  return (model.empty() ? newest_checkpoint(path) : model).string();
}

}  // namespace

filesystem::path store_folder() {
  const std::string data = variable("XDG_DATA_HOME"), home = variable("HOME");
  if (!data.empty()) return filesystem::path(data) / "fledge" / "models";
  if (!home.empty()) return filesystem::path(home) / ".local" / "share" / "fledge" / "models";
  throw base::Error("the model store has no place: set HOME, or XDG_DATA_HOME to a folder");
}

bool is_model_name(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos) return is_name_part(name);
  return is_name_part(name.substr(0, slash)) && is_name_part(name.substr(slash + 1));
}

void write_source(const filesystem::path& folder, const std::string& source, const std::string& revision,
                  const std::string& licence) {
  base::OrderedJson json{{"source", source}};
  if (!revision.empty()) json["revision"] = revision;
  if (!licence.empty()) json["licence"] = licence;
  base::write_file(folder / kSourceFile, json.dump(2) + "\n");
}

std::vector<StoredModel> list_store() {
  std::vector<StoredModel> models;
  std::error_code ignored;
  for (const auto& entry : filesystem::directory_iterator(store_folder(), ignored)) {
    const std::string name = entry.path().filename().string();
    // base::write_folder() leaves NAME.partial where the machine stopped in the middle.
    if (!entry.is_directory(ignored) || !is_name_part(name) || name.ends_with(".partial")) continue;
    if (holds_model(entry.path())) {
      models.push_back(describe(name, entry.path()));
      continue;
    }
    for (const auto& inner : filesystem::directory_iterator(entry.path(), ignored)) {
      const std::string inner_name = inner.path().filename().string();
      if (inner.is_directory(ignored) && is_name_part(inner_name) && holds_model(inner.path())) {
        models.push_back(describe(name + "/" + inner_name, inner.path()));
      }
    }
  }
  std::ranges::sort(models, {}, &StoredModel::name);
  return models;
}

StoredModel find_stored(const std::string& name) {
  if (is_model_name(name) && holds_model(store_folder() / name)) return describe(name, store_folder() / name);
  std::vector<std::string> names;
  for (const StoredModel& model : list_store()) names.push_back(model.name);
  const std::string near = base::nearest(name, names);
  throw base::UsageError("there is no model \"{}\" in the store{}; `fledge list` shows them all", name,
                         near.empty() ? "" : fmt::format(": did you mean \"{}\"?", near));
}

void remove_stored(const std::string& name) {
  const StoredModel model = find_stored(name);
  std::error_code error;
  filesystem::remove_all(model.path, error);
  if (error) throw base::Error("{}: cannot be removed ({})", model.path.string(), error.message());
  // The owner's folder goes with its last model.
  if (name.find('/') != std::string::npos) filesystem::remove(model.path.parent_path(), error);
}

filesystem::path hub_cache_folder() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = variable("HF_HOME"); !home.empty()) return filesystem::path(home) / "hub";
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) {
    return filesystem::path(cache) / "huggingface" / "hub";
  }
  const std::string home = variable("HOME");
  return home.empty() ? filesystem::path() : filesystem::path(home) / ".cache" / "huggingface" / "hub";
}

filesystem::path find_in_hub_cache(std::string_view id) {
  const size_t at = id.find('@');
  const std::string name(id.substr(0, at)), revision(at == std::string_view::npos ? "main" : id.substr(at + 1));
  const size_t slash = name.find('/');
  const filesystem::path cache = hub_cache_folder();
  if (cache.empty() || !is_model_name(name) || !is_name_part(revision)) return {};
  const std::string folder = slash == std::string::npos ? name : name.substr(0, slash) + "--" + name.substr(slash + 1);
  const filesystem::path repository = cache / ("models--" + folder);
  std::error_code ignored;
  std::string commit = revision;
  if (filesystem::is_regular_file(repository / "refs" / revision, ignored)) {
    commit = base::read_file(repository / "refs" / revision);
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
  }
  if (!is_name_part(commit)) return {};
  const filesystem::path snapshot = repository / "snapshots" / commit;
  return holds_model(snapshot) ? snapshot : filesystem::path();
}

filesystem::path resolve_model(const std::string& name_or_path) {
  if (name_or_path.empty()) throw base::UsageError("the model has no name");
  std::error_code ignored;
  const bool is_path = filesystem::exists(name_or_path, ignored);
  if (is_path) {
    if (const filesystem::path found = path_of_run_or_model(name_or_path); !found.empty()) return found;
  }
  if (is_model_name(name_or_path)) {
    const filesystem::path stored = store_folder() / name_or_path;
    if (holds_model(stored)) return model_in(stored);
  }
  const std::string id = name_or_path.starts_with("hf:") ? name_or_path.substr(3) : name_or_path;
  if (const filesystem::path cached = find_in_hub_cache(id); !cached.empty()) return model_in(cached);
  if (is_path) {
    throw base::Error("{}: is neither a model (no config.json) nor a run with a checkpoint", name_or_path);
  }
  throw base::Error(
      "{}: there is no such folder, no model of that name in the store (`fledge list`), and none in "
      "Hugging Face's cache; `fledge pull` brings one",
      name_or_path);
}

}  // namespace fledge::models
