#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "tensor/tensor.h"

namespace fledge::train {

/// Label of a token that the loss leaves out.
inline constexpr int32_t kIgnoredTarget = -100;

/// What a model is trained on in one micro-batch: a set of named tensors. Which names there are depends on the data; a
/// model takes those that it knows. For text (B rows of T tokens), all i32 [B, T]:
///   ids              the tokens
///   targets          the token that follows each one; kIgnoredTarget where the loss has nothing to predict
///   positions        place of each token, counted from 0 in its row, or in its document where documents are separated
///   document_starts  place in the row of the first token that each token may attend to
///   document_ends    one past the last place that it may attend to, of encoders
///   masked_rows      [N]: the places among B T that alone go through the head; targets are then [N] too
struct Batch {
  std::map<std::string, tensor::Tensor, std::less<>> tensors;
  int64_t target_tokens = 0;  ///< targets that are not ignored

  bool has(std::string_view name) const { return tensors.find(name) != tensors.end(); }
  /// Throws Error naming the tensor where the batch has none of that name.
  const tensor::Tensor& at(std::string_view name) const;
  /// The tensor of that name, made (or made again) in `arena` where the batch has none of this shape and type.
  tensor::Tensor& prepare(const std::string& name, const tensor::Shape& shape, tensor::DType dtype,
                          tensor::Arena& arena);
};

}  // namespace fledge::train
