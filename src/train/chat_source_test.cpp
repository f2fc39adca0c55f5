// Packed conversations: what stands in a row, and that packing changes nothing.
#include "train/chat_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grad/linear_cross_entropy.h"
#include "models/model_io.h"
#include "support/operation_check.h"
#include "tensor/sum.h"
#include "train/data/chat_test_support.h"
#include "train/data/test_support.h"
#include "train/data/tokenizer_adapter.h"
#include "train/objectives/chat.h"

namespace fledge::train {
namespace {

using tensor::DType;
using test::as_doubles;
using testing::Contains;
using testing::HasSubstr;

constexpr int32_t kVocabulary = 43;  // of the reference model

/// A sequence of `length` tokens whose tokens from `begin` on are trained.
ChatTokens sequence(int32_t length, int32_t begin, int32_t seed) {
  ChatTokens tokens;
  for (int32_t token = 0; token < length; ++token) tokens.ids.push_back((token * 17 + seed * 29 + 5) % kVocabulary);
  tokens.trained = {{begin, length}};
  return tokens;
}

/// Writes prepared conversations with these lengths, the first half of each a question.
void write_chats(const std::filesystem::path& folder, const std::vector<int32_t>& lengths) {
  base::create_folder(folder);
  chat_tokenizer()->save(folder);
  ChatIndex index;
  index.tokenizer_hash = tokenizer_hash(nn::Tokenizer::load(folder));
  index.vocabulary_size = kVocabulary;
  ChatDataWriter writer(folder, index, 300);
  for (const int32_t length : lengths) {
    const std::vector<ChatTokens> one{sequence(length, length / 2, length)};
    writer.append(kTrainSplit, one, -1);
  }
  writer.finish({"a note"}, {1});
}

Recipe recipe_of(int64_t sequence_length) {
  Recipe recipe;
  recipe.objective.kind = "chat";
  recipe.batch.sequence_length = sequence_length;
  return recipe;
}

TEST(ChatSource, FillsRowsWithWholeConversations) {
  const TemporaryFolder folder;
  const std::vector<int32_t> lengths{30, 9, 21, 12, 5, 17, 33, 8};
  write_chats(folder.path(), lengths);
  const ChatSource source(recipe_of(40), folder.path(), 40);
  // 135 tokens, of which the last of each takes no place.
  EXPECT_EQ(source.samples_per_epoch(), 4);
  EXPECT_THAT(source.notes(), Contains("8 conversations in 4 rows of 40 tokens, 79.4 % full"));
  EXPECT_THAT(source.notes(), Contains("a note"));
  EXPECT_EQ(source.evaluation_batches(2), 0);
  tensor::Arena arena("test");
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> found;
    int64_t targets = 0;
    for (int64_t row = 0; row < 4; ++row) {
      Batch batch;
      source.load(4 * epoch + row, 1, arena, batch);
      const auto ids = batch.at("ids").to_vector<int32_t>(), next = batch.at("targets").to_vector<int32_t>(),
                 positions = batch.at("positions").to_vector<int32_t>(),
                 starts = batch.at("document_starts").to_vector<int32_t>();
      targets += batch.target_tokens;
      for (size_t place = 0; place < ids.size();) {
        const auto start = static_cast<size_t>(starts[place]);
        ASSERT_EQ(start, place);
        size_t end = place;
        while (end < ids.size() && starts[end] == starts[place]) ++end;
        const auto length = static_cast<int32_t>(end - start) + 1;
        if (next[end - 1] == kIgnoredTarget) {  // padding: each place alone
          EXPECT_EQ(length, 2);
          EXPECT_EQ(positions[place], 0);
          place = end;
          continue;
        }
        found.push_back(length);
        const ChatTokens expected = sequence(length, length / 2, length);
        for (; place < end; ++place) {
          const size_t token = place - start;
          EXPECT_EQ(ids[place], expected.ids[token]);
          EXPECT_EQ(positions[place], static_cast<int32_t>(token));
          const bool trained = static_cast<int32_t>(token) + 1 >= length / 2;
          EXPECT_EQ(next[place], trained ? expected.ids[token + 1] : kIgnoredTarget);
        }
      }
    }
    std::ranges::sort(found);
    std::vector<int64_t> all(lengths.begin(), lengths.end());
    std::ranges::sort(all);
    EXPECT_EQ(found, all);
    int64_t trained = 0;
    for (const int32_t length : lengths) trained += length - length / 2;
    EXPECT_EQ(targets, trained);
  }
}

TEST(ChatSource, CountsWhatItCutsAndLeavesOut) {
  const TemporaryFolder folder;
  write_chats(folder.path(), {30, 9, 60});
  const ChatSource source(recipe_of(20), folder.path(), 40);
  EXPECT_THAT(source.notes(), Contains(HasSubstr("1 of 3 conversations were cut to fit into 20 tokens")));
  EXPECT_THAT(source.notes(), Contains("1 conversations were left out: no answer begins within 20 tokens"));
  EXPECT_THAT(error_of([&] { ChatSource(recipe_of(3), folder.path(), 40); }), HasSubstr("no answer fits"));
  Recipe other = recipe_of(20);
  other.objective.kind = "dpo";
  EXPECT_THAT(error_of([&] { ChatSource(other, folder.path(), 40); }), HasSubstr("not prepared for"));
}

/// Sum of the token losses and all gradients of one or several batches.
struct Pass {
  double loss = 0.0;
  std::vector<double> gradients;
};

Pass run(models::LoadedModel& loaded, DType type, const std::vector<Batch>& batches, const Objective& objective) {
  Pass pass;
  loaded.model->parameters().forget_gradients();
  for (const Batch& batch : batches) {
    grad::Graph graph(loaded.memory->activations, loaded.memory->encodings, type, true);
    const ObjectiveResult result = objective.evaluate(graph, *loaded.model, batch, 0.01);
    pass.loss += tensor::sum(result.token_losses);
    graph.backward(result.loss);
  }
  for (const auto& entry : loaded.model->parameters().entries()) {
    const std::vector<double> values = as_doubles(entry.parameter->gradient());
    pass.gradients.insert(pass.gradients.end(), values.begin(), values.end());
  }
  return pass;
}

TEST(ChatSource, PackedLossEqualsTheUnpackedLoss) {
  const TemporaryFolder folder;
  const std::vector<int32_t> lengths{30, 9, 21, 12, 5, 17, 33, 8};
  write_chats(folder.path(), lengths);
  const ChatSource source(recipe_of(80), folder.path(), 40);
  ASSERT_EQ(source.samples_per_epoch(), 2);
  const Chat objective(source);
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-12}, std::pair{DType::f32, 2e-6}}) {
    const auto name = std::filesystem::path(FLEDGE_REFERENCE_DIR) / "llama";
    models::LoadedModel loaded = models::load_model(name, type == DType::f64 ? DType::f64 : DType::f32, true);
    std::vector<Batch> packed(1), alone;
    source.load(0, 2, loaded.memory->activations, packed[0]);
    for (const int32_t length : lengths) {
      const ChatTokens tokens = sequence(length, length / 2, length);
      std::vector<int32_t> targets;
      for (int32_t token = 1; token < length; ++token)
        targets.push_back(token >= length / 2 ? tokens.ids[static_cast<size_t>(token)] : kIgnoredTarget);
      Batch batch;
      const std::vector<int32_t> ids(tokens.ids.begin(), tokens.ids.end() - 1);
      batch.tensors["ids"] = tensor::Tensor::from(ids, {1, length - 1}, loaded.memory->activations);
      batch.tensors["targets"] = tensor::Tensor::from(targets, {1, length - 1}, loaded.memory->activations);
      alone.push_back(batch);
    }
    const Pass together = run(loaded, type, packed, objective), apart = run(loaded, type, alone, objective);
    EXPECT_NEAR(together.loss / apart.loss, 1.0, tolerance);
    EXPECT_LT(test::relative_error(together.gradients, apart.gradients), 10 * tolerance);
    EXPECT_GT(apart.loss, 100.0);
  }
}

}  // namespace
}  // namespace fledge::train
