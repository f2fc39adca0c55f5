#include "cli/doctor.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fledge::cli {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

Diagnosis good_machine() {
  Diagnosis diagnosis;
  diagnosis.machine.logical_cores = 8;
  diagnosis.machine.huge_pages = "madvise";
  diagnosis.features.avx2 = diagnosis.features.avx512 = diagnosis.features.avx512_bf16 = true;
  diagnosis.features.amx_bf16 = diagnosis.features.amx_permitted = true;
  diagnosis.instruction_set = tensor::InstructionSet::amx;
  diagnosis.native_bf16 = true;
  diagnosis.threads = 8;
  return diagnosis;
}

TEST(Doctor, AGoodMachineHasNothingToComplainAbout) {
  const Diagnosis diagnosis = good_machine();
  EXPECT_EQ(diagnosis.findings().size(), 1u);
  EXPECT_THAT(diagnosis.findings().front(), HasSubstr("AMX multiplies bf16"));
}

TEST(Doctor, NamesWhatIsSlowAndWhatToDo) {
  Diagnosis diagnosis = good_machine();
  diagnosis.features.amx_permitted = false;
  diagnosis.instruction_set = tensor::InstructionSet::avx512_bf16;
  diagnosis.native_bf16 = false;
  diagnosis.machine.huge_pages = "never";
  diagnosis.machine.cpu_limit = 2.0;
  diagnosis.machine.numa_nodes = 2;
  diagnosis.machine.memory_limit = uint64_t{2} << 30;
  const auto findings = diagnosis.findings();
  EXPECT_THAT(findings, Contains(HasSubstr("the kernel does not let this process use it")));
  EXPECT_THAT(findings, Contains(HasSubstr("echo madvise")));
  EXPECT_THAT(findings, Contains(HasSubstr("grants 2 of 8 cores' time: fledge starts 2 threads")));
  EXPECT_THAT(findings, Contains(HasSubstr("8 threads share 2 cores")));
  EXPECT_THAT(findings, Contains(HasSubstr("mpirun -n 2")));
  EXPECT_THAT(findings, Contains(HasSubstr("limits memory to 2.0 GiB")));
}

TEST(Doctor, SaysWhichPrecisionEachInstructionSetWants) {
  Diagnosis diagnosis = good_machine();
  diagnosis.features.amx_bf16 = false;
  diagnosis.instruction_set = tensor::InstructionSet::avx512_bf16;
  EXPECT_THAT(diagnosis.findings().front(), HasSubstr("takes bf16"));
  diagnosis.native_bf16 = false;
  EXPECT_THAT(diagnosis.findings().front(), HasSubstr("takes f32"));
  for (const auto set : {tensor::InstructionSet::avx512, tensor::InstructionSet::avx2}) {
    diagnosis.instruction_set = set;
    EXPECT_THAT(diagnosis.findings().front(), HasSubstr("takes f32"));
  }
}

TEST(Doctor, JsonHoldsTheSameAsTheText) {
  const Diagnosis diagnosis = good_machine();
  const base::OrderedJson json = diagnosis.json();
  EXPECT_EQ(json["cores"]["logical"], 8);
  EXPECT_TRUE(json["cores"]["limit"].is_null());
  EXPECT_EQ(json["processor"]["instruction_set"], "amx");
  EXPECT_EQ(json["processor"]["native_bf16"], true);
  EXPECT_EQ(json["findings"].size(), 1u);
  const std::string text = diagnosis.text();
  EXPECT_THAT(text, HasSubstr("permitted"));
  EXPECT_THAT(text, HasSubstr(json["libraries"]["oneDNN"].get<std::string>()));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

}  // namespace
}  // namespace fledge::cli
