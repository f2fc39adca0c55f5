#include "train/data/batch.h"

#include "base/error.h"

namespace fledge::train {

const tensor::Tensor& Batch::at(std::string_view name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw base::Error("the batch has no tensor \"{}\", which the model needs", name);
  return found->second;
}

tensor::Tensor& Batch::prepare(const std::string& name, const tensor::Shape& shape, tensor::DType dtype,
                               tensor::Arena& arena) {
  tensor::Tensor& slot = tensors[name];
  if (!slot || !(slot.shape() == shape) || slot.dtype() != dtype) slot = tensor::Tensor::empty(shape, dtype, arena);
  return slot;
}

}  // namespace fledge::train
