#include "base/file_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/error.h"

namespace fledge::base {
namespace {

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "fledge-lock-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST(FileLock, WaitsForTheOther) {
  const Folder folder;
  const auto path = folder.path / "lock";
  struct GiveUp {};
  int waits = 0;
  auto held = std::make_unique<FileLock>(path, [] { FAIL(); });
  EXPECT_THROW(FileLock(path,
                        [&] {
                          if (++waits == 3) throw GiveUp();
                        }),
               GiveUp);
  EXPECT_EQ(waits, 3);
  const FileLock second(path, [&] { held.reset(); });
  EXPECT_EQ(held, nullptr);
}

TEST(FileLock, NamesAFileThatCannotBe) {
  const Folder folder;
  try {
    const FileLock lock(folder.path / "nowhere" / "lock", [] {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("nowhere"));
  }
}

}  // namespace
}  // namespace fledge::base
