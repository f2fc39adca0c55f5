#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace fledge::tensor {

/// Arithmetic of a matrix product: operands as they are with f32 sums, or rounded to bf16 with f32 sums.
/// f64 operands are always computed in f64 by the plain reference loop.
enum class Precision : uint8_t { f32, bf16 };

enum class Activation : uint8_t { none, gelu_exact, gelu_tanh };

/// A right operand [K, N] laid out once for the machine's micro-kernel and used many times.
/// `bytes` is reused by later packs of the same size. On the meta device it has a size and no content.
struct PackedMatrix {
  int64_t depth = 0;    ///< K
  int64_t columns = 0;  ///< N
  Precision precision = Precision::f32;
  Tensor bytes;       ///< u8; or, for f64 operands, the plain f64 matrix
  Tensor exceptions;  ///< u8; defined where the panels were made narrow (pack_narrow())
};

/// A further product a b whose sums join those of the main one: a [M, R], b [R, N] packed in the same precision.
struct ProductTerm {
  Tensor a;
  const PackedMatrix* b = nullptr;
};

/// What happens to the sums before they are stored: out = residual + activation(scale * (sum + addend) + bias), or
/// out += sum.
struct Epilogue {
  Tensor bias;  ///< [N], f32 (f64 in f64 products); undefined: none
  Activation activation = Activation::none;
  Tensor preactivation;     ///< [M, N], dtype of the output: receives sum + bias; undefined: not kept
  Tensor residual;          ///< [M, N], f32 (f64 in f64 products): added last; undefined: none. May be the output
  bool accumulate = false;  ///< add to the output instead; excludes all but terms
  std::span<const ProductTerm> terms = {};  ///< summed behind the main product's depth, before anything else
  Tensor addend;                            ///< [M, N], f32 (f64 in f64 products); undefined: none
  Tensor scale;     ///< [N], or [M, N] for a scale of each row's own, f32 (f64 in f64 products); undefined: 1
  Tensor unscaled;  ///< [M, N], dtype of the output: receives sum + addend; undefined: not kept
};

/// Bytes that pack() needs for a [K, N] operand.
size_t packed_bytes(int64_t depth, int64_t columns, Precision precision);

/// Whether weights that are packed for bf16 stay two bytes an element (or fewer, see pack_narrow()). Making text, which
/// waits for the weights' way from memory, is then faster in bf16 even where products as such are not.
bool packs_bf16();

/// Packs b [K, N] (any strides, f32 or bf16; f64 for reference products) into `packed`, with memory from `arena` unless
/// `packed` already has memory of the right size.
void pack(const Tensor& b, Precision precision, PackedMatrix& packed, Arena& arena);

/// The same in bf16, and where the machine's kernel and the values allow it in three quarters of the memory: 12 bits
/// for each value, exactly (tensor/cpu/narrow_panels.h). Made for weights that do not change: packing takes longer,
/// products have the same results and need less of the memory's bandwidth.
void pack_narrow(const Tensor& b, PackedMatrix& packed, Arena& arena);

/// out[M, N] = a[M, K] * b[K, N]. a: f32, bf16 or f64 with any strides (a transposed view is fine); out: f32, bf16 or
/// f64, contiguous rows. Each element of the result is summed in an order that depends on K and the precision alone,
/// never on M, on the row, or on the number of threads. Throws Error where shapes do not fit.
void matmul(const Tensor& a, const PackedMatrix& b, Tensor& out, const Epilogue& epilogue = {});

/// The same with b packed on the way, in a workspace that is kept between calls.
void matmul(const Tensor& a, const Tensor& b, Precision precision, Tensor& out, const Epilogue& epilogue = {});

}  // namespace fledge::tensor
