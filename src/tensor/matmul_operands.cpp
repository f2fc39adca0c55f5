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

/// What is done to the sums before the bias.
void check_sums(const Epilogue& epilogue, const Shape& shape, DType exact, const Tensor& out) {
  if (epilogue.addend) {
    require_shape(epilogue.addend, shape, "[matmul] addend");
    require_dtype(epilogue.addend, {exact}, "[matmul] addend");
    require_contiguous_rows(epilogue.addend, "addend");
  }
  if (epilogue.scale) {
    require_shape(epilogue.scale, epilogue.scale.rank() == 1 ? Shape{shape[1]} : shape, "[matmul] scale");
    require_dtype(epilogue.scale, {exact}, "[matmul] scale");
    if (shape[1] > 1 && epilogue.scale.stride(-1) != 1) throw base::Error("[matmul] the scale must be contiguous");
  }
  if (epilogue.unscaled) {
    require_shape(epilogue.unscaled, shape, "[matmul] unscaled");
    require_dtype(epilogue.unscaled, {out.dtype()}, "[matmul] unscaled");
    require_contiguous_rows(epilogue.unscaled, "unscaled");
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
  check_sums(epilogue, shape, exact, out);
  if (epilogue.accumulate && (epilogue.bias || epilogue.preactivation || epilogue.residual || epilogue.addend ||
                              epilogue.scale || epilogue.unscaled || epilogue.activation != Activation::none)) {
    throw base::Error("[matmul] adding to the output excludes bias, scale, activation and residual");
  }
}

void check_terms(const Epilogue& epilogue, const Tensor& out, bool reference, Precision precision) {
  for (const ProductTerm& term : epilogue.terms) {
    require_matrix(term.a, "[matmul] left operand of a term");
    if (term.b == nullptr || !term.b->bytes) throw base::Error("[matmul] the right operand of a term was never packed");
    require_shape(term.a, Shape{out.dim(0), term.b->depth}, "[matmul] left operand of a term");
    const bool fits =
        (term.b->bytes.dtype() == DType::f64) == reference && (reference || term.b->precision == precision);
    if (term.b->exceptions) throw base::Error("[matmul] the right operand of a term must not be narrow");
    if (term.b->columns != out.dim(1) || !fits) {
      throw base::Error("[matmul] a term of {} columns, expected {} and the precision of the product", term.b->columns,
                        out.dim(1));
    }
    if (reference) {
      require_dtype(term.a, {DType::f64}, "[matmul] left operand of a term");
    } else {
      require_dtype(term.a, {DType::f32, DType::bf16}, "[matmul] left operand of a term");
    }
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
  if (epilogue.addend) {
    tile.addend = epilogue.addend.data<float>();
    tile.addend_stride = epilogue.addend.stride(0);
  }
  if (epilogue.scale) {
    tile.scale = epilogue.scale.data<float>();
    tile.scale_stride = epilogue.scale.rank() == 1 ? 0 : epilogue.scale.stride(0);
  }
  if (epilogue.unscaled) {
    tile.unscaled = epilogue.unscaled.raw();
    tile.unscaled_stride = epilogue.unscaled.stride(0);
  }
  return tile;
}

}  // namespace fledge::tensor
