#include "train/data/loader.h"

#include <gmock/gmock.h>

#include <numeric>
#include <set>

#include "train/data/permutation.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A data set whose token at place p is p % vocabulary, with documents that begin at the given places.
std::shared_ptr<const TokenData> make_data(const std::filesystem::path& folder, int64_t tokens,
                                           const std::set<int64_t>& document_begins = {0}) {
  base::create_folder(folder);
  TokenDataWriter writer(folder, {"hash", 1 << 20, 0}, 4096);
  for (int32_t token = 0; token < tokens; ++token) {
    if (document_begins.contains(token)) writer.begin_document(kTrainSplit);
    writer.append(kTrainSplit, std::span<const int32_t>(&token, 1));
  }
  writer.finish();
  return std::make_shared<const TokenData>(TokenData::open(folder));
}

std::vector<int32_t> values(const Batch& batch, const char* name) {
  return batch.at(name).to_vector<int32_t>();
}

TEST(Permutation, VisitsEveryIndexOnce) {
  for (const uint64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 1000, 4097}) {
    std::set<uint64_t> seen;
    const Permutation order(size, 7, 1, 0);
    for (uint64_t index = 0; index < size; ++index) {
      ASSERT_LT(order(index), size);
      seen.insert(order(index));
    }
    EXPECT_EQ(seen.size(), size);
  }
}

TEST(Permutation, LooksRandomAndDependsOnEveryKey) {
  constexpr uint64_t kSize = 10000;
  const Permutation order(kSize, 7, 1, 0);
  const std::vector<Permutation> others{{kSize, 8, 1, 0}, {kSize, 7, 2, 0}, {kSize, 7, 1, 1}};
  std::vector<int> equal(others.size());
  int fixed = 0, ascents = 0;
  double distance = 0;
  for (uint64_t index = 0; index < kSize; ++index) {
    fixed += order(index) == index;
    if (index > 0) ascents += order(index) > order(index - 1);
    distance += std::abs(static_cast<double>(order(index)) - static_cast<double>(index));
    for (size_t other = 0; other < others.size(); ++other) equal[other] += order(index) == others[other](index);
  }
  // Of a random permutation: fixed points and agreements are Poisson with mean 1 (more than 12: 1e-10); ascents have
  // mean n/2 and deviation sqrt(n/12) = 29; the mean distance is n/3 with deviation about n / sqrt(12 n) = 29.
  EXPECT_LE(fixed, 12);
  for (const int count : equal) EXPECT_LE(count, 12);
  EXPECT_NEAR(ascents, kSize / 2, 6 * 29);
  EXPECT_NEAR(distance / kSize, kSize / 3.0, 6 * 29);
}

TEST(TrainingLoader, EveryWindowOncePerEpoch) {
  const TemporaryFolder folder;
  const TrainingLoader loader(make_data(folder / "data", 1000), kTrainSplit, {7, 3, false});
  ASSERT_EQ(loader.windows_per_epoch(), 142);  // 999 = 142 * 7 + 5
  std::set<int64_t> shifts;
  std::vector<int64_t> first_epoch;
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    std::set<int64_t> starts;
    std::vector<int64_t> order;
    for (int64_t index = 0; index < 142; ++index) {
      const int64_t start = loader.window_start(epoch * 142 + index);
      starts.insert(start);
      order.push_back(start);
      ASSERT_GE(start, 0);
      ASSERT_LE(start + 7 + 1, 1000);
    }
    ASSERT_EQ(starts.size(), 142u);
    ASSERT_EQ(*starts.rbegin() - *starts.begin(), 141 * 7);
    shifts.insert(*starts.begin());
    if (epoch == 0) first_epoch = order;
    EXPECT_EQ(order == first_epoch, epoch == 0);
  }
  // 20 draws of one of 6 places see fewer than 4 of them with probability 20 / 2^20.
  EXPECT_GE(shifts.size(), 4u);
  EXPECT_LE(*shifts.rbegin(), 5);
}

TEST(TrainingLoader, TargetsAreTheNextTokens) {
  const TemporaryFolder folder;
  const TrainingLoader loader(make_data(folder / "data", 1000, {0, 10, 11, 500}), kTrainSplit, {32, 3, false});
  tensor::Arena arena("batch");
  Batch batch;
  loader.load(5, 4, arena, batch);
  EXPECT_EQ(batch.target_tokens, 4 * 32);
  EXPECT_EQ(batch.at("ids").shape(), (tensor::Shape{4, 32}));
  const auto ids = values(batch, "ids"), targets = values(batch, "targets"), positions = values(batch, "positions");
  for (size_t place = 0; place < ids.size(); ++place) {
    EXPECT_EQ(ids[place], loader.window_start(5 + static_cast<int64_t>(place) / 32) + static_cast<int64_t>(place) % 32);
    EXPECT_EQ(targets[place], ids[place] + 1);
    EXPECT_EQ(positions[place], place % 32);
  }
  EXPECT_THAT(values(batch, "document_starts"), ::testing::Each(0));
  EXPECT_THAT(error_of([&] { batch.at("pixels"); }), HasSubstr("no tensor \"pixels\""));
}

TEST(TrainingLoader, SeparatesDocuments) {
  const TemporaryFolder folder;
  // One window: 8 tokens and the one behind them, which begins a document.
  const TrainingLoader loader(make_data(folder / "data", 9, {0, 3, 4, 8}), kTrainSplit, {8, 0, true});
  tensor::Arena arena("batch");
  Batch batch;
  loader.load(0, 1, arena, batch);
  const int32_t none = kIgnoredTarget;
  EXPECT_THAT(values(batch, "ids"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(values(batch, "targets"), ElementsAre(1, 2, none, none, 5, 6, 7, none));
  EXPECT_THAT(values(batch, "positions"), ElementsAre(0, 1, 2, 0, 0, 1, 2, 3));
  EXPECT_THAT(values(batch, "document_starts"), ElementsAre(0, 0, 0, 3, 4, 4, 4, 4));
  EXPECT_EQ(batch.target_tokens, 5);
}

TEST(TrainingLoader, AnyNumberOfProcessesDrawsTheSameGlobalBatch) {
  const TemporaryFolder folder;
  const auto data = make_data(folder / "data", 3000, {0, 100, 1500});
  const auto global_batch = [&](int64_t step, int64_t processes, int64_t rows) {
    std::map<int64_t, std::vector<int32_t>> rows_of_batch;
    for (int64_t rank = 0; rank < processes; ++rank) {
      const TrainingLoader loader(data, kTrainSplit, {16, 11, true});  // every process makes its own
      const BatchPlan plan{24, rows, processes, rank};
      plan.check();
      tensor::Arena arena("batch");
      Batch batch;
      for (int64_t micro = 0; micro < plan.micro_batches(); ++micro) {
        loader.load(plan.first_sample(step, micro), rows, arena, batch);
        for (int64_t row = 0; row < rows; ++row) {
          auto& line = rows_of_batch[plan.first_sample(step, micro) + row];
          EXPECT_TRUE(line.empty());
          for (const auto& [name, tensor] : batch.tensors)
            for (const int32_t value : tensor.slice(0, row, 1).to_vector<int32_t>()) line.push_back(value);
        }
      }
    }
    return rows_of_batch;
  };
  for (const int64_t step : {0, 1, 40}) {
    const auto expected = global_batch(step, 1, 24);
    ASSERT_EQ(expected.size(), 24u);
    EXPECT_EQ(expected.begin()->first, step * 24);
    EXPECT_EQ(global_batch(step, 1, 8), expected);
    EXPECT_EQ(global_batch(step, 2, 4), expected);
    EXPECT_EQ(global_batch(step, 3, 1), expected);
    EXPECT_EQ(global_batch(step, 4, 6), expected);
  }
  EXPECT_NE(global_batch(0, 1, 24), global_batch(1, 1, 24));
}

TEST(BatchPlan, RefusesRowsThatDoNotDivide) {
  EXPECT_THAT(error_of([] { BatchPlan{24, 5, 1, 0}.check(); }), HasSubstr("must be a multiple of 5"));
  EXPECT_THAT(error_of([] { BatchPlan{24, 8, 2, 0}.check(); }), HasSubstr("must be a multiple of 16"));
  EXPECT_THAT(error_of([] { BatchPlan{24, 8, 2, 2}.check(); }), HasSubstr("process 2 of 2"));
  EXPECT_THAT(error_of([] { BatchPlan{24, 0, 1, 0}.check(); }), HasSubstr("at least one row"));
}

TEST(TrainingLoader, SaysWhenThereIsTooLittleText) {
  const TemporaryFolder folder;
  const auto data = make_data(folder / "data", 32);
  const auto make = [&](int64_t length) {
    return error_of([&] { TrainingLoader loader(data, kTrainSplit, {length, 0, false}); });
  };
  EXPECT_EQ(make(31), "");
  EXPECT_THAT(make(32), HasSubstr("split train: it has 32 tokens and one sample needs 33"));
  EXPECT_THAT(make(0), HasSubstr("a sequence length of 1 or more"));
  EXPECT_THAT(error_of([&] {
                EvaluationLoader loader(data, kValidationSplit, {8, 0, false}, 1);
              }),
              HasSubstr("no split \"validation\""));
}

TEST(TrainingLoader, KeepsItsMemory) {
  const TemporaryFolder folder;
  const TrainingLoader loader(make_data(folder / "data", 1000), kTrainSplit, {32, 3, false});
  tensor::Arena arena("batch");
  Batch batch;
  loader.load(0, 4, arena, batch);
  const void* ids = batch.at("ids").raw();
  const size_t peak = arena.peak_bytes();
  loader.load(4, 4, arena, batch);
  EXPECT_EQ(batch.at("ids").raw(), ids);
  EXPECT_EQ(arena.peak_bytes(), peak);
}

TEST(EvaluationLoader, EveryTokenIsATargetOnce) {
  const TemporaryFolder folder;
  for (const int64_t tokens : {2, 9, 64, 65, 66, 100, 129}) {
    for (const bool separate : {false, true}) {
      const std::set<int64_t> begins{0, 1, 5, 64};
      const auto data = make_data(folder / fmt::format("{}{}", tokens, separate), tokens, begins);
      const EvaluationLoader loader(data, kTrainSplit, {8, 0, separate}, 4);
      EXPECT_EQ(loader.batches(), (tokens - 1 + 31) / 32);
      tensor::Arena arena("batch");
      Batch batch;
      std::vector<int> seen(static_cast<size_t>(tokens));
      for (int64_t index = 0; index < loader.batches(); ++index) {
        loader.load(index, arena, batch);
        int64_t counted = 0;
        const auto ids = values(batch, "ids"), targets = values(batch, "targets");
        const auto starts = values(batch, "document_starts"), positions = values(batch, "positions");
        for (size_t place = 0; place < ids.size(); ++place) {
          const auto column = static_cast<int32_t>(place % 8);
          ASSERT_LE(starts[place], column);
          ASSERT_GE(starts[place], 0);
          ASSERT_EQ(positions[place], column - starts[place]);
          if (targets[place] == kIgnoredTarget) continue;
          ASSERT_EQ(targets[place], ids[place] + 1);
          ++seen[static_cast<size_t>(targets[place])];
          ++counted;
        }
        EXPECT_EQ(batch.target_tokens, counted);
      }
      for (int64_t token = 0; token < tokens; ++token)
        EXPECT_EQ(seen[static_cast<size_t>(token)], token > 0 && !(separate && begins.contains(token))) << token;
      EXPECT_THAT(error_of([&] { loader.load(loader.batches(), arena, batch); }), HasSubstr("no evaluation batch"));
    }
  }
}

}  // namespace
}  // namespace fledge::train
