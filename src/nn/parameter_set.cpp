#include "nn/parameter_set.h"

#include <algorithm>

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

grad::Parameter& ParameterSet::add_entry(std::string name, const tensor::Shape& shape, const ParameterOptions& options,
                                         bool continues) {
  if (!index_.emplace(name, entries_.size()).second) throw base::Error("two parameters are called {}", name);
  entries_.push_back({std::make_unique<grad::Parameter>(std::move(name), shape), options, 0, continues});
  Entry& entry = entries_.back();
  entry.offset = continues ? end_ : padded(end_);
  end_ = entry.offset + shape.elements();
  return *entry.parameter;
}

grad::Parameter& ParameterSet::add(std::string name, const tensor::Shape& shape, const ParameterOptions& options) {
  return add_entry(std::move(name), shape, options, false);
}

grad::Parameter& ParameterSet::add_joined(const std::vector<NamedShape>& parts, const ParameterOptions& options) {
  const size_t first = entries_.size();
  std::vector<grad::Parameter*> members;
  std::string name;
  for (const NamedShape& part : parts) {
    members.push_back(&add_entry(part.name, part.shape, options, !members.empty()));
    name += (name.empty() ? "" : " + ") + part.name;
  }
  joined_.push_back({std::make_unique<grad::Parameter>(std::move(name), std::move(members)), first});
  return *joined_.back().parameter;
}

void ParameterSet::freeze() {
  for (Entry& entry : entries_) entry.options.trainable = false;
}

void ParameterSet::freeze(const std::function<bool(const std::string& name)>& is_chosen) {
  const Entry* before = nullptr;
  for (Entry& entry : entries_) {
    if (is_chosen(entry.parameter->name())) entry.options.trainable = false;
    if (entry.continues && entry.options.trainable != before->options.trainable) {
      throw base::Error("{} and {} are one matrix in memory: both are trained, or neither", before->parameter->name(),
                        entry.parameter->name());
    }
    before = &entry;
  }
}

grad::Parameter& ParameterSet::whole_of(grad::Parameter& part) const {
  for (const Joined& joined : joined_) {
    if (std::ranges::find(joined.parameter->parts(), &part) != joined.parameter->parts().end())
      return *joined.parameter;
  }
  return part;
}

void ParameterSet::allocate(Memory& memory, tensor::DType type, bool trainable) {
  // Where nothing is trained, all values are the flat buffer; frozen ones beside others have a buffer of their own.
  const auto is_flat = [&](const Entry& entry) { return !trainable || entry.options.trainable; };
  end_ = 0;
  int64_t frozen_end = 0;
  std::vector<int64_t> places;
  for (Entry& entry : entries_) {
    int64_t& end = is_flat(entry) ? end_ : frozen_end;
    places.push_back(entry.continues ? end : padded(end));
    entry.offset = is_flat(entry) ? places.back() : end_;
    if (!entry.parameter->is_stored()) end = places.back() + entry.parameter->shape().elements();
  }
  values_ = tensor::Tensor::zeros({flat_size()}, type, memory.parameters);
  if (frozen_end > 0) frozen_values_ = tensor::Tensor::zeros({frozen_end}, type, memory.parameters);
  if (trainable && end_ > 0) gradients_ = tensor::Tensor::zeros({flat_size()}, type, memory.gradients);
  const auto bind = [&](grad::Parameter& parameter, size_t entry) {
    if (parameter.is_stored()) return;
    const tensor::Shape& shape = parameter.shape();
    const bool flat = is_flat(entries_[entry]), learns = flat && trainable;
    parameter.bind(view(flat ? values_ : frozen_values_, places[entry], shape),
                   learns ? view(gradients_, places[entry], shape) : tensor::Tensor());
  };
  for (size_t entry = 0; entry < entries_.size(); ++entry) bind(*entries_[entry].parameter, entry);
  for (const Joined& joined : joined_) bind(*joined.parameter, joined.first);
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

int64_t ParameterSet::flat_size() const {
  return padded(end_);
}

int64_t ParameterSet::element_count() const {
  int64_t count = 0;
  for (const Entry& entry : entries_) count += entry.parameter->shape().elements();
  return count;
}

int64_t ParameterSet::trainable_count() const {
  int64_t count = 0;
  for (const Entry& entry : entries_) count += entry.parameter->trainable() ? entry.parameter->shape().elements() : 0;
  return count;
}

void ParameterSet::forget_gradients() {
  for (Entry& entry : entries_) entry.parameter->forget_gradient();
}

void ParameterSet::values_changed() {
  for (Entry& entry : entries_) entry.parameter->value_changed();
}

}  // namespace fledge::nn
