#pragma once

#include <cstdint>

#include "tensor/cpu/cross_entropy.h"
#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

/// A row of logits and what its softmax with temperature needs: the probability of an element is
/// e^((element - greatest) * factor) / sum, factor being one over the temperature.
struct TemperedRow {
  const float* logits;
  Softmax softmax;
};

/// The greatest element of a row and the sum of e^((element - greatest) * factor).
Softmax tempered_statistics(const float* row, int64_t columns, float factor);

/// Sum over the row of p (log p - log q), p and q being the probabilities of the two rows.
double divergence(const TemperedRow& p, const TemperedRow& q, int64_t columns, float factor);

/// Whether the same place holds both rows' greatest elements.
bool same_greatest(const TemperedRow& a, const TemperedRow& b, int64_t columns);

/// The gradient at the student's logits, of type f32 or bf16 (out may be the student's row):
///   plain e^(s - greatest) + student e^((s - greatest) factor) - teacher e^((t - greatest) factor).
struct ForwardGradient {
  float plain, student, teacher;
};
void forward_gradient(const TemperedRow& student, const TemperedRow& teacher, int64_t columns, float factor,
                      const ForwardGradient& weights, void* out, DType out_dtype);

/// The same of the reverse divergence: plain e^(s - greatest) + student e^((s - greatest) factor) (log q - log p -
/// divergence), q being the student's probability and p the teacher's.
struct ReverseGradient {
  float plain, student, divergence;
};
void reverse_gradient(const TemperedRow& student, const TemperedRow& teacher, int64_t columns, float factor,
                      const ReverseGradient& weights, void* out, DType out_dtype);

}  // namespace fledge::tensor::cpu
