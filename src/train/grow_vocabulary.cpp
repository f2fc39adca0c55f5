#include "train/grow_vocabulary.h"

#include "base/json.h"
#include "tensor/elementwise.h"

namespace fledge::train {
namespace {

/// The mean of all rows of `values` [R, C] f32, in f64 on the way.
void mean_of_rows(const tensor::Tensor& values, const tensor::Tensor& mean) {
  const int64_t rows = values.dim(0), width = values.dim(1);
  for (int64_t column = 0; column < width; ++column) {
    double sum = 0.0;
    for (int64_t row = 0; row < rows; ++row) sum += static_cast<double>(values.data<float>()[row * width + column]);
    mean.data<float>()[column] = static_cast<float>(sum / static_cast<double>(rows));
  }
}

}  // namespace

void read_values_of_smaller_vocabulary(models::LanguageModel& model, const std::filesystem::path& path,
                                       const models::MayLack& may_lack) {
  const auto stored = base::json_get<int64_t>(models::read_config(path), "vocab_size", 0, path.string());
  if (stored <= 0 || stored >= model.vocabulary_size()) return models::read_values(model, path, may_lack);
  base::Json config = model.config();
  config["vocab_size"] = stored;
  const std::unique_ptr<models::LanguageModel> smaller = models::make_model(config, path.string());
  nn::Memory memory;
  smaller->parameters().allocate(memory, tensor::DType::f32, false);
  models::read_values(*smaller, path, may_lack);
  for (const auto& entry : smaller->parameters().entries()) {
    grad::Parameter* target = model.parameters().find(entry.parameter->name());
    if (target == nullptr) continue;
    const tensor::Tensor& value = entry.parameter->value();
    if (target->shape() == value.shape()) {
      tensor::copy(value, target->value());
      continue;
    }
    const int64_t rows = target->shape()[0], width = value.elements() / stored;
    const tensor::Tensor all = target->value().reshape({rows, width});
    tensor::copy(value.reshape({stored, width}), all.slice(0, 0, stored));
    const tensor::Tensor mean = tensor::Tensor::empty({1, width}, value.dtype(), memory.activations);
    mean_of_rows(all.slice(0, 0, stored), mean);
    for (int64_t row = stored; row < rows; ++row) tensor::copy(mean, all.slice(0, row, 1));
  }
  model.parameters().values_changed();
}

}  // namespace fledge::train
