#include "train/data/encoder_rows.h"

#include <algorithm>

namespace fledge::train {

using nn::EncoderRow;

void set_encoder_rows(std::span<const EncoderRow> rows, bool has_segments, tensor::Arena& arena, Batch& batch) {
  const tensor::Shape shape{static_cast<int64_t>(rows.size()), rows.front().size()};
  const auto set = [&](const char* name, const std::vector<int32_t> EncoderRow::*column) {
    int32_t* out = batch.prepare(name, shape, tensor::DType::i32, arena).data<int32_t>();
    for (const EncoderRow& row : rows) out = std::ranges::copy(row.*column, out).out;
  };
  set("ids", &EncoderRow::ids);
  set("positions", &EncoderRow::positions);
  set("document_starts", &EncoderRow::starts);
  set("document_ends", &EncoderRow::ends);
  if (has_segments) set("token_types", &EncoderRow::segments);
}

void set_integers(const char* name, std::span<const int32_t> values, tensor::Arena& arena, Batch& batch) {
  tensor::Tensor& tensor = batch.prepare(name, {static_cast<int64_t>(values.size())}, tensor::DType::i32, arena);
  std::ranges::copy(values, tensor.data<int32_t>());
}

}  // namespace fledge::train
