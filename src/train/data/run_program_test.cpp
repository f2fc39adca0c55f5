#include "train/data/run_program.h"

#include <gmock/gmock.h>

#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::HasSubstr;

TEST(RunProgram, HandsArgumentsOverAsTheyAre) {
  const TemporaryFolder folder;
  const ProgramResult result = run_program({"printf", "%s|", "a b", "$HOME; ls", "'"}, folder.path());
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output, "a b|$HOME; ls|'|");
}

TEST(RunProgram, WorksInTheFolderAndGivesTheExitCode) {
  const TemporaryFolder folder;
  const ProgramResult result = run_program({"sh", "-c", "echo words > file; echo bad >&2; exit 3"}, folder.path());
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.output, "bad\n");
  EXPECT_EQ(base::read_file(folder / "file"), "words\n");
  EXPECT_EQ(run_program({"sh", "-c", "kill -9 $$"}, folder.path()).exit_code, 128 + 9);
}

TEST(RunProgram, KeepsTheEndOfALongOutput) {
  const TemporaryFolder folder;
  const ProgramResult result = run_program({"seq", "100000"}, folder.path());
  EXPECT_EQ(result.output.size(), 4096u);
  EXPECT_TRUE(result.output.ends_with("99999\n100000\n"));
}

TEST(RunProgram, SaysWhichProgramIsMissing) {
  EXPECT_THAT(error_of([] { run_program({"no-such-program-here"}, "."); }),
              HasSubstr("the program no-such-program-here cannot be run (No such file or directory)"));
}

}  // namespace
}  // namespace fledge::train
