#include "tensor/rotary.h"

#include <cmath>

#include "base/parallel.h"
#include "tensor/cpu/reference/elementwise.h"
#include "tensor/cpu/reference/rotary.h"
#include "tensor/cpu/rotary.h"
#include "tensor/cpu_features.h"
#include "tensor/strided_rows.h"

namespace fledge::tensor {

void rotary_angles(const Tensor& positions, std::span<const float> inverse_frequencies, double attention_factor,
                   Tensor out) {
  const auto half = static_cast<int64_t>(inverse_frequencies.size());
  if (!positions || positions.rank() != 1) {
    throw base::Error("[rotary_angles] positions: got {}, expected i32 [R]", describe(positions));
  }
  require(positions, positions.shape(), {DType::i32}, "[rotary_angles] positions");
  require(out, {positions.dim(0), 2 * half}, {DType::f32, DType::f64}, "[rotary_angles] out");
  if (is_meta(out) || is_meta(positions)) return;
  constexpr int64_t kAngles = 512;  // that are worth a thread
  const int64_t grain = std::max<int64_t>(1, kAngles / std::max<int64_t>(1, half));
  base::parallel_for(positions.dim(0), grain, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const auto position = static_cast<float>(positions.data<int32_t>()[r]);
      for (int64_t i = 0; i < half; ++i) {
        const float angle = position * inverse_frequencies[static_cast<size_t>(i)];
        const double turn = angle;
        cpu::reference::set(out.raw(), out.dtype(), r * 2 * half + i, std::cos(turn) * attention_factor);
        cpu::reference::set(out.raw(), out.dtype(), r * 2 * half + half + i, std::sin(turn) * attention_factor);
      }
    }
  });
}

void rotate(const Tensor& x, const Tensor& angles, bool inverse, Tensor out) {
  if (!x || x.rank() != 3 || x.dim(2) % 2 != 0) {
    throw base::Error("[rotate] x: got {}, expected [R, H, D] with an even D", describe(x));
  }
  const cpu::Rows from = rows_of(x, {DType::f32, DType::bf16, DType::f64}, "[rotate] x");
  const cpu::Rows to = rows_of(out, x.shape(), {x.dtype()}, "[rotate] out");
  const bool wide = x.dtype() == DType::f64;
  require(angles, {x.dim(0), x.dim(2)}, {wide ? DType::f64 : DType::f32}, "[rotate] angles");
  if (is_meta(x) || is_meta(out) || x.elements() == 0) return;
  instruction_set();
  const int64_t grain = std::max<int64_t>(1, 16384 / (x.dim(1) * x.dim(2)));
  base::parallel_for(x.dim(0), grain, [&](int64_t first, int64_t last) {
    if (!wide) return cpu::rotate_rows(from, angles.data<float>(), inverse, to, first, last);
    for (int64_t r = first; r < last; ++r) {
      for (int64_t h = 0; h < from.heads; ++h) {
        cpu::reference::rotate_head(from.at<double>(r, h), from.columns, angles.data<double>() + r * from.columns,
                                    inverse, to.at<double>(r, h));
      }
    }
  });
}

}  // namespace fledge::tensor
