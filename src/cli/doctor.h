#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "cli/machine.h"
#include "tensor/cpu_features.h"

namespace fledge::cli {

class Verb;
struct Context;

struct DoctorOptions {
  bool json = false;
};

/// What the machine means for speed.
struct Diagnosis {
  Machine machine;
  tensor::CpuFeatures features;
  tensor::InstructionSet instruction_set = tensor::InstructionSet::baseline;
  bool native_bf16 = false;
  int threads = 1;

  /// One sentence for each thing that makes this machine fast or slow and what to do about it.
  std::vector<std::string> findings() const;
  base::OrderedJson json() const;
  std::string text() const;
};

void add_doctor_command(Verb app, Context& context);
void run_doctor(const DoctorOptions& options);

}  // namespace fledge::cli
