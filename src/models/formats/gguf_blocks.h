#pragma once

#include <cstddef>

namespace fledge::models {

// Blocks of the types that are read and not computed with: values from bytes, the same bits as ggml's reference
// functions. Layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h

/// out[0, 32) = d * q + m; q in 0..31.
void dequantize_q5_1(const std::byte* block, float* out);
/// out[0, 256) = d * s * q - dmin * m; 6-bit s and m for each 32 elements, q in 0..31.
void dequantize_q5_k(const std::byte* block, float* out);
/// out[0, 256) = d * s * q - dmin * m; 4-bit s and m for each 16 elements, q in 0..3.
void dequantize_q2_k(const std::byte* block, float* out);
/// out[0, 256) = d * s * q; 6-bit s for each 16 elements, q in -4..3.
void dequantize_q3_k(const std::byte* block, float* out);

}  // namespace fledge::models
