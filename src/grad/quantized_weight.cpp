#include "grad/quantized_weight.h"

#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

using tensor::BlockMatrix;
using tensor::Tensor;

/// Matrices of one type below each other.
BlockMatrix join(std::span<const BlockMatrix> parts, tensor::Arena& arena) {
  if (parts.size() == 1) return parts.front();
  BlockMatrix joined{parts.front().type, 0, parts.front().columns, {}};
  int64_t bytes = 0;
  for (const BlockMatrix& part : parts) {
    joined.rows += part.rows;
    bytes += part.bytes.elements();
  }
  joined.bytes = Tensor::empty({bytes}, tensor::DType::u8, arena);
  int64_t first = 0;
  for (const BlockMatrix& part : parts) {
    tensor::copy(part.bytes, joined.bytes.slice(0, first, part.bytes.elements()));
    first += part.bytes.elements();
  }
  return joined;
}

/// The part of an epilogue for some columns of the result.
tensor::Epilogue columns_of(const tensor::Epilogue& epilogue, int64_t first, int64_t count) {
  tensor::Epilogue part = epilogue;
  if (epilogue.bias) part.bias = epilogue.bias.slice(0, first, count);
  if (epilogue.preactivation) part.preactivation = epilogue.preactivation.slice(1, first, count);
  if (epilogue.residual) part.residual = epilogue.residual.slice(1, first, count);
  if (epilogue.addend) part.addend = epilogue.addend.slice(1, first, count);
  if (epilogue.scale) part.scale = epilogue.scale.slice(epilogue.scale.rank() - 1, first, count);
  if (epilogue.unscaled) part.unscaled = epilogue.unscaled.slice(1, first, count);
  return part;
}

}  // namespace

QuantizedWeight::QuantizedWeight(std::span<const BlockMatrix> parts, tensor::Arena& arena) {
  int64_t first_column = 0;
  while (!parts.empty()) {
    size_t count = 1;
    while (count < parts.size() && parts[count].type == parts.front().type) ++count;
    pieces_.push_back({tensor::pack(join(parts.first(count), arena), arena), first_column});
    first_column += pieces_.back().matrix.columns;
    parts = parts.subspan(count);
  }
}

void QuantizedWeight::multiply(const Tensor& x, Tensor& out, const tensor::Epilogue& epilogue) const {
  if (pieces_.size() == 1) return tensor::matmul(x, pieces_.front().matrix, out, epilogue);
  std::vector<tensor::QuantizedProduct> products;
  for (const Piece& piece : pieces_) {
    const int64_t count = piece.matrix.columns;
    products.push_back(
        {&piece.matrix, out.slice(1, piece.first_column, count), columns_of(epilogue, piece.first_column, count)});
  }
  tensor::matmul_group(x, products);
}

}  // namespace fledge::grad
