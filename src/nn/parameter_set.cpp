#include "nn/parameter_set.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "tensor/elementwise.h"
#include "tensor/random.h"

namespace fledge::nn {
namespace {

constexpr int64_t kAlignment = 16;

int64_t padded(int64_t elements) {
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}

tensor::Tensor view(const tensor::Tensor& flat, int64_t offset, const tensor::Shape& shape) {
  return flat.slice(0, offset, shape.elements()).reshape(shape);
}

}  // namespace

grad::Parameter& ParameterSet::add(std::string name, const tensor::Shape& shape, const ParameterOptions& options) {
  if (!index_.emplace(name, entries_.size()).second) throw base::Error("two parameters are called {}", name);
  entries_.push_back({std::make_unique<grad::Parameter>(std::move(name), shape), options, flat_size_});
  flat_size_ += padded(shape.elements());
  return *entries_.back().parameter;
}

void ParameterSet::allocate(Memory& memory, tensor::DType type, bool trainable) {
  flat_size_ = 0;
  for (Entry& entry : entries_) {
    entry.offset = flat_size_;
    if (!entry.parameter->is_stored()) flat_size_ += padded(entry.parameter->shape().elements());
  }
  values_ = tensor::Tensor::zeros({flat_size_}, type, memory.parameters);
  if (trainable) gradients_ = tensor::Tensor::zeros({flat_size_}, type, memory.gradients);
  for (Entry& entry : entries_) {
    if (entry.parameter->is_stored()) continue;
    const tensor::Shape& shape = entry.parameter->shape();
    entry.parameter->bind(view(values_, entry.offset, shape),
                          trainable ? view(gradients_, entry.offset, shape) : tensor::Tensor());
  }
}

void ParameterSet::initialize(uint64_t seed) {
  for (Entry& entry : entries_) {
    if (entry.parameter->is_stored()) continue;
    tensor::Tensor& value = entry.parameter->value();
    if (entry.options.standard_deviation > 0.0) {
      const base::Random random(seed, base::stable_hash(entry.parameter->name()));
      tensor::fill_normal(value, entry.options.mean, entry.options.standard_deviation, random);
    } else {
      tensor::fill(value, entry.options.mean);
    }
    entry.parameter->value_changed();
  }
}

grad::Parameter* ParameterSet::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : entries_[found->second].parameter.get();
}

int64_t ParameterSet::element_count() const {
  int64_t count = 0;
  for (const Entry& entry : entries_) count += entry.parameter->shape().elements();
  return count;
}

void ParameterSet::forget_gradients() {
  for (Entry& entry : entries_) entry.parameter->forget_gradient();
}

void ParameterSet::values_changed() {
  for (Entry& entry : entries_) entry.parameter->value_changed();
}

}  // namespace fledge::nn
