#include "tensor/matmul.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "tensor/cpu/gemm_driver.h"
#include "tensor/cpu/reference_matmul.h"

namespace fledge::tensor {
namespace {

const cpu::MicroKernel& kernel_for(Precision precision) {
  return precision == Precision::bf16 ? cpu::bf16_micro_kernel() : cpu::f32_micro_kernel();
}

cpu::MatrixView view_of(const Tensor& matrix) {
  return {matrix.raw(), matrix.dtype(), matrix.dim(0), matrix.dim(1), matrix.stride(0), matrix.stride(1)};
}

void require_matrix(const Tensor& tensor, std::string_view what) {
  if (!tensor || tensor.rank() != 2) {
    throw base::Error("[matmul] {}: got {}, expected a matrix", what, describe(tensor));
  }
}

void require_dtype(const Tensor& tensor, std::initializer_list<DType> allowed, std::string_view what) {
  for (const DType dtype : allowed) {
    if (tensor.dtype() == dtype) return;
  }
  throw base::Error("[matmul] {}: got {}, expected elements of type {}", what, describe(tensor),
                    name_of(*allowed.begin()));
}

void require_contiguous_rows(const Tensor& matrix, std::string_view what) {
  if (matrix.dim(1) > 1 && matrix.stride(1) != 1) {
    throw base::Error("[matmul] {}: the elements of a row of {} must stand together", what, describe(matrix));
  }
}

/// Everything about a product's operands but the packed matrix itself.
void check(const Tensor& a, int64_t depth, int64_t columns, bool reference, const Tensor& out,
           const Epilogue& epilogue) {
  require_matrix(a, "left operand");
  require_matrix(out, "output");
  if (a.dim(1) != depth) {
    throw base::Error("[matmul] left operand {} and right operand [{}, {}]: the inner extents differ", describe(a),
                      depth, columns);
  }
  const Shape shape{a.dim(0), columns};
  require_shape(out, shape, "[matmul] output");
  require_contiguous_rows(out, "output");
  if (reference) {
    require_dtype(a, {DType::f64}, "left operand");
    require_dtype(out, {DType::f64}, "output");
  } else {
    require_dtype(a, {DType::f32, DType::bf16}, "left operand");
    require_dtype(out, {DType::f32, DType::bf16}, "output");
  }
  const DType exact = reference ? DType::f64 : DType::f32;
  if (epilogue.bias) {
    require_shape(epilogue.bias, Shape{columns}, "[matmul] bias");
    require_dtype(epilogue.bias, {exact}, "bias");
    if (columns > 1 && epilogue.bias.stride(0) != 1) throw base::Error("[matmul] the bias must be contiguous");
  }
  if (epilogue.preactivation) {
    require_shape(epilogue.preactivation, shape, "[matmul] preactivation");
    require_dtype(epilogue.preactivation, {out.dtype()}, "preactivation");
    require_contiguous_rows(epilogue.preactivation, "preactivation");
  }
  if (epilogue.residual) {
    require_shape(epilogue.residual, shape, "[matmul] residual");
    require_dtype(epilogue.residual, {exact}, "residual");
    require_contiguous_rows(epilogue.residual, "residual");
    if (out.dtype() != exact) {
      throw base::Error("[matmul] a residual of type {} needs an output of the same type, got {}", name_of(exact),
                        describe(out));
    }
  }
  if (epilogue.accumulate &&
      (epilogue.bias || epilogue.preactivation || epilogue.residual || epilogue.activation != Activation::none)) {
    throw base::Error("[matmul] adding to the output excludes bias, activation and residual");
  }
}

cpu::TileEpilogue tile_epilogue(const Tensor& out, const Epilogue& epilogue) {
  cpu::TileEpilogue tile;
  tile.out = out.raw();
  tile.out_dtype = out.dtype();
  tile.out_stride = out.stride(0);
  if (epilogue.bias) tile.bias = epilogue.bias.data<float>();
  tile.activation = epilogue.activation;
  if (epilogue.preactivation) {
    tile.preactivation = epilogue.preactivation.raw();
    tile.preactivation_stride = epilogue.preactivation.stride(0);
  }
  if (epilogue.residual) {
    tile.residual = epilogue.residual.data<float>();
    tile.residual_stride = epilogue.residual.stride(0);
  }
  tile.accumulate = epilogue.accumulate;
  return tile;
}

}  // namespace

size_t packed_bytes(int64_t depth, int64_t columns, Precision precision) {
  const cpu::MicroKernel& kernel = kernel_for(precision);
  const int64_t panels = (columns + kernel.columns - 1) / kernel.columns;
  return static_cast<size_t>(panels * kernel.b_panel_bytes(depth));
}

void pack(const Tensor& b, Precision precision, PackedMatrix& packed, Arena& arena) {
  require_matrix(b, "right operand");
  require_dtype(b, {DType::f32, DType::bf16, DType::f64}, "right operand");
  const bool reference = b.dtype() == DType::f64;
  const size_t bytes = reference ? b.bytes() : packed_bytes(b.dim(0), b.dim(1), precision);
  const DType dtype = reference ? DType::f64 : DType::u8;
  if (!packed.bytes || packed.bytes.dtype() != dtype || packed.bytes.bytes() != bytes) {
    packed.bytes = Tensor();
    packed.bytes = Tensor::empty(reference ? b.shape() : Shape{static_cast<int64_t>(bytes)}, dtype, arena);
  } else if (reference) {
    packed.bytes = packed.bytes.reshape(b.shape());
  }
  packed.depth = b.dim(0);
  packed.columns = b.dim(1);
  packed.precision = precision;
  if (packed.bytes.device() == Device::meta || b.device() == Device::meta) return;
  if (reference) {
    cpu::copy_matrix(b, packed.bytes);
  } else {
    cpu::pack_panels(kernel_for(precision), view_of(b), packed.bytes.raw());
  }
}

void matmul(const Tensor& a, const PackedMatrix& b, Tensor& out, const Epilogue& epilogue) {
  if (!b.bytes) throw base::Error("[matmul] the right operand was never packed");
  const bool reference = b.bytes.dtype() == DType::f64;
  check(a, b.depth, b.columns, reference, out, epilogue);
  if (out.device() == Device::meta || out.elements() == 0) return;
  if (reference) {
    cpu::reference_matmul(a, b.bytes, out, epilogue);
    return;
  }
  cpu::MatrixView shape{};
  shape.rows = b.depth;
  shape.columns = b.columns;
  cpu::multiply(kernel_for(b.precision), {view_of(a), shape, b.bytes.raw(), tile_epilogue(out, epilogue)});
}

void matmul(const Tensor& a, const Tensor& b, Precision precision, Tensor& out, const Epilogue& epilogue) {
  require_matrix(b, "right operand");
  require_dtype(b, {DType::f32, DType::bf16, DType::f64}, "right operand");
  const bool reference = b.dtype() == DType::f64;
  check(a, b.dim(0), b.dim(1), reference, out, epilogue);
  if (out.device() == Device::meta || out.elements() == 0) return;
  if (reference) {
    cpu::reference_matmul(a, b, out, epilogue);
    return;
  }
  cpu::multiply(kernel_for(precision), {view_of(a), view_of(b), nullptr, tile_epilogue(out, epilogue)});
}

}  // namespace fledge::tensor
