#include "tensor/cpu/gemm_driver.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/parallel.h"
#include "tensor/arena.h"
#include "tensor/cpu/parallel_spaces.h"
#include "tensor/cpu/weights_ahead.h"

// The loops around the micro-kernel, after K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication" (2008): blocks of B's columns, blocks of the depth, blocks of A's rows that stay in the L2 cache, and
// inside of those the panels. The output is cut into rectangles, a few for each thread; whoever takes one packs what it
// needs, so threads never wait for each other, and the faster one takes more.
namespace fledge::tensor::cpu {
namespace {

int64_t divide_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit;
}

int64_t round_up(int64_t value, int64_t unit) {
  return divide_up(value, unit) * unit;
}

struct Range {
  int64_t first, last;
  int64_t size() const { return last - first; }
};

/// Part `index` of `count` nearly equal parts of [0, total).
Range part_of(int64_t total, int64_t index, int64_t count) {
  return {total * index / count, total * (index + 1) / count};
}

int64_t cache_bytes(int name, int64_t otherwise) {
  const long bytes = ::sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}

int64_t tile_elements(const MicroKernel& kernel) {
  return kernel.rows * kernel.columns;
}

MatrixView part_of(const MatrixView& view, Range rows, Range columns) {
  return view.part(rows.first, rows.size(), columns.first, columns.size());
}

/// Lengths of the blocks. The depth block and its steps decide the order of summation, so they depend on K and the
/// kernel alone.
struct Blocking {
  int64_t depth;       ///< elements
  int64_t depth_step;  ///< of one product of panels
  int64_t row_panels;  ///< of A, packed together: with their sums a quarter of an L2 cache, which neighbours may share
  int64_t column_panels;  ///< of B, used by all blocks of rows before the next: a share of the L3 cache

  Blocking(const MicroKernel& kernel, const Product& product) {
    const int64_t total_depth = product.a.columns;
    static const int64_t l2 = cache_bytes(_SC_LEVEL2_CACHE_SIZE, int64_t{1} << 20);
    const int64_t blocks = std::max<int64_t>(1, divide_up(total_depth, kernel.depth_block));
    depth = kernel.padded_depth(round_up(divide_up(total_depth, blocks), kNarrowDepthUnit));
    const int64_t steps = std::max<int64_t>(1, divide_up(depth, kernel.depth_step));
    depth_step = kernel.padded_depth(divide_up(depth, steps));
    // Narrow panels that not many rows use are widened where they are near.
    const bool near =
        product.narrow_b.panels != nullptr && product.a.rows > kernel.few_rows && product.a.rows <= kRowsOfNearPanels;
    const int64_t block_bytes = near ? kNearBlockBytes : kColumnBlockBytes;
    const int64_t sums = steps > 1 ? tile_elements(kernel) * static_cast<int64_t>(sizeof(float)) : 0;
    row_panels = std::max<int64_t>(1, l2 / 4 / std::max<int64_t>(1, kernel.a_panel_bytes(depth) + sums));
    column_panels = std::max<int64_t>(1, block_bytes / std::max<int64_t>(1, kernel.b_panel_bytes(depth)));
  }

 private:
  static constexpr int64_t kColumnBlockBytes = int64_t{4} << 20, kNearBlockBytes = int64_t{64} << 10;
  static constexpr int64_t kRowsOfNearPanels = 64;
};

/// Into how many parts the rows are cut and into how many the columns. Costs are counted in tiles per unit of depth: a
/// thread multiplies rows * columns tiles for a part, packs its rows, and reads (or packs) its columns.
struct Grid {
  int64_t row_parts = 1, column_parts = 1;

  Grid(int64_t row_panels, int64_t column_panels, int64_t most_parts) {
    double best = 0;
    for (int64_t parts = 1; parts <= most_parts; ++parts) {
      const auto rows = static_cast<double>(divide_up(row_panels, parts));
      const auto columns = static_cast<double>(divide_up(column_panels, most_parts / parts));
      const double cost = rows * columns + 0.25 * rows + 0.5 * columns;
      if (parts == 1 || cost < best) {
        best = cost;
        row_parts = parts;
        column_parts = most_parts / parts;
      }
    }
  }
};

/// A thread's memory, kept between calls.
struct Workspace {
  std::byte* a_block;
  std::byte* b_block;
  std::byte* term_blocks;  ///< the left operands of the terms, one after another
  float* sums;             ///< partial sums that cannot wait in the output
  float* tiles;            ///< sums of a column of tiles between the steps through a block of depth
};

/// A rectangle of the output.
class Part {
 public:
  Part(const MicroKernel& kernel, const Product& product, const Blocking& blocking, Range row_panels,
       Range column_panels)
      : kernel_(kernel),
        product_(product),
        epilogue_(product.epilogue),
        blocking_(blocking),
        depth_(product.a.columns),
        padded_depth_(kernel.padded_depth(depth_)),
        row_panels_(row_panels),
        column_panels_(column_panels) {
    epilogue_.store_bf16 = kernel.store_bf16;
  }

  size_t a_block_bytes() const {
    const int64_t panels = std::min(blocking_.row_panels, row_panels_.size());
    return static_cast<size_t>(round_up(panels * kernel_.a_panel_bytes(blocking_.depth), 64));
  }
  size_t b_block_bytes() const {
    if (product_.packed_b != nullptr || reads_narrow()) return 0;
    const int64_t panels = std::min(blocking_.column_panels, column_panels_.size());
    return static_cast<size_t>(round_up(panels * kernel_.b_panel_bytes(blocking_.depth), 64));
  }
  size_t term_bytes() const {
    const int64_t panels = std::min(blocking_.row_panels, row_panels_.size());
    int64_t bytes = 0;
    for (const Term& term : product_.terms) bytes += panels * kernel_.a_panel_bytes(term.a.columns);
    return static_cast<size_t>(round_up(bytes, 64));
  }
  size_t sums_bytes() const {
    if (sums_in_output() || depth_ <= blocking_.depth) return 0;
    return static_cast<size_t>(row_panels_.size() * kernel_.rows * sums_stride()) * sizeof(float);
  }

  size_t tiles_bytes() const {
    if (depth_ <= blocking_.depth_step) return 0;
    return static_cast<size_t>(std::min(blocking_.row_panels, row_panels_.size()) * tile_elements(kernel_)) *
           sizeof(float);
  }

  void run(const Workspace& workspace) const {
    for (int64_t column = column_panels_.first; column < column_panels_.last; column += blocking_.column_panels) {
      const Range columns{column, std::min(column + blocking_.column_panels, column_panels_.last)};
      int64_t start = 0;
      do {
        const Range depth{start, std::min(start + blocking_.depth, depth_)};
        multiply_columns(workspace, columns, depth);
        start += blocking_.depth;
      } while (start < depth_);
    }
    if (kernel_.release != nullptr) kernel_.release();
  }

 private:
  bool sums_in_output() const { return epilogue_.out_dtype == DType::f32 && epilogue_.residual == nullptr; }
  int64_t sums_stride() const { return std::min(blocking_.column_panels, column_panels_.size()) * kernel_.columns; }

  /// The values of narrow panels go through the registers alone.
  bool reads_narrow() const { return product_.narrow_b.panels != nullptr && has_few_rows(); }

  /// Panels of B one behind the other.
  struct BPanels {
    const std::byte* first;
    int64_t bytes;  ///< from one to the next
  };

  /// Finds the panels of these columns, or makes them.
  BPanels prepare_columns(const Workspace& workspace, Range columns, Range depth) const {
    if (product_.packed_b != nullptr) {
      const int64_t bytes = kernel_.b_panel_bytes(padded_depth_);
      return {product_.packed_b + columns.first * bytes + kernel_.b_panel_bytes(depth.first), bytes};
    }
    const int64_t bytes = kernel_.b_panel_bytes(depth.size());
    if (reads_narrow()) return {nullptr, 0};
    for (int64_t panel = columns.first; panel < columns.last; ++panel) {
      std::byte* target = workspace.b_block + (panel - columns.first) * bytes;
      if (product_.narrow_b.panels != nullptr) {
        kernel_.narrow->widen(narrow_source(kernel_, product_.narrow_b, panel, depth_, depth.first),
                              kernel_.padded_depth(depth.size()) / 2, target);
      } else {
        kernel_.pack_b(part_of(product_.b, depth, columns_of(panel)), target);
      }
    }
    return {workspace.b_block, bytes};
  }

  void multiply_columns(const Workspace& workspace, Range columns, Range depth) const {
    const BPanels b = prepare_columns(workspace, columns, depth);
    for (int64_t row = row_panels_.first; row < row_panels_.last; row += blocking_.row_panels) {
      const Range rows{row, std::min(row + blocking_.row_panels, row_panels_.last)};
      pack_rows(product_.a, rows, depth, workspace.a_block);
      if (depth.last == depth_) pack_terms(workspace, rows);
      for (int64_t column = columns.first; column < columns.last; ++column) {
        if (reads_narrow()) {
          multiply_narrow_tile(workspace, row, column, {rows, columns}, depth);
        } else {
          multiply_column(workspace, b.first + (column - columns.first) * b.bytes, column, {rows, columns}, depth);
        }
      }
    }
  }

  /// The panels that are worked on together.
  struct Block {
    Range rows, columns;
  };

  /// The block's rows times one panel of B, step by step through the depth: B's piece stays in the L1 cache while A's
  /// pass by.
  void multiply_column(const Workspace& workspace, const std::byte* b_panel, int64_t column, const Block& block,
                       Range depth) const {
    const int64_t a_panel_bytes = kernel_.a_panel_bytes(depth.size());
    const bool one_step = depth.size() <= blocking_.depth_step;
    int64_t start = 0;
    do {
      const int64_t step = std::min(blocking_.depth_step, depth.size() - start);
      for (int64_t panel = block.rows.first; panel < block.rows.last; ++panel) {
        const std::byte* a_panel = workspace.a_block + (panel - block.rows.first) * a_panel_bytes;
        if (one_step) {
          multiply_tile(workspace, a_panel, b_panel, panel, column, block, depth);
        } else {
          float* tile = workspace.tiles + (panel - block.rows.first) * tile_elements(kernel_);
          multiply_panels(a_panel + kernel_.a_panel_bytes(start), b_panel + kernel_.b_panel_bytes(start),
                          rows_of(panel).size(), step, tile, kernel_.columns, kernel_.columns, start > 0);
          if (start + step == depth.size()) deliver_tile(workspace, panel, column, block, depth, tile);
        }
      }
      start += blocking_.depth_step;
    } while (start < depth.size());
  }

  bool has_few_rows() const { return product_.a.rows <= kernel_.few_rows; }

  void pack_rows(const MatrixView& a, Range panels, Range depth, std::byte* block) const {
    const auto pack = has_few_rows() ? kernel_.pack_few : kernel_.pack_a;
    const int64_t bytes = kernel_.a_panel_bytes(depth.size());
    const int64_t step = shares_lines(a) ? kPackDepth : std::max<int64_t>(1, depth.size());
    for (int64_t start = 0; start < depth.size(); start += step) {
      const Range part{depth.first + start, std::min(depth.first + start + step, depth.last)};
      for (int64_t panel = panels.first; panel < panels.last; ++panel) {
        pack(part_of(a, rows_of(panel), part), block + (panel - panels.first) * bytes + kernel_.a_panel_bytes(start));
      }
    }
  }

  /// Whether neighbouring panels of a transposed A read the same cache lines: then all pass a piece of the depth before
  /// the next one, while the lines are near.
  bool shares_lines(const MatrixView& a) const {
    constexpr int64_t kLineBytes = 64;
    return !has_few_rows() && a.row_stride == 1 && a.column_stride != 1 &&
           kernel_.rows * static_cast<int64_t>(size_of(a.dtype)) % kLineBytes != 0;
  }
  static constexpr int64_t kPackDepth = 64;  // a multiple of every kernel's depth unit

  void pack_terms(const Workspace& workspace, Range panels) const {
    std::byte* block = workspace.term_blocks;
    for (const Term& term : product_.terms) {
      pack_rows(term.a, panels, {0, term.a.columns}, block);
      block += panels.size() * kernel_.a_panel_bytes(term.a.columns);
    }
  }

  /// Adds the terms' sums to those of a tile.
  void add_terms(const Workspace& workspace, int64_t row_panel, int64_t column_panel, Range rows, float* c,
                 int64_t c_stride) const {
    const std::byte* block = workspace.term_blocks;
    for (const Term& term : product_.terms) {
      const int64_t a_bytes = kernel_.a_panel_bytes(term.a.columns);
      multiply_panels(block + (row_panel - rows.first) * a_bytes,
                      term.packed_b + column_panel * kernel_.b_panel_bytes(term.a.columns), rows_of(row_panel).size(),
                      term.a.columns, c, c_stride, columns_of(column_panel).size(), true);
      block += rows.size() * a_bytes;
    }
  }

  void multiply_panels(const std::byte* a_panel, const std::byte* b_panel, int64_t rows, int64_t depth, float* c,
                       int64_t c_stride, int64_t used_columns, bool accumulate) const {
    const auto multiply = has_few_rows() ? kernel_.multiply_few : kernel_.multiply;
    multiply(kernel_.padded_depth(depth), a_panel, b_panel, c, c_stride, rows, used_columns, accumulate);
  }

  /// Where a tile's sums wait between blocks of depth.
  struct Sums {
    float* data;
    int64_t stride;
    bool accumulate;  ///< there are some already
    bool in_output;   ///< they stand where the output will
  };

  Sums sums_of(const Workspace& workspace, int64_t row_panel, int64_t column_panel, const Block& block,
               Range depth) const {
    const bool first = depth.first == 0;
    if (sums_in_output()) {
      return {static_cast<float*>(epilogue_.out) + row_panel * kernel_.rows * epilogue_.out_stride +
                  column_panel * kernel_.columns,
              epilogue_.out_stride, !first || epilogue_.accumulate, true};
    }
    return {workspace.sums + (row_panel - row_panels_.first) * kernel_.rows * sums_stride() +
                (column_panel - block.columns.first) * kernel_.columns,
            sums_stride(), !first, false};
  }

  /// Whether all of the depth is in one block and its sums need not wait.
  bool is_whole(Range depth) const { return depth.first == 0 && depth.last == depth_; }

  /// One tile whose depth is one step.
  void multiply_tile(const Workspace& workspace, const std::byte* a_panel, const std::byte* b_panel, int64_t row_panel,
                     int64_t column_panel, const Block& block, Range depth) const {
    make_tile(workspace, row_panel, column_panel, block, depth, [&](const Sums& sums) {
      multiply_panels(a_panel, b_panel, rows_of(row_panel).size(), depth.size(), sums.data, sums.stride,
                      columns_of(column_panel).size(), sums.accumulate);
    });
  }

  /// The same of the only panel of A's few rows and a narrow one.
  void multiply_narrow_tile(const Workspace& workspace, int64_t row_panel, int64_t column_panel, const Block& block,
                            Range depth) const {
    make_tile(workspace, row_panel, column_panel, block, depth, [&](const Sums& sums) {
      kernel_.narrow->multiply(kernel_.padded_depth(depth.size()), workspace.a_block,
                               narrow_source(kernel_, product_.narrow_b, column_panel, depth_, depth.first), sums.data,
                               sums.stride, rows_of(row_panel).size(), columns_of(column_panel).size(),
                               sums.accumulate);
    });
  }

  /// Calls `multiply` with where the sums of a tile are to be, and finishes the tile where the depth ends.
  template <class Multiply>
  void make_tile(const Workspace& workspace, int64_t row_panel, int64_t column_panel, const Block& block, Range depth,
                 const Multiply& multiply) const {
    alignas(64) std::array<float, kMaximumTile> tile;
    Sums sums{tile.data(), kernel_.columns, false, false};
    if (sums_in_output() || !is_whole(depth)) sums = sums_of(workspace, row_panel, column_panel, block, depth);
    multiply(sums);
    if (depth.last == depth_) finish(workspace, row_panel, column_panel, block, sums);
  }

  /// Brings the sums of a block of depth, collected in `tile`, to where they belong.
  void deliver_tile(const Workspace& workspace, int64_t row_panel, int64_t column_panel, const Block& block,
                    Range depth, float* tile) const {
    if (is_whole(depth))
      return finish(workspace, row_panel, column_panel, block, {tile, kernel_.columns, false, false});
    const Sums sums = sums_of(workspace, row_panel, column_panel, block, depth);
    TileEpilogue addition;
    addition.out = sums.data, addition.out_stride = sums.stride, addition.accumulate = sums.accumulate;
    finish_tile(addition, 0, 0, rows_of(row_panel).size(), columns_of(column_panel).size(), tile, kernel_.columns);
    if (depth.last == depth_) finish(workspace, row_panel, column_panel, block, sums);
  }

  /// Adds the terms to a tile's sums and stores them as the epilogue says, unless they stand in the output and nothing
  /// else is asked for: so it is where they were added to it.
  void finish(const Workspace& workspace, int64_t row_panel, int64_t column_panel, const Block& block,
              const Sums& sums) const {
    add_terms(workspace, row_panel, column_panel, block.rows, sums.data, sums.stride);
    if (sums.in_output && (epilogue_.accumulate || epilogue_.only_converts())) return;
    finish_tile(epilogue_, row_panel * kernel_.rows, column_panel * kernel_.columns, rows_of(row_panel).size(),
                columns_of(column_panel).size(), sums.data, sums.stride);
  }

  Range rows_of(int64_t panel) const { return elements(panel, kernel_.rows, product_.a.rows); }
  Range columns_of(int64_t panel) const { return elements(panel, kernel_.columns, product_.b.columns); }

  static Range elements(int64_t panel, int64_t unit, int64_t total) {
    return {panel * unit, std::min((panel + 1) * unit, total)};
  }

  const MicroKernel& kernel_;
  const Product& product_;
  TileEpilogue epilogue_;
  const Blocking& blocking_;
  int64_t depth_, padded_depth_;
  Range row_panels_, column_panels_;
};

/// Grows when it must and never shrinks, so that a steady run takes no memory.
std::byte* workspace_memory(size_t bytes) {
  thread_local Arena arena("matmul workspace");
  thread_local StoragePointer storage;
  if (storage == nullptr || storage->bytes() < bytes) {
    storage.reset();
    storage = arena.allocate(bytes);
  }
  return storage->data();
}

/// Where B's panels stand in memory, one behind the other; nothing where they are yet to be packed.
WeightPanels weight_panels(const MicroKernel& kernel, const Product& product, int64_t column_panels) {
  const int64_t depth = product.a.columns;
  if (product.narrow_b.panels != nullptr) {
    return {product.narrow_b.panels, narrow_panel_bytes(kernel, depth), column_panels};
  }
  return {product.packed_b, kernel.b_panel_bytes(kernel.padded_depth(depth)), column_panels};
}

}  // namespace

void pack_panels(const MicroKernel& kernel, const MatrixView& b, std::byte* packed) {
  const int64_t bytes = kernel.b_panel_bytes(b.rows);
  constexpr int64_t kGrainBytes = 64 << 10;
  base::parallel_for(divide_up(b.columns, kernel.columns), divide_up(kGrainBytes, std::max<int64_t>(bytes, 1)),
                     [&](int64_t first, int64_t last) {
                       for (int64_t panel = first; panel < last; ++panel) {
                         const Range columns{panel * kernel.columns, std::min((panel + 1) * kernel.columns, b.columns)};
                         kernel.pack_b(part_of(b, {0, b.rows}, columns), packed + panel * bytes);
                       }
                     });
}

void multiply(const MicroKernel& kernel, const Product& product) {
  const Blocking blocking(kernel, product);
  const int64_t row_panels = divide_up(product.a.rows, kernel.rows);
  const int64_t column_panels = divide_up(product.b.columns, kernel.columns);
  // Waking a thread costs some microseconds: at least a million multiplications for each part.
  const double work = static_cast<double>(row_panels * kernel.rows) * static_cast<double>(product.a.columns) *
                      static_cast<double>(column_panels * kernel.columns);
  const int64_t useful = std::max<int64_t>(1, static_cast<int64_t>(work / 1e6));
  const Grid grid(row_panels, column_panels, std::min(base::thread_count() * base::parts_per_thread(), useful));
  const PanelParts columns(column_panels, grid.column_parts, product.a.rows <= kRowsThatWait);
  const int64_t parts = grid.row_parts * columns.count();
  const auto part = [&](int64_t index) {
    const int64_t column_part = index % columns.count();
    return Part(kernel, product, blocking, part_of(row_panels, index / columns.count(), grid.row_parts),
                {columns.first(column_part), columns.end(column_part)});
  };
  size_t a_bytes = 0, b_bytes = 0, term_bytes = 0, sums_bytes = 0, tiles_bytes = 0;
  for (int64_t index = 0; index < parts; ++index) {
    const Part one = part(index);
    a_bytes = std::max(a_bytes, one.a_block_bytes());
    b_bytes = std::max(b_bytes, one.b_block_bytes());
    term_bytes = std::max(term_bytes, one.term_bytes());
    sums_bytes = std::max(sums_bytes, one.sums_bytes());
    tiles_bytes = std::max(tiles_bytes, one.tiles_bytes());
  }
  const size_t each = a_bytes + b_bytes + term_bytes + sums_bytes + tiles_bytes;
  std::byte* memory = workspace_memory(each * static_cast<size_t>(parallel_spaces()));
  if (product.a.rows <= kRowsThatWait) {
    const WeightPanels weight = weight_panels(kernel, product, column_panels);
    if (weight.first != nullptr) announce_weights({&weight, 1});
  }
  parallel_in_spaces(parts, [&](int64_t index, int space) {
    std::byte* own = memory + each * static_cast<size_t>(space);
    std::byte* terms = own + a_bytes + b_bytes;
    std::byte* sums = terms + term_bytes;
    part(index).run(
        {own, own + a_bytes, terms, reinterpret_cast<float*>(sums), reinterpret_cast<float*>(sums + sums_bytes)});
  });
}

}  // namespace fledge::tensor::cpu
