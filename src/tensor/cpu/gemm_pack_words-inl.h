#pragma once

#include "tensor/cpu/gemm_pack-inl.h"

// What packing with AVX2 and with AVX-512 have in common: panels of 32-bit words, one f32 or two bf16 that are
// neighbours in depth. Everything has internal linkage.
namespace fledge::tensor::cpu {
namespace {

enum class Words { f32, rounded, pairs };

template <Words kWords>
constexpr int kElementsPerWord = kWords == Words::pairs ? 2 : 1;

/// Words of one lane of a panel.
template <Words kWords>
int64_t panel_words(const PanelSource& source, int64_t depth_unit) {
  return (source.depth + depth_unit - 1) / depth_unit * depth_unit / kElementsPerWord<kWords>;
}

/// panel[padded K / elements per word][kLanes] of words, of a source that is contiguous in neither direction.
template <Words kWords, int kLanes>
void pack_scattered(const PanelSource& source, int64_t depth_unit, void* panel) {
  if constexpr (kWords == Words::pairs) {
    pack_pairs_portable<kLanes>(source, depth_unit, panel);
  } else {
    pack_portable<kWords == Words::rounded, kLanes>(source, depth_unit, panel);
  }
}

/// The same of any source; each instruction set has its own.
template <Words kWords, int kLanes>
void pack_words(const PanelSource& source, int64_t depth_unit, void* panel);

/// Up to kLanes rows, with as many lanes as there are rows.
template <Words kWords, int kLanes>
void pack_few_rows(const PanelSource& source, int64_t depth_unit, void* panel) {
  if (source.lanes == kLanes) {
    pack_words<kWords, kLanes>(source, depth_unit, panel);
  } else if constexpr (kLanes > 1) {
    pack_few_rows<kWords, kLanes - 1>(source, depth_unit, panel);
  }
}

}  // namespace
}  // namespace fledge::tensor::cpu
