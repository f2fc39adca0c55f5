#include "tensor/cpu_features.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <hwy/highway.h>
#include <hwy/targets.h>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace fledge::tensor {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"baseline", "avx2", "avx512", "avx512_bf16", "amx"};

uint64_t extended_state() {
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

bool request_amx() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

std::string read_vendor() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  __get_cpuid(0, &eax, &ebx, &ecx, &edx);
  std::string vendor(12, ' ');
  std::memcpy(vendor.data(), &ebx, 4);
  std::memcpy(vendor.data() + 4, &edx, 4);
  std::memcpy(vendor.data() + 8, &ecx, 4);
  return vendor;
}

std::string read_model() {
  std::string model;
  for (unsigned leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    std::array<unsigned, 4> words{};
    if (!__get_cpuid(leaf, &words[0], &words[1], &words[2], &words[3])) return "unknown";
    model.append(reinterpret_cast<const char*>(words.data()), 16);
  }
  model.resize(std::strlen(model.c_str()));
  while (!model.empty() && model.back() == ' ') model.pop_back();
  return model;
}

CpuFeatures read_features() {
  CpuFeatures features;
  features.vendor = read_vendor();
  features.model = read_model();
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & bit_OSXSAVE) == 0) return features;
  const bool fma = (ecx & bit_FMA) != 0;
  const bool f16c = (ecx & bit_F16C) != 0;
  const uint64_t state = extended_state();
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6, tiles = (state & 0x60000) == 0x60000;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return features;
  features.avx2 = ymm && fma && f16c && (ebx & bit_AVX2) != 0 && (ebx & bit_BMI2) != 0;
  const unsigned wanted = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  features.avx512 = features.avx2 && zmm && (ebx & wanted) == wanted;
  features.avx512_vnni = features.avx512 && (ecx & bit_AVX512VNNI) != 0;
  features.avx512_fp16 = features.avx512 && (edx & (1u << 23)) != 0;
  features.amx_bf16 = features.avx512 && tiles && (edx & (1u << 24)) != 0 && (edx & (1u << 22)) != 0;
  features.amx_int8 = features.avx512 && tiles && (edx & (1u << 24)) != 0 && (edx & (1u << 25)) != 0;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) features.avx512_bf16 = features.avx512 && (eax & (1u << 5)) != 0;
  features.amx_permitted = features.amx_bf16 && request_amx();
  return features;
}

InstructionSet best_set(const CpuFeatures& features) {
  if (features.amx_bf16 && features.amx_permitted && features.avx512_bf16) return InstructionSet::amx;
  if (features.avx512_bf16) return InstructionSet::avx512_bf16;
  if (features.avx512) return InstructionSet::avx512;
  if (features.avx2) return InstructionSet::avx2;
  return InstructionSet::baseline;
}

InstructionSet choose() {
  const InstructionSet best = best_set(cpu_features());
  const char* cap = std::getenv("FLEDGE_INSTRUCTION_SET");
  if (cap == nullptr || *cap == '\0') return best;
  const auto found = std::ranges::find(kNames, std::string_view(cap));
  if (found == kNames.end()) {
    throw base::UsageError("FLEDGE_INSTRUCTION_SET is \"{}\"; it can be {}", cap, fmt::join(kNames, ", "));
  }
  const auto asked = static_cast<InstructionSet>(found - kNames.begin());
  const InstructionSet chosen = std::min(best, asked);
  // Each call replaces what an earlier one disabled.
  constexpr auto kAvx512Targets = HWY_AVX3 | HWY_AVX3_DL;
  if (chosen < InstructionSet::avx2) {
    hwy::DisableTargets(kAvx512Targets | HWY_AVX2);
  } else if (chosen < InstructionSet::avx512) {
    hwy::DisableTargets(kAvx512Targets);
  }
  return chosen;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = read_features();
  return features;
}

InstructionSet instruction_set() {
  static const InstructionSet chosen = choose();
  return chosen;
}

std::string_view name_of(InstructionSet set) {
  return kNames[static_cast<size_t>(set)];
}

bool native_bf16() {
  const InstructionSet set = instruction_set();
  return set == InstructionSet::amx || (set == InstructionSet::avx512_bf16 && cpu_features().vendor == "AuthenticAMD");
}

}  // namespace fledge::tensor
