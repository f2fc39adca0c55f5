#include "tensor/cpu/narrow_panels.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <span>

#include "base/parallel.h"

namespace fledge::tensor::cpu {
namespace {

constexpr int kColumns = 32;

/// More exceptions than one in so many elements cost more than the narrow form saves.
constexpr int64_t kElementsPerException = 128;

int64_t pairs_of(const MicroKernel& kernel, int64_t depth) {
  return kernel.padded_depth(depth) / 2;
}

int exponent_of(uint16_t value) {
  return value >> 7 & 0xff;
}

int column_of(int64_t element) {
  return static_cast<int>(element % kNarrowPairElements / 2);
}

/// The bytes of `bases` that belong to a column: two in a row, for both neighbours in depth.
size_t base_of_column(int column) {
  const int quarter = column % 16 / 4;
  return static_cast<size_t>(quarter * 16 + column / 16 * 8 + column % 4 * 2);
}

/// The bases with the fewest exceptions, for columns where a few values are much larger than the others.
void find_common_bases(std::span<const uint16_t> panel, std::span<uint8_t> bases) {
  std::vector<std::array<int64_t, 256>> counts(kColumns);
  for (size_t element = 0; element < panel.size(); ++element) {
    ++counts[static_cast<size_t>(column_of(static_cast<int64_t>(element)))]
            [static_cast<size_t>(exponent_of(panel[element]))];
  }
  constexpr int kDistances = 15;
  for (int column = 0; column < kColumns; ++column) {
    const auto& of_column = counts[static_cast<size_t>(column)];
    int64_t inside = 0, most = -1;
    size_t best = 0;
    for (size_t base = 0; base < of_column.size(); ++base) {
      inside += of_column[base];
      // Exponents of 0 need no base.
      if (base > kDistances) inside -= of_column[base - kDistances];
      if (inside > most) most = inside, best = base;
    }
    bases[base_of_column(column)] = bases[base_of_column(column) + 1] = static_cast<uint8_t>(best);
  }
}

class Packing {
 public:
  Packing(const MicroKernel& kernel, const MatrixView& b, std::byte* panels)
      : kernel_(kernel),
        b_(b),
        panels_(panels),
        pairs_(pairs_of(kernel, b.rows)),
        exceptions_(static_cast<size_t>((b.columns + kColumns - 1) / kColumns)) {}

  std::vector<uint32_t> run() {
    constexpr int64_t kGrainPairs = 512;
    const int64_t grain = std::max<int64_t>(1, kGrainPairs / std::max<int64_t>(1, pairs_));
    base::parallel_for(static_cast<int64_t>(exceptions_.size()), grain, [&](int64_t first, int64_t last) {
      std::vector<uint16_t> wide(static_cast<size_t>(pairs_ * kNarrowPairElements));
      std::vector<NarrowException> found(wide.size() / kElementsPerException);
      for (int64_t panel = first; panel < last && !too_many_; ++panel) {
        if (!pack(panel, wide, found)) too_many_ = true;
      }
    });
    return too_many_ ? std::vector<uint32_t>() : joined();
  }

 private:
  bool pack(int64_t panel, std::vector<uint16_t>& wide, std::vector<NarrowException>& found) {
    const int64_t first = panel * kColumns;
    kernel_.pack_b(b_.part(0, b_.rows, first, std::min<int64_t>(kColumns, b_.columns - first)), wide.data());
    auto* target = reinterpret_cast<uint8_t*>(panels_ + panel * narrow_panel_bytes(kernel_, b_.rows));
    uint8_t* units = target + kNarrowBaseBytes;
    const auto most = static_cast<int64_t>(found.size());
    kernel_.narrow->find_bases(wide.data(), pairs_, target);
    int64_t count = kernel_.narrow->narrow(wide.data(), pairs_, target, units, found.data(), most);
    if (count < 0) {
      find_common_bases(wide, {target, size_t{kNarrowBaseBytes}});
      count = kernel_.narrow->narrow(wide.data(), pairs_, target, units, found.data(), most);
    }
    if (count > 0) exceptions_[static_cast<size_t>(panel)].assign(found.begin(), found.begin() + count);
    return count >= 0;
  }

  std::vector<uint32_t> joined() const {
    std::vector<uint32_t> all{static_cast<uint32_t>(exceptions_.size()), 0};
    size_t count = 0;
    for (const auto& own : exceptions_) {
      count += own.size();
      all.push_back(static_cast<uint32_t>(count));
    }
    for (const auto& own : exceptions_) {
      for (const NarrowException& exception : own) all.insert(all.end(), {exception.element, exception.value});
    }
    return all;
  }

  const MicroKernel& kernel_;
  const MatrixView& b_;
  std::byte* panels_;
  int64_t pairs_;
  std::vector<std::vector<NarrowException>> exceptions_;  ///< of each panel
  std::atomic<bool> too_many_ = false;
};

}  // namespace

int64_t narrow_panel_bytes(const MicroKernel& kernel, int64_t depth) {
  return kNarrowBaseBytes + (pairs_of(kernel, depth) + 1) / 2 * kNarrowUnitBytes;
}

std::vector<uint32_t> pack_narrow_panels(const MicroKernel& kernel, const MatrixView& b, std::byte* panels) {
  if (kernel.narrow == nullptr) return {};
  return Packing(kernel, b, panels).run();
}

NarrowSource narrow_source(const MicroKernel& kernel, const NarrowPanels& narrow, int64_t panel, int64_t total_depth,
                           int64_t first) {
  const auto* bases = reinterpret_cast<const uint8_t*>(narrow.panels + panel * narrow_panel_bytes(kernel, total_depth));
  const uint32_t* starts = narrow.exceptions + 1;
  const auto* list = reinterpret_cast<const NarrowException*>(starts + narrow.exceptions[0] + 1);
  NarrowSource source{};
  source.bases = bases;
  source.units = bases + kNarrowBaseBytes + first / kNarrowDepthUnit * kNarrowUnitBytes;
  source.first_element = static_cast<uint32_t>(first / 2 * kNarrowPairElements);
  source.end = list + starts[panel + 1];
  source.exceptions =
      std::lower_bound(list + starts[panel], source.end, source.first_element,
                       [](const NarrowException& exception, uint32_t element) { return exception.element < element; });
  return source;
}

}  // namespace fledge::tensor::cpu
