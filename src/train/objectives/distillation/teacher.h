#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "models/model_io.h"
#include "train/data/batch_source.h"
#include "train/objectives/distillation/layer_map.h"

namespace fledge::train {

/// A model that another one learns from: frozen, in evaluation mode, never on the tape. It has its own memory but for
/// activations, which are the student's graph's and are gone with the step.
class Teacher {
 public:
  /// Reads the shape alone of a folder, a stored model or a GGUF file. Throws Error where there is none of that name.
  explicit Teacher(const std::string& name);

  /// As the user named it.
  const std::string& name() const { return name_; }
  const std::filesystem::path& path() const { return path_; }
  const base::Json& config() const { return config_; }
  const ModelShape& shape() const { return shape_; }
  int64_t vocabulary_size() const { return vocabulary_size_; }

  /// Throws UsageError that names both where the two do not have the same tokens under the same ids.
  void require_same_vocabulary(const BatchSource& source) const;

  /// Reads the values.
  void load();
  /// The model on the device of `arena`: loaded, at the first call, or its shapes alone where the arena is on the
  /// shape-only device.
  models::LanguageModel& model(const tensor::Arena& arena);

  /// Of the loaded model.
  nn::Memory& memory() { return *loaded_.memory; }

  /// Of its values and packed weights, loaded or planned.
  size_t bytes() const;

  /// One forward pass without a tape, with the student's arithmetic.
  models::ForwardOutput forward(grad::Graph& student_graph, const models::ForwardInput& input);

 private:
  std::string name_;
  std::filesystem::path path_;
  base::Json config_;
  ModelShape shape_;
  int64_t vocabulary_size_ = 0;
  models::LoadedModel loaded_, shapes_;
};

}  // namespace fledge::train
