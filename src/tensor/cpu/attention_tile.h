#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace fledge::tensor::cpu {

// The elementwise halves of attention, on tiles of S^T: a row is a key, a column a query. So a query's maximum and sum
// run down a column, a vector holds neighbouring queries, and a tile of weights already has the order of a B panel.

/// f32 values in one vector of the instruction set that tiles are computed with; a kernel's NR is a multiple.
int64_t tile_vector();

/// How a micro-kernel's B panel holds the weights of a tile.
enum class PanelForm : uint8_t {
  f32,      ///< [K][columns]: the tile itself
  rounded,  ///< the same, each value rounded to bf16
  pairs,    ///< [K / 2][columns][2] of bf16
  other     ///< unknown: the tile is left in f32 for MicroKernel::pack_b
};

/// What both directions know of a tile. Every array over columns has `stride` elements, and vectors of columns are
/// computed whole, up to `stride`.
struct ScoreTile {
  float* scores;  ///< S^T [rows][stride], unscaled
  int64_t rows, columns;
  int64_t stride;                                  ///< NR of the micro-kernel, a multiple of a vector
  float scale_log2;                                ///< softmax scale times log2(e)
  const int32_t *first = nullptr, *end = nullptr;  ///< column c sees rows [first[c], end[c]); nullptr: all rows
  const float* keep = nullptr;                     ///< dropout factors [rows][stride]; nullptr: nothing is dropped
  PanelForm form;
  int64_t padded_rows;  ///< rows of the panel; those beyond `rows` are filled with zeros
};

/// One step of the online softmax (Dao 2023, algorithm 1, lines 8 to 10): turns scores into weights
/// 2^(scale_log2 (score - maximum)) and updates each column's maximum (of unscaled scores) and sum of weights.
/// The weights, times `keep`, go to `panel` (pairs) or stay in `scores`. `correction` receives the factor for the
/// column's earlier sums. Returns whether any correction differs from 1.
bool softmax_tile(const ScoreTile& tile, float* maximum, float* sum, float* correction, uint32_t* panel);

/// softmax_tile for one query whose scores stand in a row; gives the bits that it would have there. The weights of keys
/// outside [first, end) become 0. Whole vectors are read and written. Returns the factor for the earlier sums.
struct ScoreRow {
  float* scores;
  int64_t keys, first, end;
  float scale_log2;
  const float* keep = nullptr;  ///< [keys], in whole vectors
};
float softmax_row(const ScoreRow& row, float* maximum, float* sum);

/// The backward pass of one tile: P = 2^(scale_log2 score - logsumexp_log2), dS = P (keep dP - delta).
/// In form `pairs` keep P and dS go to `weight_rows` and `gradient_rows` (bf16 [rows][stride]) and dS to
/// `gradient_panel` too; in other forms they replace scores and d_weights.
struct GradientTile {
  ScoreTile scores;
  float* d_weights;  ///< dP^T [rows][stride]
  const float *logsumexp_log2, *delta;
  bf16 *weight_rows, *gradient_rows;
  uint32_t* gradient_panel;
};
void gradient_tile(const GradientTile& tile);

/// Dropout factors of up to four keys that share a block of random numbers: rows[i][column] = kept, or 0 where number i
/// of base::Random::block((position + column) << 32 | key_group, row_number) is below the threshold. Whole vectors of
/// columns are written; a null row is not.
struct KeepRows {
  uint32_t random_key[2];
  uint64_t row_number;
  uint32_t position, key_group;
  uint32_t threshold;
  float kept;
  int64_t columns;
  float* rows[4];
};
void keep_rows(const KeepRows& keep);

/// values[row][column] *= factors[column] for [rows][stride].
void scale_columns(float* values, int64_t rows, int64_t stride, const float* factors);

/// target[column * target_stride + row] = values[row * stride + column] * factors[column], rounded to the target's type
/// (f32 or bf16). `columns` of them; values has whole vectors of columns.
void store_transposed(const float* values, int64_t rows, int64_t columns, int64_t stride, const float* factors,
                      DType dtype, void* target, int64_t target_stride);

/// target[row * target_stride + i] = values[row * columns + i] * factor, rounded to the target's type.
void store_scaled(const float* values, int64_t rows, int64_t columns, float factor, DType dtype, void* target,
                  int64_t target_stride);

/// dots[row] = sum of a[row * a_stride + i] * b[row * b_stride + i] in f32.
void row_dots(const void* a, int64_t a_stride, const void* b, int64_t b_stride, DType dtype, int64_t rows,
              int64_t columns, float* dots);

}  // namespace fledge::tensor::cpu
