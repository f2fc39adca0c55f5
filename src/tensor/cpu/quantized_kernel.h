#pragma once

#include <string_view>
#include <vector>

#include "tensor/block_format.h"
#include "tensor/cpu/quantized_functions.h"

namespace fledge::tensor::cpu {

/// One instruction set's product of panels of block-quantized weights with activations in int8.
struct QuantizedKernel {
  std::string_view name;  ///< "avx512_vnni", ...
  QuantizedMultiply* multiply;
  QuantizedUnpack* unpack;  ///< null: panels are always multiplied as they are
  int64_t maximum_rows;     ///< of a chunk
  int64_t unpack_above;     ///< with more rows than this, panels are unpacked before they are multiplied
  bool unpacks_q8_0;        ///< whether that helps q8_0 too
  void (*release)();        ///< what a thread calls when it has no more to multiply for now; null: nothing

  /// Rows of the next chunk where `remaining` (> 0) are left.
  int64_t chunk_rows(int64_t remaining) const;
};

/// The fastest kernel of this machine and of the permitted instruction sets.
const QuantizedKernel& quantized_kernel();
/// Every kernel that can run here, and an emulated AMX kernel where AVX512_VNNI is there; for tests.
std::vector<const QuantizedKernel*> all_quantized_kernels();

/// The type that products use a weight of `type` as: one with a kernel, which holds the same values.
constexpr BlockType computed_type(BlockType type) {
  return type == BlockType::q5_0 ? BlockType::q8_0 : type;
}
constexpr PanelKind panel_kind(BlockType type) {
  return static_cast<PanelKind>(computed_type(type));
}
/// The kind that a panel has when it is unpacked.
constexpr PanelKind wide_kind(BlockType type) {
  if (type == BlockType::q6_k) return PanelKind::wide_halves;
  return type == BlockType::q4_1 || type == BlockType::q4_k ? PanelKind::wide_minimum : PanelKind::wide;
}
/// What is added to numbers so that they are stored unsigned; 0 for types with a minimum.
constexpr int number_offset(BlockType type) {
  constexpr int kOffsets[] = {128, 8, 0, 0, 32, 128};
  return kOffsets[static_cast<size_t>(type)];
}
/// Bytes of a panel.
size_t panel_bytes(PanelKind kind, int64_t groups);

/// Packs rows [row, row + 16) of the matrix, those beyond its last as zeros.
void pack_panel(const BlockMatrix& matrix, int64_t row, uint8_t* panel);

}  // namespace fledge::tensor::cpu
