#pragma once

#include <stdint.h>

// Loops of independent multiply-adds in registers, one per instruction set; each returns the operations it did.
namespace fledge::tensor::cpu {

double multiply_add_baseline(int64_t rounds);
double multiply_add_avx2(int64_t rounds);
double multiply_add_avx512(int64_t rounds);
double multiply_add_avx512_bf16(int64_t rounds);
/// Needs AMX to be permitted; configures and releases the calling thread's tiles.
double multiply_add_amx(int64_t rounds);

// The same with products of 8-bit integers and sums of 32 bits.
double multiply_add_int8_baseline(int64_t rounds);
double multiply_add_int8_avx2(int64_t rounds);
double multiply_add_int8_avx512_vnni(int64_t rounds);
double multiply_add_int8_amx(int64_t rounds);

}  // namespace fledge::tensor::cpu
