#include "nn/text/bpe_model.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "nn/text/piece_cache.h"

namespace fledge::nn {
namespace {

struct Definition {
  std::vector<std::string> tokens;
  std::vector<BpeMerge> merges;
};

/// A vocabulary of the 256 bytes and `count` merges of random earlier tokens, mostly of a few letters.
Definition random_definition(const base::Random& random, size_t count) {
  Definition result;
  for (int byte = 0; byte < 256; ++byte) result.tokens.emplace_back(1, static_cast<char>(byte));
  std::map<std::pair<int32_t, int32_t>, bool> taken;
  std::map<std::string, int32_t> known;
  uint64_t position = 0;
  const auto draw = [&] {
    const uint64_t made = result.tokens.size() - 256;
    const uint64_t choice = random.below(4 + made, position++);
    return static_cast<int32_t>(choice < 4 ? 'a' + choice : 256 + choice - 4);
  };
  for (int attempts = 0; result.merges.size() < count && attempts < 100000; ++attempts) {
    const int32_t left = draw(), right = draw();
    const std::string token = result.tokens[static_cast<size_t>(left)] + result.tokens[static_cast<size_t>(right)];
    if (token.size() > 20 || !taken.emplace(std::pair{left, right}, true).second) continue;
    // The same bytes by another way are the same token.
    const auto [entry, is_new] = known.emplace(token, static_cast<int32_t>(result.tokens.size()));
    if (is_new) result.tokens.push_back(token);
    result.merges.push_back({left, right, entry->second, static_cast<uint32_t>(result.merges.size())});
  }
  return result;
}

/// The definition itself: again and again, join the leftmost pair of lowest rank.
std::vector<int32_t> brute_force(const Definition& definition, std::string_view piece) {
  std::vector<int32_t> parts(piece.begin(), piece.end());
  for (int32_t& part : parts) part &= 0xFF;
  for (;;) {
    const BpeMerge* best = nullptr;
    size_t place = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      for (const BpeMerge& merge : definition.merges) {
        if (merge.left != parts[i] || merge.right != parts[i + 1]) continue;
        if (best == nullptr || merge.rank < best->rank) {
          best = &merge;
          place = i;
        }
      }
    }
    if (best == nullptr) return parts;
    parts[place] = best->result;
    parts.erase(parts.begin() + static_cast<int64_t>(place) + 1);
  }
}

std::string random_piece(const base::Random& random, uint64_t& position, size_t length) {
  std::string piece;
  for (size_t i = 0; i < length; ++i) {
    const bool is_letter = random.below(50, position++) != 0;
    piece += is_letter ? static_cast<char>('a' + random.below(4, position++))
                       : static_cast<char>(random.below(256, position++));
  }
  return piece;
}

std::vector<int32_t> encode(const BpeModel& model, TokenModel::Scratch& scratch, std::string_view piece) {
  std::vector<int32_t> ids;
  model.encode({&piece, 1}, piece.data() + piece.size(), scratch, ids);
  return ids;
}

TEST(BpeModel, EqualsTheDefinitionOnRandomPieces) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const base::Random random(seed, 3);
    const Definition definition = random_definition(random, 60);
    const BpeModel model(definition.tokens, definition.merges, false);
    const auto scratch = model.new_scratch();
    uint64_t position = uint64_t{1} << 32;
    for (int round = 0; round < 400; ++round) {
      // Lengths on both sides of the change from a scan to a heap, of inline keys and of cached pieces.
      const size_t length = 1 + random.below(round % 20 == 0 ? 400 : 60, position++);
      const std::string piece = random_piece(random, position, length);
      const auto expected = brute_force(definition, piece);
      ASSERT_EQ(encode(model, *scratch, piece), expected);
      ASSERT_EQ(encode(model, *scratch, piece), expected) << "the second time, out of the cache";
    }
  }
}

TEST(BpeModel, ManyDistinctPiecesOverflowTheCacheWithoutHarm) {
  const base::Random random(5, 3);
  const Definition definition = random_definition(random, 40);
  const BpeModel model(definition.tokens, definition.merges, false);
  const auto scratch = model.new_scratch();
  uint64_t position = 0;
  std::vector<int32_t> ids;
  for (int round = 0; round < 350000; ++round) {
    const std::string piece = random_piece(random, position, 8 + random.below(30, position));
    const std::string_view view = piece;
    ids.clear();
    model.encode({&view, 1}, view.data() + view.size(), *scratch, ids);
    std::string back;
    for (const int32_t id : ids) back += model.token_bytes(id);
    ASSERT_EQ(back, piece);
    if (round % 20000 == 0) {
      ASSERT_EQ(ids, brute_force(definition, piece));
    }
  }
}

TEST(BpeModel, AMegabyteOfOneLetterTakesWellUnderASecond) {
  Definition definition;
  for (int byte = 0; byte < 256; ++byte) definition.tokens.emplace_back(1, static_cast<char>(byte));
  for (uint32_t rank = 0; rank < 6; ++rank) {  // a a -> aa, aa aa -> aaaa, ...
    const int32_t half = rank == 0 ? 'a' : static_cast<int32_t>(definition.tokens.size()) - 1;
    definition.tokens.push_back(std::string(size_t{2} << rank, 'a'));
    definition.merges.push_back({half, half, static_cast<int32_t>(definition.tokens.size()) - 1, rank});
  }
  const BpeModel model(definition.tokens, definition.merges, false);
  const auto scratch = model.new_scratch();
  const std::string text(1 << 20, 'a');
  const auto start = std::chrono::steady_clock::now();
  const auto ids = encode(model, *scratch, text);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(ids, std::vector<int32_t>((1 << 20) / 64, 261));
  // A quadratic method needs minutes. The bound is loose for sanitizers and busy machines.
  EXPECT_LT(seconds, 5.0);
}

TEST(BpeModel, WholePieceFirstLeavesATokenWhole) {
  Definition definition;
  for (int byte = 0; byte < 256; ++byte) definition.tokens.emplace_back(1, static_cast<char>(byte));
  definition.tokens.emplace_back("abc");  // no merge makes it
  const BpeModel split(definition.tokens, {}, false), whole(definition.tokens, {}, true);
  EXPECT_EQ(encode(split, *split.new_scratch(), "abc"), (std::vector<int32_t>{'a', 'b', 'c'}));
  EXPECT_EQ(encode(whole, *whole.new_scratch(), "abc"), (std::vector<int32_t>{256}));
}

TEST(BpeModel, LeavesOutBytesWithoutATokenAndJoinsTheirNeighbours) {
  const std::vector<std::string> tokens = {"a", "b", "ab"};
  const BpeModel model(tokens, {{0, 1, 2, 0}}, false);
  const auto scratch = model.new_scratch();
  for (int round = 0; round < 2; ++round) {  // the second time out of the cache, where there is something to keep
    EXPECT_EQ(encode(model, *scratch, "ab\xFF"), (std::vector<int32_t>{2}));
    EXPECT_EQ(encode(model, *scratch,
                     "a\xFF"
                     "b"),
              (std::vector<int32_t>{2}));
    EXPECT_EQ(encode(model, *scratch, "\xFF\x1D"), std::vector<int32_t>{});
    EXPECT_EQ(encode(model, *scratch, ""), std::vector<int32_t>{});
  }
  // Long enough for the heap, before and after bytes are left out.
  std::string piece, kept;
  for (int i = 0; i < 200; ++i) {
    piece += i % 3 == 0 ? "\x1D" : "ab";
    if (i % 3 != 0) kept += "ab";
  }
  EXPECT_EQ(encode(model, *scratch, piece), std::vector<int32_t>(kept.size() / 2, 2));
  EXPECT_EQ(encode(model, *scratch, std::string(100, '\x1D')), std::vector<int32_t>{});
}

TEST(MergesFromRanks, JoinsTheTwoNeighboursWhoseBytesAreTheLowestToken) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* token : {"bc", "ab", "abc", "abcd"}) tokens.emplace_back(token);
  const BpeModel model(tokens, merges_from_ranks(tokens), true);
  const auto scratch = model.new_scratch();
  // "bc" comes before "ab", then a + bc is "abc".
  EXPECT_EQ(encode(model, *scratch, "xabcab"), (std::vector<int32_t>{'x', 258, 257}));
  EXPECT_EQ(encode(model, *scratch, "abcd"), (std::vector<int32_t>{259}));
}

}  // namespace
}  // namespace fledge::nn
