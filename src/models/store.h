#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::models {

/// The folder that holds pulled models: $XDG_DATA_HOME/fledge/models, or ~/.local/share/fledge/models. Throws Error
/// where neither variable (XDG_DATA_HOME, HOME) is set.
std::filesystem::path store_folder();

/// Whether a word can name a model: NAME or OWNER/NAME of letters, digits, dots, dashes and underscores, none of which
/// begins with a dot.
bool is_model_name(std::string_view name);

/// A model in the store.
struct StoredModel {
  std::string name;
  std::filesystem::path path;
  std::string kind;    ///< "bert", "gpt2", ... of config.json; "gguf"; or "unknown"
  std::string source;  ///< where it came from
  int64_t bytes = 0;   ///< of all its files
};

/// Records in a model's folder where it came from.
void write_source(const std::filesystem::path& folder, const std::string& source, const std::string& revision,
                  const std::string& licence);

/// By name.
std::vector<StoredModel> list_store();
/// Throws UsageError that names the nearest model where there is none of that name.
StoredModel find_stored(const std::string& name);
/// Deletes a model from the store.
void remove_stored(const std::string& name);

/// Where Hugging Face's programs keep what they downloaded: $HF_HUB_CACHE, $HF_HOME/hub, or
/// ~/.cache/huggingface/hub. Empty where there is no home.
std::filesystem::path hub_cache_folder();
/// The snapshot of OWNER/NAME[@REVISION] (default: main) in that cache; empty where it is not there.
std::filesystem::path find_in_hub_cache(std::string_view id);

/// The model that a user means by a path or a name: a path (a model's folder, a run, whose newest checkpoint it then
/// is, or a GGUF file), a name in the store, or the id of a repository in Hugging Face's cache, in this order. Returns
/// a folder with config.json, or a GGUF file. Never downloads. Throws Error that says where it looked.
std::filesystem::path resolve_model(const std::string& name_or_path);

}  // namespace fledge::models
