#include "tensor/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "base/error.h"
#include "tensor/check.h"
#include "tensor/cpu/gemm_driver.h"
#include "tensor/cpu/reference_matmul.h"
#include "tensor/matmul_operands.h"

namespace fledge::tensor {
namespace {

const cpu::MicroKernel& kernel_for(Precision precision) {
  return precision == Precision::bf16 ? cpu::bf16_micro_kernel() : cpu::f32_micro_kernel();
}

cpu::MatrixView view_of(const Tensor& matrix) {
  return {matrix.raw(), matrix.dtype(), matrix.dim(0), matrix.dim(1), matrix.stride(0), matrix.stride(1)};
}

std::vector<cpu::Term> terms_of(const Epilogue& epilogue) {
  std::vector<cpu::Term> terms;
  for (const ProductTerm& term : epilogue.terms) terms.push_back({view_of(term.a), term.b->bytes.raw()});
  return terms;
}

}  // namespace

size_t packed_bytes(int64_t depth, int64_t columns, Precision precision) {
  const cpu::MicroKernel& kernel = kernel_for(precision);
  const int64_t panels = (columns + kernel.columns - 1) / kernel.columns;
  return static_cast<size_t>(panels * kernel.b_panel_bytes(depth));
}

bool packs_bf16() {
  return kernel_for(Precision::bf16).b_operand == DType::bf16;
}

void pack(const Tensor& b, Precision precision, PackedMatrix& packed, Arena& arena) {
  require_matrix(b, "[matmul] right operand");
  require_dtype(b, {DType::f32, DType::bf16, DType::f64}, "[matmul] right operand");
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
  packed.exceptions = Tensor();
  if (packed.bytes.device() == Device::meta || b.device() == Device::meta) return;
  if (reference) {
    cpu::copy_matrix(b, packed.bytes);
  } else {
    cpu::pack_panels(kernel_for(precision), view_of(b), packed.bytes.raw());
  }
}

void pack_narrow(const Tensor& b, PackedMatrix& packed, Arena& arena) {
  const cpu::MicroKernel& kernel = kernel_for(Precision::bf16);
  require_matrix(b, "[matmul] right operand");
  require_dtype(b, {DType::f32, DType::bf16, DType::f64}, "[matmul] right operand");
  if (kernel.narrow == nullptr || b.dtype() == DType::f64 || b.elements() == 0) {
    return pack(b, Precision::bf16, packed, arena);
  }
  const int64_t panels = (b.dim(1) + kernel.columns - 1) / kernel.columns;
  packed = {};
  packed.bytes = Tensor::empty({panels * cpu::narrow_panel_bytes(kernel, b.dim(0))}, DType::u8, arena);
  if (packed.bytes.device() == Device::cpu && b.device() == Device::cpu) {
    const std::vector<uint32_t> exceptions = cpu::pack_narrow_panels(kernel, view_of(b), packed.bytes.raw());
    if (exceptions.empty()) return pack(b, Precision::bf16, packed, arena);
    const auto bytes = std::as_bytes(std::span(exceptions));
    packed.exceptions = Tensor::empty({static_cast<int64_t>(bytes.size())}, DType::u8, arena);
    std::ranges::copy(bytes, packed.exceptions.raw());
  }
  packed.depth = b.dim(0);
  packed.columns = b.dim(1);
  packed.precision = Precision::bf16;
}

void matmul(const Tensor& a, const PackedMatrix& b, Tensor& out, const Epilogue& epilogue) {
  if (!b.bytes) throw base::Error("[matmul] the right operand was never packed");
  const bool reference = b.bytes.dtype() == DType::f64;
  check_product(a, b.depth, b.columns, reference, out, epilogue);
  check_terms(epilogue, out, reference, b.precision);
  if (out.device() == Device::meta || out.elements() == 0) return;
  if (reference) {
    cpu::reference_matmul(a, b.bytes, out, epilogue);
    return;
  }
  const std::vector<cpu::Term> terms = terms_of(epilogue);
  cpu::MatrixView shape{};
  shape.rows = b.depth;
  shape.columns = b.columns;
  cpu::Product product{view_of(a), shape, b.bytes.raw(), tile_epilogue(out, epilogue), terms};
  if (b.exceptions) {
    product.packed_b = nullptr;
    product.narrow_b = {b.bytes.raw(), reinterpret_cast<const uint32_t*>(b.exceptions.raw())};
  }
  cpu::multiply(kernel_for(b.precision), product);
}

void matmul(const Tensor& a, const Tensor& b, Precision precision, Tensor& out, const Epilogue& epilogue) {
  require_matrix(b, "[matmul] right operand");
  require_dtype(b, {DType::f32, DType::bf16, DType::f64}, "[matmul] right operand");
  const bool reference = b.dtype() == DType::f64;
  check_product(a, b.dim(0), b.dim(1), reference, out, epilogue);
  check_terms(epilogue, out, reference, precision);
  if (out.device() == Device::meta || out.elements() == 0) return;
  if (reference) {
    cpu::reference_matmul(a, b, out, epilogue);
    return;
  }
  const std::vector<cpu::Term> terms = terms_of(epilogue);
  cpu::multiply(kernel_for(precision), {view_of(a), view_of(b), nullptr, tile_epilogue(out, epilogue), terms});
}

}  // namespace fledge::tensor
