#include "infer/page_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace fledge::infer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<int32_t> take(PagePool& pool, int count) {
  std::vector<int32_t> pages;
  for (int index = 0; index < count; ++index) pages.push_back(pool.take().value());
  return pages;
}

void release(PagePool& pool, const std::vector<int32_t>& pages) {
  for (const int32_t page : pages) pool.release(page);
}

TEST(PagePool, GivesEveryPageOnce) {
  PagePool pool(3, 4);
  const std::vector<int32_t> pages = take(pool, 3);
  EXPECT_EQ(std::set<int32_t>(pages.begin(), pages.end()).size(), 3U);
  EXPECT_FALSE(pool.take());
  pool.release(pages[1]);
  EXPECT_EQ(pool.available(), 1);
  EXPECT_EQ(pool.take(), pages[1]);
}

TEST(PagePool, FindsWhatBeginsAlike) {
  PagePool pool(8, 2);
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5};
  std::vector<int32_t> pages = take(pool, 3);
  pool.remember(tokens, pages);
  release(pool, pages);
  EXPECT_EQ(pool.available(), 8);

  PagePool::Match match = pool.find(std::vector<int32_t>{1, 2, 3, 9, 9}, 5);
  EXPECT_THAT(match.pages, ElementsAre(pages[0]));
  EXPECT_EQ(match.partial_page, pages[1]);
  EXPECT_EQ(match.partial_tokens, 1);
  EXPECT_EQ(pool.available(), 7);
  release(pool, match.pages);

  match = pool.find(std::vector<int32_t>{1, 2, 3, 4, 5, 6}, 6);
  EXPECT_THAT(match.pages, ElementsAre(pages[0], pages[1]));
  EXPECT_EQ(match.partial_page, pages[2]);
  EXPECT_EQ(match.partial_tokens, 1);
  release(pool, match.pages);

  match = pool.find(tokens, 3);
  EXPECT_THAT(match.pages, ElementsAre(pages[0]));
  EXPECT_EQ(match.partial_tokens, 1);
  release(pool, match.pages);

  EXPECT_THAT(pool.find(std::vector<int32_t>{2, 2}, 2).pages, IsEmpty());
  EXPECT_THAT(pool.find({}, 4).pages, IsEmpty());
}

TEST(PagePool, ForgetsTheLeastRecentlyUsedLeafAndNothingInUse) {
  PagePool pool(4, 1);
  std::vector<int32_t> first = take(pool, 2);
  pool.remember(std::vector<int32_t>{1, 2}, first);
  release(pool, first);
  std::vector<int32_t> second = take(pool, 2);
  pool.remember(std::vector<int32_t>{3, 4}, second);
  EXPECT_EQ(pool.available(), 2);
  EXPECT_EQ(pool.take(), first[1]);  // the leaf goes before what it hangs on
  const PagePool::Match match = pool.find(std::vector<int32_t>{1, 2}, 2);
  EXPECT_THAT(match.pages, ElementsAre(first[0]));
  EXPECT_FALSE(pool.take());
}

TEST(PagePool, EqualTokensShareOnePage) {
  PagePool pool(4, 2);
  std::vector<int32_t> first = take(pool, 2), second = take(pool, 2);
  pool.remember(std::vector<int32_t>{1, 2}, first);
  pool.remember(std::vector<int32_t>{1, 2, 3, 4}, second);
  EXPECT_EQ(second[0], first[0]);
  EXPECT_EQ(pool.available(), 1);
  release(pool, second);
  EXPECT_EQ(pool.available(), 2);
}

// Random use: no page has two owners unless both share its tokens, and nothing is lost.
TEST(PagePool, KeepsCountUnderRandomUse) {
  constexpr int64_t kPageTokens = 3, kPages = 16;
  PagePool pool(kPages, kPageTokens);
  const base::Random random(3, 3);
  uint64_t position = 0;
  struct Sequence {
    std::vector<int32_t> tokens, pages;
  };
  std::vector<Sequence> running;
  std::vector<std::vector<int32_t>> content(kPages);  // the tokens of the whole prefix that each page ends
  for (int round = 0; round < 3000; ++round) {
    if (running.size() < 4) {
      Sequence sequence;
      const size_t length = 1 + random.below(9, position++);
      for (size_t index = 0; index < length; ++index) {
        sequence.tokens.push_back(static_cast<int32_t>(random.below(2, position++)));
      }
      PagePool::Match match = pool.find(sequence.tokens, static_cast<int64_t>(length) - 1);
      for (size_t page = 0; page < match.pages.size(); ++page) {
        const std::vector<int32_t> prefix(sequence.tokens.begin(),
                                          sequence.tokens.begin() + static_cast<int64_t>(page + 1) * kPageTokens);
        ASSERT_EQ(content[static_cast<size_t>(match.pages[page])], prefix);
      }
      sequence.pages = match.pages;
      bool whole = true;
      while (static_cast<int64_t>(sequence.pages.size()) * kPageTokens < static_cast<int64_t>(length)) {
        const auto page = pool.take();
        if (!page) {
          whole = false;
          break;
        }
        sequence.pages.push_back(*page);
        const auto end = std::min(length, sequence.pages.size() * kPageTokens);
        content[static_cast<size_t>(*page)].assign(sequence.tokens.begin(),
                                                   sequence.tokens.begin() + static_cast<int64_t>(end));
      }
      if (whole) {
        const size_t full = length / kPageTokens * kPageTokens;
        if (random.below(2, position++) == 0) {
          pool.remember(std::span<const int32_t>(sequence.tokens).first(full), sequence.pages);
        }
        running.push_back(sequence);
      } else {
        for (const int32_t page : sequence.pages) pool.release(page);
      }
    } else {
      const size_t index = random.below(running.size(), position++);
      pool.remember(running[index].tokens, running[index].pages);
      for (const int32_t page : running[index].pages) pool.release(page);
      running.erase(running.begin() + static_cast<int64_t>(index));
    }
    std::set<int32_t> held;
    for (const Sequence& sequence : running) held.insert(sequence.pages.begin(), sequence.pages.end());
    ASSERT_EQ(pool.available(), kPages - static_cast<int64_t>(held.size()));
  }
}

}  // namespace
}  // namespace fledge::infer
