#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/adapters/adapter_config.h"
#include "models/formats/safetensors.h"
#include "models/language_model.h"

namespace fledge::models {

/// A layer that an adapter may change.
struct AdaptableModule {
  std::string name;  ///< PEFT's: "model.layers.0.self_attn.q_proj"
  grad::Parameter* weight = nullptr;
  nn::ModuleKind kind = nn::ModuleKind::linear;
  bool is_tied = false;  ///< is the embedding and the head at once
  bool in_block = false;

  int64_t inputs() const { return weight->shape()[kind == nn::ModuleKind::linear ? 1 : 0]; }
  int64_t outputs() const { return weight->shape()[kind == nn::ModuleKind::linear ? 0 : 1]; }
};

/// All of them, in the order of the model's parameters.
std::vector<AdaptableModule> adaptable_modules(LanguageModel& model);

/// The modules that a configuration names. Throws Error naming `origin` where a name or pattern matches nothing (with
/// the nearest right name), where it matches a head that is tied to the embedding, or where the rank is larger than a
/// layer.
std::vector<AdaptableModule> targets_of(LanguageModel& model, const AdapterConfig& config, const std::string& origin);

/// target_modules for PEFT that match the targets and nothing else: the last parts of their names where that is enough.
std::vector<std::string> shortest_targets(LanguageModel& model, const std::vector<AdaptableModule>& targets);

/// An adapter on a model. Its parameters are the model's, auxiliary ones; the model must outlive it.
class ModelAdapter {
 public:
  /// Declares the adapter's parameters in the model, before memory is allocated. `name` tells adapters apart; `origin`
  /// names the configuration in errors. Throws as targets_of(), or where the model has an adapter of that name.
  ModelAdapter(LanguageModel& model, AdapterConfig config, std::string name, std::string origin);

  const std::string& name() const { return identity_->name; }
  const AdapterConfig& config() const { return config_; }
  grad::AdapterIdentity& identity() const { return *identity_; }
  int64_t parameter_count() const;

  /// Starting values: A uniform as torch.nn.Linear's, B zero (an embedding's A zero and B normal), DoRA's magnitudes
  /// the norms of the weights, which must be there. A function of the seed and the names.
  void initialize(uint64_t seed, nn::Memory& memory);
  /// Reads adapter_model.safetensors of a folder. Throws Error naming the first tensor that is missing, unexpected or
  /// of the wrong shape.
  void load(const std::filesystem::path& folder);
  /// Writes PEFT's two files into an existing folder.
  void save(const std::filesystem::path& folder) const;

  /// One layer with its change.
  struct Change {
    AdaptableModule module;
    const grad::Adapter* adapter;
    size_t part;  ///< of the adapter
  };
  const std::vector<Change>& changes() const { return changes_; }

 private:
  struct Target;
  /// One tensor of the file.
  struct Stored {
    std::string key;
    grad::Parameter* parameter;
    bool transposed;  ///< an embedding's A stands in memory as [V, R]
  };
  void check_base_layer(const SafetensorsReader& reader, const std::string& name, const std::string& bare) const;
  void attach_group(const std::vector<Target>& group);
  void attach_embedding(const Target& target);
  std::string parameter_name(const std::string& key) const;

  LanguageModel& model_;
  AdapterConfig config_;
  std::string origin_;
  std::shared_ptr<grad::AdapterIdentity> identity_;
  std::vector<Change> changes_;
  std::vector<Stored> stored_;
};

}  // namespace fledge::models
