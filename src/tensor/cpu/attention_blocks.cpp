#include "tensor/cpu/attention_blocks.h"

#include <sys/mman.h>

#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "base/error.h"
#include "tensor/cpu/attention_words.h"
#include "tensor/cpu/parallel_spaces.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor::cpu {
namespace {

/// Whether panels hold pairs of neighbours in depth, [K / 2][lanes][2] of bf16: found out by packing one.
bool holds_pairs(void (*pack)(const MatrixView&, void*), const MatrixView& source, bool is_left) {
  const int64_t depth = is_left ? source.columns : source.rows, lanes = is_left ? source.rows : source.columns;
  std::vector<bf16> panel(static_cast<size_t>(depth * lanes));
  pack(source, panel.data());
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t at = is_left ? lane * source.row_stride + k : k * source.row_stride + lane;
      const bf16 expected = static_cast<const bf16*>(source.data)[at];
      if (panel[static_cast<size_t>((k / 2 * lanes + lane) * 2 + k % 2)].bits != expected.bits) return false;
    }
  }
  return true;
}

PanelForm find_form(const MicroKernel& kernel, bool pairs) {
  if (kernel.a_operand == DType::f32) return kernel.arithmetic == DType::f32 ? PanelForm::f32 : PanelForm::rounded;
  return pairs ? PanelForm::pairs : PanelForm::other;
}

int64_t key_block_of(const MicroKernel& kernel) {
  constexpr int64_t kKeyBlock = 128;
  const int64_t unit = std::lcm(kernel.rows, kernel.depth_unit);
  return std::max<int64_t>(1, kKeyBlock / unit) * unit;
}

/// A panel of words from rows that are contiguous in depth or in lanes. Returns false where they are neither.
bool pack_words(const MicroKernel& kernel, const MatrixView& rows, int64_t panel_lanes, void* panel) {
  const auto size = static_cast<int64_t>(size_of(rows.dtype));
  const int64_t depth = kernel.padded_depth(rows.columns), words = depth * size / 4;
  const bool by_depth = rows.column_stride == 1 && rows.columns == depth && depth > 0;
  if (rows.dtype != kernel.a_operand || depth * size % 4 != 0 || (!by_depth && rows.row_stride != 1)) return false;
  for (int64_t lane = 0; lane < panel_lanes; lane += 16) {
    const std::byte* from = static_cast<const std::byte*>(rows.data) + lane * rows.row_stride * size;
    const int64_t used = std::clamp<int64_t>(rows.rows - lane, 0, 16),
                  lanes = std::min<int64_t>(16, panel_lanes - lane);
    uint32_t* to = static_cast<uint32_t*>(panel) + lane;
    if (by_depth) {
      transpose_words_avx512(from, rows.row_stride * size, used, words, to, lanes, panel_lanes);
    } else {
      interleave_rows_avx512(from, rows.column_stride * size, used, rows.columns, size == 2, words, to, lanes,
                             panel_lanes);
    }
  }
  return true;
}

/// Memory from the system: zeros, touched first by the thread that uses it, in huge pages where they are granted.
class Workspace {
 public:
  Workspace() = default;
  Workspace(Workspace&& other) noexcept : memory_(other.memory_), bytes_(std::exchange(other.bytes_, 0)) {}
  Workspace& operator=(Workspace&&) = delete;
  ~Workspace() { release(); }

  void grow(size_t wanted) {
    if (wanted <= bytes_) return;
    release();
    const size_t rounded = (wanted + 4095) / 4096 * 4096;
    void* memory = mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw base::Error("attention: no memory for a workspace of {} bytes", rounded);
    madvise(memory, rounded, MADV_HUGEPAGE);
    memory_ = static_cast<std::byte*>(memory);
    bytes_ = rounded;
  }
  std::byte* memory() const { return memory_; }

 private:
  void release() {
    if (bytes_ != 0) munmap(memory_, bytes_);
    bytes_ = 0;
  }
  std::byte* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace

AttentionBlocks::AttentionBlocks(const MicroKernel& micro_kernel)
    : kernel(micro_kernel), key_block(key_block_of(micro_kernel)) {
  bool pairs_a = false, pairs_b = false;
  if (kernel.a_operand == DType::bf16) {
    const int64_t depth = 2 * kernel.depth_unit, lanes = std::max(kernel.rows, kernel.columns);
    std::vector<bf16> numbers(static_cast<size_t>(depth * lanes));
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i].bits = static_cast<uint16_t>(i + 1);
    pairs_a = holds_pairs(kernel.pack_a, {numbers.data(), DType::bf16, kernel.rows, depth, depth, 1}, true);
    pairs_b =
        holds_pairs(kernel.pack_b, {numbers.data(), DType::bf16, depth, kernel.columns, kernel.columns, 1}, false);
  }
  form = find_form(kernel, pairs_b);
  const bool words = instruction_set() >= InstructionSet::avx512 && form != PanelForm::rounded;
  words_a = words && (pairs_a || form == PanelForm::f32);
  words_b = words && (pairs_b || form == PanelForm::f32);
}

const AttentionBlocks& AttentionBlocks::of(DType dtype) {
  static const AttentionBlocks f32(f32_micro_kernel()), bf16(bf16_attention_kernel());
  return dtype == DType::bf16 ? bf16 : f32;
}

void AttentionBlocks::pack_a(const MatrixView& source, void* panel) const {
  if (!words_a || !pack_words(kernel, source, kernel.rows, panel)) kernel.pack_a(source, panel);
}

void AttentionBlocks::pack_b(const MatrixView& source, void* panel) const {
  if (!words_b || !pack_words(kernel, source.transposed(), kernel.columns, panel)) kernel.pack_b(source, panel);
}

void pack_rows(const AttentionBlocks& blocks, const MatrixView& source, int64_t first, int64_t end,
               const PanelStack& stack) {
  const MicroKernel& kernel = blocks.kernel;
  for (int64_t row = first; row < end; row += kernel.rows) {
    const int64_t rows = std::min(kernel.rows, end - row);
    blocks.pack_a(source.part(row, rows, 0, source.columns), stack.at(row / kernel.rows));
  }
}

void pack_row_depth(const AttentionBlocks& blocks, const MatrixView& source, int64_t first, int64_t end,
                    const PanelStack& stack) {
  const MicroKernel& kernel = blocks.kernel;
  for (int64_t row = 0; row < source.rows; row += kernel.rows) {
    const int64_t rows = std::min(kernel.rows, source.rows - row);
    blocks.pack_a(source.part(row, rows, first, end - first), stack.at(row / kernel.rows, first));
  }
}

void multiply_rows(const MicroKernel& kernel, const std::byte* a, int64_t panel_bytes, int64_t rows, int64_t depth,
                   const void* b, float* target, int64_t stride, int64_t columns, bool accumulate) {
  for (int64_t row = 0; row < rows; row += kernel.rows) {
    kernel.multiply(depth, a, b, target + row * stride, stride, std::min(kernel.rows, rows - row), columns, accumulate);
    a += panel_bytes;
  }
}

void QueryPanel::fill(const AttentionProblem& problem, int64_t batch_row, int64_t first_query, int64_t width) {
  query = first_query;
  count = std::min(width, problem.queries - first_query);
  first_min = end_min = std::numeric_limits<int64_t>::max();
  first_max = end_max = 0;
  for (int64_t column = 0; column < width; ++column) {
    KeyRange range{problem.keys, 0};
    if (column < count) {
      const KeyRange seen = problem.range(batch_row, first_query + column);
      if (seen.first < seen.end) range = seen;
      first_min = std::min(first_min, range.first), first_max = std::max(first_max, range.first);
      end_min = std::min(end_min, range.end), end_max = std::max(end_max, range.end);
    }
    first[column] = static_cast<int32_t>(range.first);
    end[column] = static_cast<int32_t>(range.end);
  }
}

VisibleBlock visible_block(const AttentionProblem& problem, const QueryPanel& panel, int64_t first_key,
                           int64_t key_block) {
  const int64_t end = std::min({first_key + key_block, problem.keys, panel.end_max});
  if (end <= first_key || end <= panel.first_min) return {};
  return {end - first_key, panel.first_max > first_key || panel.end_min < end};
}

void relative_ranges(const QueryPanel& panel, int64_t first_key, int64_t width, int32_t* first, int32_t* end) {
  const auto offset = static_cast<int32_t>(first_key);
  for (int64_t column = 0; column < width; ++column) {
    first[column] = panel.first[column] - offset;
    end[column] = panel.end[column] - offset;
  }
}

void fill_keep(const AttentionProblem& problem, int64_t batch_row, int64_t head, const QueryPanel& panel,
               int64_t first_key, int64_t rows, int64_t stride, float* keep) {
  const AttentionDropout& dropout = problem.dropout;
  KeepRows four{};
  four.random_key[0] = dropout.random->key(0), four.random_key[1] = dropout.random->key(1);
  four.row_number = dropout.row_number(batch_row, head);
  four.position = static_cast<uint32_t>(problem.position(panel.query) + problem.origin);
  first_key += problem.origin;
  four.threshold = dropout.threshold, four.kept = static_cast<float>(dropout.kept);
  four.columns = stride;
  for (int64_t key = first_key / 4 * 4; key < first_key + rows; key += 4) {
    four.key_group = static_cast<uint32_t>(key / 4);
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t row = key + i - first_key;
      four.rows[i] = row < 0 || row >= rows ? nullptr : keep + row * stride;
    }
    keep_rows(four);
  }
}

void fill_keep_row(const AttentionProblem& problem, int64_t batch_row, int64_t head, int64_t query, int64_t first_key,
                   int64_t keys, float* keep) {
  const AttentionDropout& dropout = problem.dropout;
  first_key += problem.origin;
  for (int64_t key = first_key; key < first_key + keys; ++key) {
    const auto numbers = dropout.numbers(batch_row, head, problem.position(query) + problem.origin, key / 4);
    const bool dropped = numbers[static_cast<size_t>(key % 4)] < dropout.threshold;
    keep[key - first_key] = dropped ? 0 : static_cast<float>(dropout.kept);
  }
}

PanelStack Carver::take_panels(const MicroKernel& kernel, int64_t lanes, int64_t panels, int64_t depth) {
  const auto bytes = static_cast<int64_t>(size_of(kernel.a_operand));
  const int64_t padded = kernel.padded_depth(depth);
  return {take<std::byte>(panels * lanes * padded * bytes), lanes, padded, bytes};
}

void parallel_with_workspace(int64_t count, size_t bytes, const std::function<void(int64_t, std::byte*)>& body) {
  // One set per calling thread: nobody else uses it while the call lasts.
  thread_local std::vector<Workspace> workspaces;
  const auto wanted = static_cast<size_t>(parallel_spaces());
  if (workspaces.size() < wanted) workspaces.resize(wanted);
  for (size_t i = 0; i < wanted; ++i) workspaces[i].grow(bytes);
  std::vector<Workspace>& shared = workspaces;
  parallel_in_spaces(count, [&](int64_t item, int space) { body(item, shared[static_cast<size_t>(space)].memory()); });
}

}  // namespace fledge::tensor::cpu
