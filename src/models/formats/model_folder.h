#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "models/formats/safetensors.h"

namespace fledge::models {

/// Names of the files in a Hugging Face model folder.
inline constexpr const char* kConfigFile = "config.json";
inline constexpr const char* kGenerationConfigFile = "generation_config.json";
inline constexpr const char* kWeightsFile = "model.safetensors";
inline constexpr const char* kTokenizerFile = "tokenizer.json";

/// A model as the rest of the world stores it: a folder with `config.json`, the weights, a tokenizer and, where there
/// is one, `generation_config.json`. Opening reads the two small JSON files; weights and tokenizer are found when asked
/// for. All errors are base::Error and name the file.
class ModelFolder {
 public:
  /// Throws where `folder` is none, or has no config.json, or that is not a JSON object.
  static ModelFolder open(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  const base::Json& config() const { return config_; }
  /// An empty object where the folder has none.
  const base::Json& generation_config() const { return generation_config_; }
  /// Names config.json in errors about its values.
  std::string config_origin() const { return (path_ / kConfigFile).string(); }
  /// "gpt2", "bert", ...; throws where config.json does not say.
  std::string model_type() const;
  /// `model.safetensors` or its shards.
  SafetensorsReader weights() const { return SafetensorsReader::open_model(path_); }
  /// Path of tokenizer.json; throws where the folder has none.
  std::filesystem::path tokenizer() const;

 private:
  std::filesystem::path path_;
  base::Json config_, generation_config_;
};

/// Writes a JSON object as Hugging Face's own tools do: two spaces of indent, keys sorted, a newline at the end; the
/// same object gives the same bytes. Atomic. Throws base::Error naming the file.
void write_pretty_json(const std::filesystem::path& file, const base::Json& object);

/// Copies the file of that name between folders, where there is one. Atomic.
void copy_if_there(const std::filesystem::path& from, const std::filesystem::path& to, const char* name);

/// How the names in a file relate to the names that a model gives its parameters.
struct WeightNames {
  /// Taken away from the front of a stored name, the first that fits ("transformer." of GPT-2's files; some have it and
  /// some do not).
  std::vector<std::string> prefixes;
  /// Stored tensors that are no parameters, by the last parts of their names ("attn.bias" fits "h.0.attn.bias" and not
  /// "h.0.attn.c_attn.bias").
  std::vector<std::string> ignored;
  /// Parameters that a file may leave out ("lm_head.weight", which is tied to the embedding).
  std::vector<std::string> optional;
  /// Old endings of stored names and what they are called now ("LayerNorm.gamma", "LayerNorm.weight").
  std::vector<std::pair<std::string, std::string>> renamed;
};

/// Stored name of every expected parameter that the file has. Throws base::Error with the first few names where
/// parameters are missing, where the file has tensors that nobody expects, or where two of its names mean the same.
std::map<std::string, std::string> match_names(const SafetensorsReader& weights, std::span<const std::string> expected,
                                               const WeightNames& names);

/// Fills every target that has a tensor from the file (match_names, then SafetensorsReader::read_into, which converts
/// and checks shapes). Returns the optional targets that the file left out.
std::vector<std::string> read_weights(const SafetensorsReader& weights, std::span<const NamedTensor> targets,
                                      const WeightNames& names);

}  // namespace fledge::models
