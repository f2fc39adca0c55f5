#include "tensor/cpu/quantized_driver.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/parallel.h"
#include "tensor/arena.h"
#include "tensor/cpu/parallel_spaces.h"
#include "tensor/cpu/quantized_activations.h"
#include "tensor/cpu/read_ahead.h"
#include "tensor/cpu/weights_ahead.h"

namespace fledge::tensor::cpu {
namespace {

/// Panels whose sums are finished together.
constexpr int64_t kRunPanels = 16;
/// Unpacked panels that stay in the L2 cache while all rows pass.
constexpr size_t kUnpackedBytes = size_t{384} << 10;
/// Waking a thread costs some microseconds: at least as many bytes of weights for each part, times rows.
constexpr int64_t kBytesPerPart = 24 << 10;

int64_t divide_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit;
}

/// Grows when it must and never shrinks, so that a steady run takes no memory.
std::byte* workspace_memory(size_t bytes) {
  thread_local Arena arena("quantized matmul workspace");
  thread_local StoragePointer storage;
  if (storage == nullptr || storage->bytes() < bytes) {
    storage.reset();
    storage = arena.allocate(bytes);
  }
  return storage->data();
}

struct Range {
  int64_t first, last;
  int64_t size() const { return last - first; }
};

/// One weight with the activations as it wants them.
class Multiplication {
 public:
  Multiplication(const QuantizedKernel& kernel, const QuantizedPart& part, const QuantizedActivations& activations,
                 int64_t rows, int64_t depth)
      : kernel_(kernel),
        part_(part),
        activations_(activations),
        groups_(depth / kGroup),
        unpacks_(kernel.unpack != nullptr && rows > kernel.unpack_above &&
                 (part.type != BlockType::q8_0 || kernel.unpacks_q8_0)) {}

  int64_t panels() const { return divide_up(part_.columns, kPanelRows); }
  WeightPanels weight_panels() const {
    return {part_.panels, static_cast<int64_t>(panel_bytes(panel_kind(part_.type), groups_)), panels()};
  }
  size_t unpacked_bytes() const {
    return unpacks_ ? (static_cast<size_t>(run_panels()) * wide_bytes() + 63) / 64 * 64 : 0;
  }

  /// The rows of `rows`, which begins at a chunk, and the outputs of `panels`. `workspace` has unpacked_bytes().
  void run(Range rows, Range panels, uint8_t* workspace) const {
    for (int64_t first = panels.first; first < panels.last; first += run_panels()) {
      run_panels_of(rows, {first, std::min(first + run_panels(), panels.last)}, workspace);
    }
  }

 private:
  size_t wide_bytes() const { return panel_bytes(wide_kind(part_.type), groups_); }
  int64_t run_panels() const {
    if (!unpacks_) return kRunPanels;
    return std::clamp<int64_t>(static_cast<int64_t>(kUnpackedBytes / wide_bytes()), 1, kRunPanels);
  }

  void run_panels_of(Range rows, Range panels, uint8_t* workspace) const {
    size_t bytes = panel_bytes(panel_kind(part_.type), groups_);
    const auto* first = reinterpret_cast<const uint8_t*>(part_.panels) + static_cast<size_t>(panels.first) * bytes;
    PanelKind kind = panel_kind(part_.type);
    if (unpacks_) {
      for (int64_t panel = 0; panel < panels.size(); ++panel) {
        kernel_.unpack(kind, first + static_cast<size_t>(panel) * bytes, groups_,
                       workspace + static_cast<size_t>(panel) * wide_bytes());
      }
      kind = wide_kind(part_.type);
      bytes = wide_bytes();
      first = workspace;
    }
    constexpr int64_t kStride = kRunPanels * kPanelRows;
    alignas(64) std::array<float, kMaximumChunk * kStride> sums;
    const int64_t column = panels.first * kPanelRows;
    const int64_t columns = std::min(panels.last * kPanelRows, part_.columns) - column;
    for (int64_t row = rows.first, chunk = 0; row < rows.last; row += chunk) {
      chunk = kernel_.chunk_rows(rows.last - row);
      QuantizedRows activations = activations_.chunk(row);
      for (int64_t panel = 0; panel < panels.size(); ++panel) {
        if (chunk >= ReadAhead::kBusyRows)
          activations.ahead = reinterpret_cast<const char*>(ReadAhead::instance().next());
        kernel_.multiply(kind, first + static_cast<size_t>(panel) * bytes, groups_, activations, chunk,
                         sums.data() + panel * kPanelRows, kStride);
      }
      finish_tile(part_.epilogue, row, column, chunk, columns, sums.data(), kStride);
    }
  }

  static constexpr int64_t kMaximumChunk = 32;
  static_assert(kAheadBytes == ReadAhead::kPieceBytes);

  const QuantizedKernel& kernel_;
  const QuantizedPart& part_;
  const QuantizedActivations& activations_;
  int64_t groups_;
  bool unpacks_;
};

/// All weights of a call, their panels counted through.
class Group {
 public:
  Group(const QuantizedKernel& kernel, const ActivationView& a, std::span<const QuantizedPart> parts)
      : kernel_(kernel), a_(a) {
    forms_.reserve(kTypes);
    for (const QuantizedPart& part : parts) {
      auto form = std::ranges::find(forms_, part.type, &QuantizedActivations::type);
      if (form == forms_.end()) form = forms_.emplace(form, part.type, a.rows, a.depth);
      products_.emplace_back(kernel, part, *form, a.rows, a.depth);
      panels_ += products_.back().panels();
      bytes_ += products_.back().panels() * static_cast<int64_t>(panel_bytes(panel_kind(part.type), a.depth / kGroup));
      unpacked_bytes_ = std::max(unpacked_bytes_, products_.back().unpacked_bytes());
    }
  }

  void run() {
    const int64_t work = bytes_ * std::max<int64_t>(1, a_.rows / 4);
    const int64_t parts = std::clamp<int64_t>(work / kBytesPerPart, 1, base::thread_count() * base::parts_per_thread());
    // The outputs are cut; only where those are too few, the rows too.
    const PanelParts columns(panels_, std::min(parts, panels_), a_.rows <= kRowsThatWait);
    const int64_t chunks = divide_up(a_.rows, kernel_.maximum_rows);
    const int64_t row_parts = std::clamp<int64_t>(parts / columns.count(), 1, chunks);
    size_t form_bytes = 0;
    for (const QuantizedActivations& form : forms_) form_bytes += form.bytes();
    std::byte* memory = workspace_memory(form_bytes + static_cast<size_t>(parallel_spaces()) * unpacked_bytes_);
    for (QuantizedActivations& form : forms_) {
      form.use(memory);
      memory += form.bytes();
      quantize(form);
    }
    if (a_.rows <= kRowsThatWait) announce();
    parallel_in_spaces(row_parts * columns.count(), [&](int64_t item, int space) {
      const int64_t row_part = item / columns.count(), column_part = item % columns.count();
      const Range rows{chunks * row_part / row_parts * kernel_.maximum_rows,
                       std::min(chunks * (row_part + 1) / row_parts * kernel_.maximum_rows, a_.rows)};
      const Range panels{columns.first(column_part), columns.end(column_part)};
      run_part(rows, panels, reinterpret_cast<uint8_t*>(memory + static_cast<size_t>(space) * unpacked_bytes_));
      if (kernel_.release != nullptr) kernel_.release();
    });
  }

 private:
  void quantize(QuantizedActivations& form) const {
    constexpr int64_t kGrainElements = 4096;
    const int64_t chunk = kernel_.maximum_rows;
    base::parallel_for(divide_up(a_.rows, chunk), divide_up(kGrainElements, chunk * a_.depth),
                       [&](int64_t first, int64_t last) {
                         const int64_t end = std::min(last * chunk, a_.rows);
                         for (int64_t row = first * chunk, rows = 0; row < end; row += rows) {
                           rows = kernel_.chunk_rows(end - row);
                           form.quantize(a_.data, a_.dtype, a_.stride, row, rows);
                         }
                       });
  }

  void announce() const {
    thread_local std::vector<WeightPanels> weights;
    weights.clear();
    for (const Multiplication& product : products_) weights.push_back(product.weight_panels());
    announce_weights(weights);
  }

  void run_part(Range rows, Range panels, uint8_t* workspace) const {
    int64_t before = 0;
    for (const Multiplication& product : products_) {
      const Range own{std::max<int64_t>(panels.first - before, 0), std::min(panels.last - before, product.panels())};
      if (own.size() > 0) product.run(rows, own, workspace);
      before += product.panels();
    }
  }

  static constexpr size_t kTypes = 5;

  const QuantizedKernel& kernel_;
  const ActivationView& a_;
  std::vector<QuantizedActivations> forms_;  // never grows beyond what is reserved: products refer to its elements
  std::vector<Multiplication> products_;
  int64_t panels_ = 0, bytes_ = 0;
  size_t unpacked_bytes_ = 0;
};

}  // namespace

void pack_panels(const BlockMatrix& matrix, std::byte* packed) {
  const size_t bytes = panel_bytes(panel_kind(matrix.type), matrix.columns / kGroup);
  base::parallel_for(divide_up(matrix.rows, kPanelRows), 1, [&](int64_t first, int64_t last) {
    for (int64_t panel = first; panel < last; ++panel) {
      pack_panel(matrix, panel * kPanelRows, reinterpret_cast<uint8_t*>(packed) + static_cast<size_t>(panel) * bytes);
    }
  });
}

void multiply(const QuantizedKernel& kernel, const ActivationView& a, std::span<const QuantizedPart> parts) {
  Group(kernel, a, parts).run();
}

}  // namespace fledge::tensor::cpu
