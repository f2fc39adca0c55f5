#pragma once

#include <span>

#include "tensor/tensor.h"

namespace fledge::tensor {

// Rotary positions (Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021, section 3.2), in
// Hugging Face's order: element i of a head of D is paired with element i + D / 2, and the pair is turned by the angle
// position * inverse_frequencies[i].

/// out [R, D] P: for every position (i32 [R]) the cosines and then the sines of its D / 2 angles, times
/// `attention_factor`. P is f32 (f64 in reference mode). Angles are rounded to f32 as transformers does, so that far
/// positions turn by the same amount there and here.
void rotary_angles(const Tensor& positions, std::span<const float> inverse_frequencies, double attention_factor,
                   Tensor out);

/// out = x with every head turned by its row's angles, or with `inverse` by their negatives (which is the gradient).
/// x, out [R, H, D] f32 or bf16 (f64 in reference mode), any strides with a contiguous last dimension; angles [R, D] P;
/// out may be x.
void rotate(const Tensor& x, const Tensor& angles, bool inverse, Tensor out);

}  // namespace fledge::tensor
