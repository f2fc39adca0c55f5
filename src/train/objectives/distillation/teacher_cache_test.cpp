#include "train/objectives/distillation/teacher_cache.h"

#include <cmath>

#include "train/objectives/distillation/test_setting.h"

namespace fledge::train {
namespace {

using namespace distillation_testing;
using testing::HasSubstr;

/// Five steps of four rows, in the run's folder.
void use_cache(Setting& setting, int64_t top_k) {
  setting.recipe.steps = 5;
  setting.recipe.batch.sequences = 4;
  setting.recipe.batch.sequence_length = kTokens;
  setting.recipe.precision = "f32";
  setting.recipe.run.out = (setting.folder / "run").string();
  setting.recipe.distillation.top_k = top_k;
  setting.recipe.distillation.alpha = 0.6;
}

TEST(TeacherCache, OfAllTokensGivesTheLossOfALiveTeacher) {
  for (const char* divergence : {"forward", "reverse"}) {
    Setting setting;
    setting.recipe.distillation.alpha = 0.6;
    setting.recipe.distillation.divergence = divergence;
    setting.prepare(2, 8, 2);
    const std::vector<Batch> batches{setting.batch(8, 4)};
    const Setting::Outcome live = setting.run(batches, *setting.objective);
    const std::vector<double> gradients = setting.gradients();
    use_cache(setting, setting.source.tokenizer().vocabulary_size());
    setting.prepare(2, 8, 2);
    const Setting::Outcome stored = setting.run(batches, *setting.objective);
    const Metrics a = setting.objective->report(live.sums), b = setting.objective->report(stored.sums);
    // f16 keeps 11 bits of a log-probability of up to about 10.
    EXPECT_NEAR(b.at("kl") / a.at("kl"), 1.0, 1e-3);
    EXPECT_EQ(b.at("ce"), a.at("ce"));
    EXPECT_EQ(b.at("agreement"), a.at("agreement"));
    EXPECT_LT(test::relative_error(setting.gradients(), gradients), 2e-3);
    EXPECT_THAT(setting.objective->notes().at(0), HasSubstr("likeliest tokens of 20 rows: "));
  }
}

TEST(TeacherCache, OfAFewTokensKeepsTheTail) {
  Setting setting;
  use_cache(setting, 3);
  setting.prepare(2, 8, 2);
  const std::filesystem::path file = setting.folder / "run" / "teacher.safetensors";
  const auto reader = models::SafetensorsReader::open(file);
  tensor::Arena arena("test");
  const std::vector<float> tails = reader.tensor("tails.0", arena).to_vector<float>();
  EXPECT_EQ(tails.size(), static_cast<size_t>(20 * kTokens));
  // What comes back sums to what was kept, to the rounding of f32.
  TeacherCache cache =
      TeacherCache::open(file, {reader.metadata().at("fledge.teacher"), reader.metadata().at("fledge.tokenizer"),
                                reader.metadata().at("fledge.data"), kTokens, 3, 2.0});
  const grad::TeacherTop top = cache.read(setting.batch(0, 4), arena);
  for (size_t place = 0; place < 4 * kTokens; ++place) {
    double sum = 0.0;
    for (size_t k = 0; k < 3; ++k) sum += std::exp(top.log_probabilities.data<float>()[place * 3 + k]);
    EXPECT_NEAR(sum, 1.0 - tails[place], 1e-6);
  }
  // The divergence of a coarser view is no greater.
  const std::vector<Batch> batches{setting.batch(8, 4)};
  const Metrics few = setting.objective->report(setting.run(batches, *setting.objective).sums);
  setting.recipe.distillation.top_k = 0;
  setting.prepare(2, 8, 2);
  const Metrics all = setting.objective->report(setting.run(batches, *setting.objective).sums);
  EXPECT_LT(few.at("kl"), all.at("kl"));
  EXPECT_GT(few.at("kl"), 0.0);
  EXPECT_EQ(few.at("ce"), all.at("ce"));
}

TEST(TeacherCache, IsUsedAgainAndRefusedWhereItIsAnothers) {
  Setting setting;
  use_cache(setting, 4);
  setting.prepare(2, 8, 2);
  const std::filesystem::path file = setting.folder / "run" / "teacher.safetensors";
  const std::string bytes = base::read_file(file);
  const auto date = std::filesystem::last_write_time(file);
  setting.prepare(2, 8, 2);
  EXPECT_EQ(std::filesystem::last_write_time(file), date);
  // Made again, it is the same.
  std::filesystem::remove(file);
  setting.prepare(2, 8, 2);
  EXPECT_EQ(base::read_file(file), bytes);

  const auto error = [&](const auto& change) {
    const Recipe kept = setting.recipe;
    change(setting.recipe);
    const std::string text = error_of([&] { setting.prepare(2, 8, 2); });
    setting.recipe = kept;
    return text;
  };
  EXPECT_THAT(error([](Recipe& recipe) { recipe.distillation.temperature = 3.0; }),
              HasSubstr("made with another distillation.temperature: 2, expected 3; remove the file"));
  EXPECT_THAT(error([](Recipe& recipe) { recipe.distillation.top_k = 5; }),
              HasSubstr("made with another distillation.top_k: 4, expected 5"));
  // More rows than were stored.
  setting.prepare(2, 8, 2);
  EXPECT_THAT(error_of([&] { setting.run({setting.batch(18, 4)}, *setting.objective); }),
              HasSubstr("no row like one of this run"));
  // Another teacher of the same shape.
  const auto other = models::make_model(setting.config(4, 12, 2), "teacher");
  nn::Memory memory;
  other->parameters().allocate(memory, DType::f32, false);
  other->parameters().initialize(99);
  models::save_model(*other, setting.folder / "teacher");
  EXPECT_THAT(error([](Recipe&) {}), HasSubstr("made with another teacher (hash of its weights)"));
}

TEST(TeacherCache, MeetsHostileFiles) {
  Setting setting;
  use_cache(setting, 4);
  setting.prepare(2, 8, 2);
  const std::filesystem::path file = setting.folder / "run" / "teacher.safetensors";
  const std::string bytes = base::read_file(file);
  base::write_file(file, bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(error_of([&] { setting.prepare(2, 8, 2); }), HasSubstr("teacher.safetensors"));
  // Ids beyond the vocabulary are found before they are used.
  std::string wild = bytes;
  const size_t place = wild.size() - 20 * kTokens * 4 * 2 - 2 * kTokens;
  wild[place] = wild[place + 1] = '\xff';
  base::write_file(file, wild);
  setting.prepare(2, 8, 2);
  EXPECT_THAT(error_of([&] { setting.run({setting.batch(0, 20)}, *setting.objective); }),
              HasSubstr("an id: got 65535"));
  models::write_safetensors(file, {});
  EXPECT_THAT(error_of([&] { setting.prepare(2, 8, 2); }), HasSubstr("made with another"));
}

}  // namespace
}  // namespace fledge::train
