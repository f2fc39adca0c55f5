#include "tensor/cpu/micro_kernel.h"

#include <array>

#include "tensor/cpu/gemm_functions.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor::cpu {
namespace {

template <PackFunction* pack>
void pack_rows(const MatrixView& source, void* panel) {
  pack({source.data, source.dtype == DType::bf16, source.rows, source.columns, source.row_stride, source.column_stride},
       panel);
}

template <PackFunction* pack>
void pack_columns(const MatrixView& source, void* panel) {
  pack_rows<pack>(source.transposed(), panel);
}

constexpr NarrowKernel kNarrowAvx2{avx2::find_bases, avx2::narrow, avx2::widen, avx2::multiply_narrow};
constexpr NarrowKernel kNarrow{avx512_bf16::find_bases, avx512_bf16::narrow, avx512_bf16::widen,
                               avx512_bf16::multiply_narrow};

/// A kernel and what the machine must have for it.
struct Entry {
  InstructionSet needs;
  bool native_bf16;  ///< multiplies bf16 without widening
  MicroKernel kernel;
};

// Best first.
constexpr std::array kEntries = {
    Entry{InstructionSet::amx, true,
          MicroKernel{"amx_bf16", DType::bf16, DType::bf16, DType::bf16, amx::kRows, amx::kColumns, 32, 2048, 384,
                      pack_rows<amx::pack_a>, pack_columns<amx::pack_b>, amx::multiply, amx::release, amx::store_bf16}},
    Entry{InstructionSet::avx512_bf16, true,
          MicroKernel{"avx512_bf16", DType::bf16, DType::bf16, DType::bf16, avx512_bf16::kRows, avx512_bf16::kColumns,
                      2, 2048, 2048, pack_rows<avx512_bf16::pack_a>, pack_columns<avx512_bf16::pack_b>,
                      avx512_bf16::multiply, nullptr, nullptr, avx512_bf16::kFewRows, pack_rows<avx512_bf16::pack_few>,
                      avx512_bf16::multiply_few, &kNarrow}},
    Entry{InstructionSet::avx512, false,
          MicroKernel{"avx512_f32", DType::f32, DType::f32, DType::f32, avx512::kRows, avx512::kColumns, 1, 1024, 1024,
                      pack_rows<avx512::pack_a_f32>, pack_columns<avx512::pack_b_f32>, avx512::multiply_f32, nullptr,
                      nullptr, avx512::kFewRows, pack_rows<avx512::pack_few_f32>, avx512::multiply_few_f32}},
    Entry{
        InstructionSet::avx512, false,
        MicroKernel{"avx512_rounded", DType::bf16, DType::f32, DType::f32, avx512::kRows, avx512::kColumns, 1, 1024,
                    1024, pack_rows<avx512::pack_a_rounded>, pack_columns<avx512::pack_b_rounded>, avx512::multiply_f32,
                    nullptr, nullptr, avx512::kFewRows, pack_rows<avx512::pack_few_rounded>, avx512::multiply_few_f32}},
    Entry{InstructionSet::avx2, false,
          MicroKernel{"avx2_f32", DType::f32, DType::f32, DType::f32, avx2::kRows, avx2::kColumns, 1, 1024, 1024,
                      pack_rows<avx2::pack_a_f32>, pack_columns<avx2::pack_b_f32>, avx2::multiply_f32, nullptr, nullptr,
                      avx2::kFewRows, pack_rows<avx2::pack_few_f32>, avx2::multiply_few_f32}},
    Entry{InstructionSet::avx2, false,
          MicroKernel{"avx2_bf16", DType::bf16, DType::f32, DType::bf16, avx2::kPairRows, avx2::kPairColumns, 2, 1024,
                      1024, pack_rows<avx2::pack_a_bf16>, pack_columns<avx2::pack_b_bf16>, avx2::multiply_bf16, nullptr,
                      nullptr, avx2::kPairRows, pack_rows<avx2::pack_few_bf16>, avx2::multiply_few_bf16, &kNarrowAvx2}},
    Entry{InstructionSet::avx2, false,
          MicroKernel{"avx2_rounded", DType::bf16, DType::f32, DType::f32, avx2::kRows, avx2::kColumns, 1, 1024, 1024,
                      pack_rows<avx2::pack_a_rounded>, pack_columns<avx2::pack_b_rounded>, avx2::multiply_f32}},
    Entry{
        InstructionSet::baseline, false,
        MicroKernel{"baseline_f32", DType::f32, DType::f32, DType::f32, baseline::kRows, baseline::kColumns, 1, 1024,
                    1024, pack_rows<baseline::pack_a_f32>, pack_columns<baseline::pack_b_f32>, baseline::multiply_f32}},
    Entry{InstructionSet::baseline, false,
          MicroKernel{"baseline_rounded", DType::bf16, DType::f32, DType::f32, baseline::kRows, baseline::kColumns, 1,
                      1024, 1024, pack_rows<baseline::pack_a_rounded>, pack_columns<baseline::pack_b_rounded>,
                      baseline::multiply_f32}},
};

bool runs_here(const Entry& entry) {
  return entry.needs <= instruction_set();
}

constexpr MicroKernel kEmulatedAmx{"amx_emulated",
                                   DType::bf16,
                                   DType::bf16,
                                   DType::bf16,
                                   amx::kRows,
                                   amx::kColumns,
                                   32,
                                   2048,
                                   384,
                                   pack_rows<amx::pack_a>,
                                   pack_columns<amx::pack_b>,
                                   amx::multiply_emulated};

const MicroKernel& best(DType arithmetic, bool uniform) {
  for (const Entry& entry : kEntries) {
    const bool fits =
        entry.kernel.arithmetic == arithmetic && runs_here(entry) && (!entry.native_bf16 || native_bf16());
    if (fits && (!uniform || entry.kernel.a_operand == entry.kernel.b_operand)) return entry.kernel;
  }
  return kEntries.back().kernel;
}

}  // namespace

const MicroKernel& f32_micro_kernel() {
  static const MicroKernel& kernel = best(DType::f32, false);
  return kernel;
}

const MicroKernel& bf16_micro_kernel() {
  static const MicroKernel& kernel = best(DType::bf16, false);
  return kernel;
}

const MicroKernel& bf16_attention_kernel() {
  static const MicroKernel& kernel = best(DType::bf16, true);
  return kernel;
}

std::vector<const MicroKernel*> all_micro_kernels() {
  std::vector<const MicroKernel*> kernels;
  for (const Entry& entry : kEntries) {
    if (runs_here(entry)) kernels.push_back(&entry.kernel);
  }
  if (instruction_set() >= InstructionSet::avx512_bf16) kernels.push_back(&kEmulatedAmx);
  return kernels;
}

}  // namespace fledge::tensor::cpu
