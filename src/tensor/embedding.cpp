#include "tensor/embedding.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/elementwise.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

/// Rows that are worth a thread.
int64_t grain_of(int64_t columns) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
}

/// Checks everything; true where there is nothing to compute. `rows` is [R, C], `table` [V, C].
bool check(const Tensor& ids, const Tensor& table, const Tensor& rows, std::string_view name,
           std::string_view table_name, std::string_view rows_name) {
  const auto what = [&](std::string_view operand) { return fmt::format("[{}] {}", name, operand); };
  if (!ids || ids.rank() != 1) throw base::Error("[{}] ids: got {}, expected i32 [R]", name, describe(ids));
  require(ids, ids.shape(), {DType::i32}, what("ids"));
  require_matrix(table, what(table_name));
  require(table, table.shape(), {DType::f32, DType::f64, DType::bf16}, what(table_name));
  require(rows, {ids.dim(0), table.dim(1)}, {table.dtype() == DType::bf16 ? DType::f32 : table.dtype()},
          what(rows_name));
  if (is_meta(ids) || is_meta(table) || is_meta(rows)) return true;
  const int32_t* id = ids.data<int32_t>();
  for (int64_t r = 0; r < ids.dim(0); ++r) {
    if (id[r] < 0 || id[r] >= table.dim(0)) {
      throw base::Error("[{}] got id {} at place {}, expected at least 0 and less than the table's {} rows", name,
                        id[r], r, table.dim(0));
    }
  }
  return rows.elements() == 0;
}

void require_wide(const Tensor& table, std::string_view name) {
  if (table && table.dtype() == DType::bf16) {
    throw base::Error("[{}] table: got {}, expected f32 or f64", name, describe(table));
  }
}

/// target[i] += source[i].
void add_row(const float* source, float* target, int64_t count) {
  cpu::add(target, DType::f32, source, DType::f32, target, DType::f32, count);
}
void add_row(const double* source, double* target, int64_t count) {
  for (int64_t i = 0; i < count; ++i) target[i] += source[i];
}

void gather_bf16(const Tensor& ids, const Tensor& table, const Tensor& out, bool accumulate) {
  const int64_t columns = table.dim(1);
  const int32_t* id = ids.data<int32_t>();
  base::parallel_for(ids.dim(0), grain_of(columns), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const bf16* row = table.data<bf16>() + id[r] * columns;
      float* target = out.data<float>() + r * columns;
      if (accumulate) {
        cpu::add(target, DType::f32, row, DType::bf16, target, DType::f32, columns);
      } else {
        cpu::convert(row, DType::bf16, target, DType::f32, columns);
      }
    }
  });
}

template <typename P>
void gather(const Tensor& ids, const Tensor& table, const Tensor& out, bool accumulate) {
  const int64_t columns = table.dim(1);
  const int32_t* id = ids.data<int32_t>();
  const P* rows = table.data<P>();
  P* target = out.data<P>();
  base::parallel_for(ids.dim(0), grain_of(columns), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const P* row = rows + id[r] * columns;
      if (accumulate) {
        add_row(row, target + r * columns, columns);
      } else {
        std::memcpy(target + r * columns, row, static_cast<size_t>(columns) * sizeof(P));
      }
    }
  });
}

/// Every element of the table belongs to one task: tasks split the columns into strips first, which shares the work
/// evenly however often an id occurs, and the ids by their remainder where there are more threads than strips.
template <typename P>
void scatter_add(const Tensor& ids, const Tensor& d_out, const Tensor& d_table) {
  constexpr int64_t kNarrowestStrip = 64;
  const int64_t count = ids.dim(0), columns = d_table.dim(1);
  const int64_t threads = std::clamp<int64_t>(count / grain_of(columns), 1, base::thread_count());
  const int64_t strips = std::clamp<int64_t>(columns / kNarrowestStrip, 1, threads);
  const int64_t groups = (threads + strips - 1) / strips;
  const int32_t* id = ids.data<int32_t>();
  const P* source = d_out.data<P>();
  P* target = d_table.data<P>();
  base::parallel_for(strips * groups, 1, [&](int64_t first_task, int64_t last_task) {
    for (int64_t task = first_task; task < last_task; ++task) {
      const int64_t strip = task % strips, group = task / strips;
      const int64_t first = columns * strip / strips, width = columns * (strip + 1) / strips - first;
      for (int64_t r = 0; r < count; ++r) {
        if (groups > 1 && id[r] % groups != group) continue;
        add_row(source + r * columns + first, target + id[r] * columns + first, width);
      }
    }
  });
}

}  // namespace

void embedding(const Tensor& ids, const Tensor& table, Tensor out) {
  if (check(ids, table, out, "embedding", "table", "out")) return;
  instruction_set();
  if (table.dtype() == DType::bf16) return gather_bf16(ids, table, out, false);
  table.dtype() == DType::f64 ? gather<double>(ids, table, out, false) : gather<float>(ids, table, out, false);
}

void embedding_add(const Tensor& ids, const Tensor& table, Tensor out) {
  if (check(ids, table, out, "embedding_add", "table", "out")) return;
  instruction_set();
  if (table.dtype() == DType::bf16) return gather_bf16(ids, table, out, true);
  table.dtype() == DType::f64 ? gather<double>(ids, table, out, true) : gather<float>(ids, table, out, true);
}

void embedding_backward(const Tensor& ids, const Tensor& d_out, Tensor d_table) {
  require_wide(d_table, "embedding_backward");
  if (check(ids, d_table, d_out, "embedding_backward", "d_table", "d_out")) return;
  instruction_set();
  d_table.dtype() == DType::f64 ? scatter_add<double>(ids, d_out, d_table) : scatter_add<float>(ids, d_out, d_table);
}

}  // namespace fledge::tensor
