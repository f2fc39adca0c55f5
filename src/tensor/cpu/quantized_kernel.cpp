#include "tensor/cpu/quantized_kernel.h"

#include <array>

#include "tensor/cpu_features.h"

namespace fledge::tensor::cpu {
namespace {

constexpr int64_t kTileRows = 16;  // of AMX

/// Tiles for whole panels of rows, vectors for the rest.
template <QuantizedMultiply* tiles>
void multiply_amx(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations, int64_t rows,
                  float* sums, int64_t sums_stride) {
  const auto multiply = rows >= kTileRows ? tiles : avx512_vnni::multiply_quantized;
  multiply(kind, panel, groups, activations, rows, sums, sums_stride);
}

struct Entry {
  bool (*runs_here)();
  QuantizedKernel kernel;
};

bool has_vnni() {
  return instruction_set() >= InstructionSet::avx512 && cpu_features().avx512_vnni;
}

// Best first.
constexpr std::array kEntries = {
    Entry{[] { return instruction_set() == InstructionSet::amx && cpu_features().amx_int8 && has_vnni(); },
          {"amx_int8", multiply_amx<amx::multiply_quantized>, avx512_vnni::unpack_quantized, 2 * kTileRows,
           kTileRows - 1, true, amx::release_quantized}},
    Entry{has_vnni,
          {"avx512_vnni", avx512_vnni::multiply_quantized, avx512_vnni::unpack_quantized, 12, 48, false, nullptr}},
    Entry{[] { return instruction_set() >= InstructionSet::avx2; },
          {"avx2", avx2::multiply_quantized, nullptr, 4, 0, false, nullptr}},
    Entry{[] { return true; }, {"baseline", baseline::multiply_quantized, nullptr, 4, 0, false, nullptr}},
};

constexpr QuantizedKernel kEmulatedAmx{"amx_emulated",
                                       multiply_amx<amx::multiply_quantized_emulated>,
                                       avx512_vnni::unpack_quantized,
                                       2 * kTileRows,
                                       kTileRows - 1,
                                       true,
                                       nullptr};

const QuantizedKernel& best() {
  for (const Entry& entry : kEntries) {
    if (entry.runs_here()) return entry.kernel;
  }
  return kEntries.back().kernel;
}

}  // namespace

int64_t QuantizedKernel::chunk_rows(int64_t remaining) const {
  if (remaining >= maximum_rows) return maximum_rows;
  for (const int64_t rows : {16, 12, 8, 4, 2}) {
    if (rows <= remaining && rows <= maximum_rows) return rows;
  }
  return 1;
}

const QuantizedKernel& quantized_kernel() {
  static const QuantizedKernel& kernel = best();
  return kernel;
}

std::vector<const QuantizedKernel*> all_quantized_kernels() {
  std::vector<const QuantizedKernel*> kernels;
  for (const Entry& entry : kEntries) {
    if (entry.runs_here()) kernels.push_back(&entry.kernel);
  }
  if (has_vnni()) kernels.push_back(&kEmulatedAmx);
  return kernels;
}

}  // namespace fledge::tensor::cpu
