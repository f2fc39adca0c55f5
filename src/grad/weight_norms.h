#pragma once

#include "grad/graph.h"

namespace fledge::grad {

/// Brings the norms ||W + scale B A|| and the factors m / norm in an adapter's encoding up to date (DoRA). W is read
/// where it stands; quantized blocks are widened some rows at a time. The sum W + scale B A is never made:
/// ||W + s B A||^2 = ||W||^2 + 2 s <W A^T, B> + s^2 <B A A^T, B>, row by row.
void update_factors(Graph& graph, Parameter& weight, WeightLayout layout, Adapter& adapter);

/// Sets an adapter's magnitudes to the norms, so that it begins without effect.
void initialize_magnitudes(Graph& graph, Parameter& weight, WeightLayout layout, Adapter& adapter);

}  // namespace fledge::grad
