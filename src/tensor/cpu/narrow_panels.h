#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/cpu/micro_kernel.h"

// bf16 weights in three quarters of their memory, and exactly. A weight's exponents lie close together: of normally
// distributed values all but one in some thousands are within 15 powers of two of the largest. A value is kept as its
// sign and fraction (8 bits) and how far its exponent lies below the largest of its column (4 bits); the few that are
// further away stand in a list. Making tokens takes as long as the weights' way from memory, which is a quarter
// shorter.
namespace fledge::tensor::cpu {

/// Panels of B that were made narrow: bases, then units (gemm_functions.h), of each panel.
struct NarrowPanels {
  const std::byte* panels = nullptr;
  /// How many panels there are, where the exceptions of each begin, the end of the last, then the exceptions
  /// themselves.
  const uint32_t* exceptions = nullptr;
};

/// Bytes of one panel.
int64_t narrow_panel_bytes(const MicroKernel& kernel, int64_t depth);

/// Makes all of b [K, N], rounded to bf16, narrow, in parallel: ceil(N / columns) panels into `panels`. Returns the
/// exceptions as NarrowPanels wants them; nothing where they are so many that narrow panels would not pay, or where the
/// kernel has none.
std::vector<uint32_t> pack_narrow_panels(const MicroKernel& kernel, const MatrixView& b, std::byte* panels);

/// A panel from depth `first` on, a multiple of kNarrowDepthUnit, of panels with `total_depth`.
NarrowSource narrow_source(const MicroKernel& kernel, const NarrowPanels& narrow, int64_t panel, int64_t total_depth,
                           int64_t first);

constexpr int64_t kNarrowDepthUnit = 4;

}  // namespace fledge::tensor::cpu
