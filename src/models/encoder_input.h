#pragma once

#include "models/language_model.h"
#include "nn/text/encoder_row.h"

namespace fledge::models {

/// Texts side by side in one row, none of which sees another, as an encoder reads them.
inline ForwardInput encoder_input(const nn::EncoderRow& row, tensor::Arena& arena) {
  const tensor::Shape shape{1, row.size()};
  ForwardInput input;
  input.ids = tensor::Tensor::from(row.ids, shape, arena);
  input.token_types = tensor::Tensor::from(row.segments, shape, arena);
  input.positions = tensor::Tensor::from(row.positions, shape, arena);
  input.document_starts = tensor::Tensor::from(row.starts, shape, arena);
  input.document_ends = tensor::Tensor::from(row.ends, shape, arena);
  return input;
}

}  // namespace fledge::models
