#include "tensor/cpu/parallel_spaces.h"

#include <gtest/gtest.h>

namespace fledge::tensor::cpu {
namespace {

TEST(PanelParts, EveryPanelIsInOnePart) {
  for (const int64_t panels : {1, 2, 7, 8, 16, 17, 36, 100, 1536}) {
    for (int64_t parts = 1; parts <= std::min<int64_t>(panels, 9); ++parts) {
      for (const bool uneven : {false, true}) {
        const PanelParts cut(panels, parts, uneven);
        int64_t end = 0;
        for (int64_t part = 0; part < cut.count(); ++part) {
          EXPECT_EQ(cut.first(part), end);
          end = cut.end(part);
        }
        EXPECT_EQ(end, panels) << parts;
        EXPECT_TRUE(cut.count() == parts || (uneven && cut.count() == 2 * parts));
      }
    }
  }
}

TEST(PanelParts, ASharesLastQuarterIsForWhoIsFree) {
  const PanelParts cut(64, 2, true);
  ASSERT_EQ(cut.count(), 4);
  EXPECT_EQ(cut.end(0), 24);
  EXPECT_EQ(cut.end(1), 32);
  EXPECT_EQ(cut.end(2), 56);
  EXPECT_EQ(PanelParts(64, 2, false).count(), 2);
  EXPECT_EQ(PanelParts(15, 2, true).count(), 2);  // too few to be cut further
  EXPECT_EQ(PanelParts(64, 1, true).count(), 1);
}

}  // namespace
}  // namespace fledge::tensor::cpu
