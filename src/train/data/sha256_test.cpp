#include "train/data/sha256.h"

#include <gtest/gtest.h>

#include "train/data/test_support.h"

namespace fledge::train {
namespace {

// FIPS 180-2, appendix B.
constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr const char* kMillion = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
constexpr const char* kNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(Sha256, GivesTheStandardsExamples) {
  EXPECT_EQ(sha256("abc"), kAbc);
  EXPECT_EQ(sha256(""), kNothing);
  Sha256 hash;
  for (int part = 0; part < 1000; ++part) hash.update(std::string(1000, 'a'));
  EXPECT_EQ(hash.finish(), kMillion);
  const TemporaryFolder folder;
  base::write_file(folder / "abc", "abc");
  base::write_file(folder / "nothing", "");
  EXPECT_EQ(sha256_of_file(folder / "abc"), kAbc);
  EXPECT_EQ(sha256_of_file(folder / "nothing"), kNothing);
}

}  // namespace
}  // namespace fledge::train
