#pragma once

#include <cstdint>
#include <span>

#include "nn/text/encoder_row.h"
#include "train/data/batch.h"

namespace fledge::train {

/// Tensors of a batch from rows of equal length: ids, token_types (with `has_segments`), positions, document_starts and
/// document_ends, all [rows, T].
void set_encoder_rows(std::span<const nn::EncoderRow> rows, bool has_segments, tensor::Arena& arena, Batch& batch);

/// The tensor `name` [values.size()] of a batch. An empty one is made with no elements.
void set_integers(const char* name, std::span<const int32_t> values, tensor::Arena& arena, Batch& batch);

}  // namespace fledge::train
