#include "tensor/matmul_operands.h"

#include "base/error.h"
#include "tensor/check.h"

namespace fledge::tensor {
namespace {

void require_contiguous_rows(const Tensor& matrix, std::string_view what) {
  if (matrix.dim(1) > 1 && matrix.stride(1) != 1) {
    throw base::Error("[matmul] {}: the elements of a row of {} must stand together", what, describe(matrix));
  }
}

}  // namespace

void check_product(const Tensor& a, int64_t depth, int64_t columns, bool reference, const Tensor& out,
                   const Epilogue& epilogue) {
  require_matrix(a, "[matmul] left operand");
  require_matrix(out, "[matmul] output");
  if (a.dim(1) != depth) {
    throw base::Error("[matmul] left operand {} and right operand [{}, {}]: the inner extents differ", describe(a),
                      depth, columns);
  }
  const Shape shape{a.dim(0), columns};
  require_shape(out, shape, "[matmul] output");
  require_contiguous_rows(out, "output");
  if (reference) {
    require_dtype(a, {DType::f64}, "[matmul] left operand");
    require_dtype(out, {DType::f64}, "[matmul] output");
  } else {
    require_dtype(a, {DType::f32, DType::bf16}, "[matmul] left operand");
    require_dtype(out, {DType::f32, DType::bf16}, "[matmul] output");
  }
  const DType exact = reference ? DType::f64 : DType::f32;
  if (epilogue.bias) {
    require_shape(epilogue.bias, Shape{columns}, "[matmul] bias");
    require_dtype(epilogue.bias, {exact}, "[matmul] bias");
    if (columns > 1 && epilogue.bias.stride(0) != 1) throw base::Error("[matmul] the bias must be contiguous");
  }
  if (epilogue.preactivation) {
    require_shape(epilogue.preactivation, shape, "[matmul] preactivation");
    require_dtype(epilogue.preactivation, {out.dtype()}, "[matmul] preactivation");
    require_contiguous_rows(epilogue.preactivation, "preactivation");
  }
  if (epilogue.residual) {
    require_shape(epilogue.residual, shape, "[matmul] residual");
    require_dtype(epilogue.residual, {exact}, "[matmul] residual");
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

}  // namespace fledge::tensor
