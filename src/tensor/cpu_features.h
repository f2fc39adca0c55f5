#pragma once

#include <cstdint>
#include <string>

namespace fledge::tensor {

/// Instruction sets in the order of preference; each contains the ones before it.
/// avx512_bf16 needs VDPBF16PS; amx needs tiles with bf16 and the kernel's permission to use them.
enum class InstructionSet : uint8_t { baseline, avx2, avx512, avx512_bf16, amx };

/// What the processor and the kernel allow, read once.
struct CpuFeatures {
  std::string vendor;  ///< "GenuineIntel", "AuthenticAMD"
  std::string model;   ///< "AMD EPYC ..."
  bool avx2 = false, avx512 = false, avx512_bf16 = false, avx512_vnni = false, avx512_fp16 = false;
  bool amx_bf16 = false, amx_int8 = false;
  bool amx_permitted = false;  ///< arch_prctl(ARCH_REQ_XCOMP_PERM) was granted
};
const CpuFeatures& cpu_features();

/// The best set that this run uses: what the machine has, capped by the environment variable
/// FLEDGE_INSTRUCTION_SET=baseline|avx2|avx512|avx512_bf16|amx. Throws UsageError on another value. Also caps Highway's
/// targets.
InstructionSet instruction_set();
std::string_view name_of(InstructionSet set);

/// Whether bf16 products run faster than f32 ones with this set: AMX always; VDPBF16PS on AMD (twice f32), not on Intel
/// (half of f32, measured on Sapphire Rapids).
bool native_bf16();

}  // namespace fledge::tensor
