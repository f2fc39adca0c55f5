#pragma once

#include "tensor/matmul.h"

namespace fledge::tensor {

/// Floating-point operations per second that all threads reach together with the instruction set in use when nothing
/// but registers is touched: the ceiling of matrix products of that precision, measured now in about a tenth of a
/// second. A multiply and its addition count as two.
double measure_peak_flops(Precision precision);

/// The same for products of 8-bit integers with sums of 32 bits: the ceiling of quantized products.
double measure_peak_int8();

/// Bytes per second that all threads reach together reading `bytes` of memory over and over, measured now.
double measure_read_bandwidth(size_t bytes);

}  // namespace fledge::tensor
