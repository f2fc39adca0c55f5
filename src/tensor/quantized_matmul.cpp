#include "tensor/quantized_matmul.h"

#include <vector>

#include "tensor/check.h"
#include "tensor/cpu/quantized_driver.h"
#include "tensor/matmul_operands.h"

namespace fledge::tensor {

size_t packed_bytes(BlockType type, int64_t rows, int64_t columns) {
  row_bytes(type, columns);  // checks that blocks fit
  const int64_t panels = (rows + cpu::kPanelRows - 1) / cpu::kPanelRows;
  return static_cast<size_t>(panels) * cpu::panel_bytes(cpu::panel_kind(type), columns / cpu::kGroup);
}

QuantizedMatrix pack(const BlockMatrix& matrix, Arena& arena) {
  require_valid(matrix, "[quantized pack] matrix");
  QuantizedMatrix packed{cpu::computed_type(matrix.type), matrix.columns, matrix.rows, {}};
  const auto bytes = static_cast<int64_t>(packed_bytes(matrix.type, matrix.rows, matrix.columns));
  packed.bytes = Tensor::empty({bytes}, DType::u8, arena);
  if (!is_meta(packed.bytes) && !is_meta(matrix.bytes)) cpu::pack_panels(matrix, packed.bytes.raw());
  return packed;
}

void matmul(const Tensor& a, const QuantizedMatrix& w, Tensor& out, const Epilogue& epilogue) {
  QuantizedProduct product{&w, out, epilogue};
  matmul_group(a, {&product, 1});
}

void matmul_group(const Tensor& a, std::span<const QuantizedProduct> products) {
  thread_local std::vector<cpu::QuantizedPart> parts;
  parts.clear();
  for (const QuantizedProduct& product : products) {
    if (product.weight == nullptr || !product.weight->bytes) {
      throw base::Error("[quantized matmul] the weight was never packed");
    }
    if (!product.epilogue.terms.empty()) throw base::Error("[quantized matmul] terms are not supported");
    check_product(a, product.weight->depth, product.weight->columns, false, product.out, product.epilogue);
    if (a.dim(1) > 1 && a.stride(1) != 1) {
      throw base::Error("[quantized matmul] the elements of a row of {} must stand together", describe(a));
    }
    if (is_meta(product.out) || product.out.elements() == 0) continue;
    parts.push_back({product.weight->type, product.weight->columns, product.weight->bytes.raw(),
                     tile_epilogue(product.out, product.epilogue)});
  }
  if (parts.empty()) return;
  cpu::multiply(cpu::quantized_kernel(), {a.raw(), a.dtype(), a.dim(0), a.dim(1), a.stride(0)}, parts);
}

}  // namespace fledge::tensor
