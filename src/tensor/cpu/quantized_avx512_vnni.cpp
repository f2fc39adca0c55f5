#include "tensor/cpu/quantized_avx512_vnni-inl.h"

namespace fledge::tensor::cpu::avx512_vnni {

void multiply_quantized(PanelKind kind, const uint8_t* panel, int64_t groups, const QuantizedRows& activations,
                        int64_t rows, float* sums, int64_t sums_stride) {
  multiply_kind<Vnni>(kind, panel, groups, activations, rows, sums, sums_stride);
}

void unpack_quantized(PanelKind kind, const uint8_t* panel, int64_t groups, uint8_t* wide) {
  unpack_kind<Vnni>(kind, panel, groups, wide);
}

}  // namespace fledge::tensor::cpu::avx512_vnni
