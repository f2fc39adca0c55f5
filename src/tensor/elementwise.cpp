#include "tensor/elementwise.h"

#include <array>
#include <atomic>
#include <cstring>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/elementwise.h"
#include "tensor/cpu/partials.h"
#include "tensor/cpu/reference/elementwise.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

constexpr int64_t kGrain = 32768;  // elements that are worth a thread
constexpr int64_t kBlock = 4096;   // elements summed together, whatever the number of threads

bool is_floating(DType dtype) {
  return dtype <= DType::f16;
}

/// Fast kernels know these.
bool is_fast(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16;
}

/// The common walk over N tensors of one shape: neighbouring dimensions that all tensors hold together are merged, and
/// the innermost one is a run that kernels take whole.
template <size_t N>
class Walk {
 public:
  explicit Walk(const std::array<const Tensor*, N>& tensors) : elements_(tensors[0]->elements()) {
    const Shape& shape = tensors[0]->shape();
    for (int dimension = 0; dimension < shape.rank(); ++dimension) {
      if (shape[dimension] == 1) continue;
      Axis axis{shape[dimension], {}};
      for (size_t i = 0; i < N; ++i) axis.strides[i] = tensors[i]->stride(dimension);
      if (rank_ > 0 && continues(axes_[rank_ - 1], axis)) {
        axes_[rank_ - 1] = {axes_[rank_ - 1].extent * axis.extent, axis.strides};
      } else {
        axes_[rank_++] = axis;
      }
    }
    if (rank_ == 0) axes_[rank_++] = {1, unit()};
  }

  /// All tensors' runs have neighbouring elements.
  bool has_dense_runs() const { return axes_[rank_ - 1].strides == unit(); }

  /// Calls body(offsets of the N first elements, strides of the run, count), in parallel.
  template <typename Body>
  void for_each_run(const Body& body) const {
    base::parallel_for(elements_, kGrain, [&](int64_t first, int64_t last) {
      const Axis& inner = axes_[rank_ - 1];
      for (int64_t at = first; at < last;) {
        const int64_t start = at % inner.extent;
        const int64_t count = std::min(inner.extent - start, last - at);
        body(offsets_of(at), inner.strides, count);
        at += count;
      }
    });
  }

 private:
  struct Axis {
    int64_t extent = 1;
    std::array<int64_t, N> strides{};
  };

  static std::array<int64_t, N> unit() {
    std::array<int64_t, N> ones{};
    ones.fill(1);
    return ones;
  }

  static bool continues(const Axis& outer, const Axis& inner) {
    for (size_t i = 0; i < N; ++i) {
      if (outer.strides[i] != inner.strides[i] * inner.extent) return false;
    }
    return true;
  }

  std::array<int64_t, N> offsets_of(int64_t element) const {
    std::array<int64_t, N> offsets{};
    for (int axis = rank_ - 1; axis >= 0; --axis) {
      const int64_t position = element % axes_[axis].extent;
      element /= axes_[axis].extent;
      for (size_t i = 0; i < N; ++i) offsets[i] += position * axes_[axis].strides[i];
    }
    return offsets;
  }

  std::array<Axis, Shape::kMaximumRank> axes_{};
  int rank_ = 0;
  int64_t elements_;
};

std::byte* address(const Tensor& t, int64_t offset) {
  return t.raw() + offset * static_cast<int64_t>(size_of(t.dtype()));
}

/// Moves elements of 1, 2, 4 or 8 bytes.
template <typename Word>
void move_words(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t count) {
  const auto* source = static_cast<const Word*>(from);
  auto* target = static_cast<Word*>(to);
  for (int64_t i = 0; i < count; ++i) target[i * to_stride] = source[i * from_stride];
}

void move_elements(DType dtype, const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t count) {
  if (from_stride == 1 && to_stride == 1) {
    std::memmove(to, from, static_cast<size_t>(count) * size_of(dtype));
    return;
  }
  switch (size_of(dtype)) {
    case 1:
      return move_words<uint8_t>(from, from_stride, to, to_stride, count);
    case 2:
      return move_words<uint16_t>(from, from_stride, to, to_stride, count);
    case 4:
      return move_words<uint32_t>(from, from_stride, to, to_stride, count);
    default:
      return move_words<uint64_t>(from, from_stride, to, to_stride, count);
  }
}

/// Writes one element over and over.
void fill_elements(DType dtype, uint64_t bits, void* to, int64_t stride, int64_t count) {
  if (stride != 1) return move_elements(dtype, &bits, 0, to, stride, count);
  if (bits == 0) {
    std::memset(to, 0, static_cast<size_t>(count) * size_of(dtype));
    return;
  }
  switch (size_of(dtype)) {
    case 1:
      std::fill_n(static_cast<uint8_t*>(to), count, static_cast<uint8_t>(bits));
      return;
    case 2:
      std::fill_n(static_cast<uint16_t*>(to), count, static_cast<uint16_t>(bits));
      return;
    case 4:
      std::fill_n(static_cast<uint32_t*>(to), count, static_cast<uint32_t>(bits));
      return;
    default:
      std::fill_n(static_cast<uint64_t*>(to), count, bits);
  }
}

/// The value as an element of that type, in the first bytes of a word.
uint64_t element_bits(DType dtype, double value) {
  uint64_t bits = 0;
  const auto put = [&](auto element) { std::memcpy(&bits, &element, sizeof(element)); };
  switch (dtype) {
    case DType::i64:
      put(static_cast<int64_t>(value));
      break;
    case DType::i32:
      put(static_cast<int32_t>(value));
      break;
    case DType::u16:
      put(static_cast<uint16_t>(value));
      break;
    case DType::u8:
      put(static_cast<uint8_t>(value));
      break;
    default:
      cpu::reference::set(&bits, dtype, 0, value);
  }
  return bits;
}

}  // namespace

void copy(const Tensor& from, Tensor to) {
  require_shape(to, from.shape(), "[copy] to");
  const DType source = from.dtype(), target = to.dtype();
  if (source != target && !(is_floating(source) && is_floating(target))) {
    throw base::Error("[copy] got {} to {}, expected two floating-point types or equal types", describe(from),
                      describe(to));
  }
  if (is_meta(from) || is_meta(to)) return;
  instruction_set();
  const Walk<2> walk({&from, &to});
  const bool fast = walk.has_dense_runs() && (is_fast(source) || source == DType::f16) && is_fast(target);
  walk.for_each_run([&](const auto& at, const auto& strides, int64_t count) {
    if (source == target) {
      move_elements(source, address(from, at[0]), strides[0], address(to, at[1]), strides[1], count);
    } else if (fast) {
      cpu::convert(address(from, at[0]), source, address(to, at[1]), target, count);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        const double value = cpu::reference::get(from.raw(), source, at[0] + i * strides[0]);
        cpu::reference::set(to.raw(), target, at[1] + i * strides[1], value);
      }
    }
  });
}

void fill(Tensor t, double value) {
  if (!t) throw base::Error("[fill] got {}, expected a tensor", describe(t));
  if (is_meta(t)) return;
  const uint64_t bits = element_bits(t.dtype(), value);
  Walk<1>({&t}).for_each_run([&](const auto& at, const auto& strides, int64_t count) {
    fill_elements(t.dtype(), bits, address(t, at[0]), strides[0], count);
  });
}

void scale(Tensor t, double factor) {
  require_dtype(t, {DType::f64, DType::f32, DType::bf16}, "[scale] operand");
  if (is_meta(t)) return;
  instruction_set();
  const Walk<1> walk({&t});
  const bool fast = walk.has_dense_runs() && is_fast(t.dtype());
  walk.for_each_run([&](const auto& at, const auto& strides, int64_t count) {
    if (fast) {
      cpu::scale(address(t, at[0]), t.dtype(), static_cast<float>(factor), count);
    } else {
      const double rounded = t.dtype() == DType::f64 ? factor : static_cast<float>(factor);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t place = at[0] + i * strides[0];
        cpu::reference::set(t.raw(), t.dtype(), place, cpu::reference::get(t.raw(), t.dtype(), place) * rounded);
      }
    }
  });
}

void add(const Tensor& a, const Tensor& b, Tensor out) {
  if (a && a.dtype() == DType::f64) {
    require_dtype(b, {DType::f64}, "[add] b beside a in f64");
    require_dtype(out, {DType::f64}, "[add] out beside a in f64");
  }
  require_dtype(a, {DType::f64, DType::f32, DType::bf16}, "[add] a");
  if (a.dtype() != DType::f64) {
    require_dtype(b, {DType::f32, DType::bf16}, "[add] b");
    require_dtype(out, {DType::f32, DType::bf16}, "[add] out");
  }
  require_shape(b, a.shape(), "[add] b");
  require_shape(out, a.shape(), "[add] out");
  if (is_meta(a) || is_meta(b) || is_meta(out)) return;
  instruction_set();
  const Walk<3> walk({&a, &b, &out});
  const bool fast = walk.has_dense_runs() && a.dtype() != DType::f64;
  walk.for_each_run([&](const auto& at, const auto& strides, int64_t count) {
    if (fast) {
      cpu::add(address(a, at[0]), a.dtype(), address(b, at[1]), b.dtype(), address(out, at[2]), out.dtype(), count);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        const double left = cpu::reference::get(a.raw(), a.dtype(), at[0] + i * strides[0]);
        const double right = cpu::reference::get(b.raw(), b.dtype(), at[1] + i * strides[1]);
        cpu::reference::set(out.raw(), out.dtype(), at[2] + i * strides[2], left + right);
      }
    }
  });
}

void add_into(Tensor target, const Tensor& source) {
  add(target, source, target);
}

double sum_of_squares(const Tensor& t) {
  if (!t) throw base::Error("[sum_of_squares] got {}, expected a tensor", describe(t));
  require(t, t.shape(), {DType::f64, DType::f32, DType::bf16}, "[sum_of_squares] operand");
  if (is_meta(t)) return 0;
  instruction_set();
  const int64_t blocks = (t.elements() + kBlock - 1) / kBlock;
  double* sums = cpu::kept_workspace<double>(blocks);
  base::parallel_for(blocks, kGrain / kBlock, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t start = block * kBlock, count = std::min(kBlock, t.elements() - start);
      if (t.dtype() == DType::f64) {
        const double* values = t.data<double>() + start;
        double sum = 0;
        for (int64_t i = 0; i < count; ++i) sum += values[i] * values[i];
        sums[block] = sum;
      } else {
        sums[block] = cpu::sum_of_squares(address(t, start), t.dtype(), count);
      }
    }
  });
  double total = 0;
  for (int64_t block = 0; block < blocks; ++block) total += sums[block];
  return total;
}

bool all_finite(const Tensor& t) {
  if (!t) throw base::Error("[all_finite] got {}, expected a tensor", describe(t));
  require(t, t.shape(), {DType::f64, DType::f32, DType::bf16}, "[all_finite] operand");
  if (is_meta(t)) return true;
  instruction_set();
  std::atomic<bool> finite{true};
  base::parallel_for(t.elements(), kGrain, [&](int64_t first, int64_t last) {
    bool part = true;
    if (t.dtype() == DType::f64) {
      for (int64_t i = first; i < last; ++i) part = part && std::isfinite(t.data<double>()[i]);
    } else {
      part = cpu::all_finite(address(t, first), t.dtype(), last - first);
    }
    if (!part) finite.store(false, std::memory_order_relaxed);
  });
  return finite.load();
}

void column_sum(const Tensor& x, Tensor out, bool accumulate) {
  require_matrix(x, "[column_sum] x");
  require(x, x.shape(), {DType::f64, DType::f32, DType::bf16}, "[column_sum] x");
  const int64_t rows = x.dim(0), columns = x.dim(1);
  require(out, {columns}, {x.dtype() == DType::f64 ? DType::f64 : DType::f32}, "[column_sum] out");
  if (is_meta(x) || is_meta(out) || columns == 0) return;
  instruction_set();
  if (x.dtype() == DType::f64) {
    cpu::BlockedSums<double> sums(rows, columns);
    sums.sum([&](int64_t first, int64_t last, double* partial) {
      cpu::reference::column_sums(x.data<double>() + first * columns, last - first, columns, partial);
    });
    sums.add_to(out.data<double>(), 0, columns, accumulate);
  } else {
    cpu::BlockedSums<float> sums(rows, columns);
    sums.sum([&](int64_t first, int64_t last, float* partial) {
      cpu::column_sums(address(x, first * columns), x.dtype(), last - first, columns, partial);
    });
    sums.add_to(out.data<float>(), 0, columns, accumulate);
  }
}

}  // namespace fledge::tensor
