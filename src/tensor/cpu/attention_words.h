#pragma once

#include <stdint.h>

// Plain declarations of what a file compiled for one instruction set offers to attention.
namespace fledge::tensor::cpu {

/// panel[word * lanes + lane] = word `word` (32 bits: an f32 or a pair of bf16) of row `lane`: rows that are contiguous
/// in depth become a panel. Up to 16 rows `row_bytes` apart; lanes up to `lanes` (at most 16) without a row receive
/// zeros. `panel_lanes` is the distance of the panel's words.
void transpose_words_avx512(const void* rows, int64_t row_bytes, int64_t row_count, int64_t words, uint32_t* panel,
                            int64_t lanes, int64_t panel_lanes);

/// The same from rows that are contiguous in lanes: row k is depth k. Words are f32, or pairs of rows of bf16. Up to 16
/// lanes; depth beyond `depth` up to `words` words is filled with zeros.
void interleave_rows_avx512(const void* rows, int64_t row_bytes, int64_t row_lanes, int64_t depth, bool pairs,
                            int64_t words, uint32_t* panel, int64_t lanes, int64_t panel_lanes);

}  // namespace fledge::tensor::cpu
