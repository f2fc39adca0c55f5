#pragma once

#include "base/random.h"
#include "tensor/tensor.h"

namespace fledge::tensor {

/// Fills t (f32 or f64, contiguous) with normal numbers of the given mean and standard deviation: element i is drawn at
/// counter i, so the content is a function of the generator's key alone.
void fill_normal(Tensor& t, double mean, double standard_deviation, const base::Random& random);

/// The same with numbers that are uniform in [-bound, bound).
void fill_uniform(Tensor& t, double bound, const base::Random& random);

}  // namespace fledge::tensor
