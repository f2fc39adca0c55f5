#include "train/recipe.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "models/language_model.h"
#include "train/new_model.h"

namespace fledge::train {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const std::string kMinimal = "steps = 100\n[data]\npath = \"d\"\n";

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse_recipe(text, "r.toml", overrides);
  } catch (const base::UsageError& error) {
    EXPECT_EQ(error.exit_code(), 2);
    return error.what();
  }
  return "no error";
}

std::string set_error(const std::string& override) {
  return error_of(kMinimal, {override});
}

TEST(Recipe, SectionNamesStandForTheirPaths) {
  const Recipe recipe = parse_recipe("steps = 1\nmodel = \"smollm2\"\n", "r.toml", {"data=chats.jsonl"});
  EXPECT_EQ(recipe.model.path, "smollm2");
  EXPECT_EQ(recipe.data.path, "chats.jsonl");
  EXPECT_THROW(parse_recipe("steps = 1\nmodel = \"smollm2\"\ndata = \"d\"\n", "r.toml", {"model.n_layer=2"}),
               base::UsageError);
}

TEST(Recipe, ReadsEverySection) {
  const Recipe recipe = parse_recipe(R"(
precision = "f32"
steps = 1e3
[model]
n_layer = 2
n_head = 3
n_embd = 48
[data]
text = ["a.txt", "b.jsonl"]
tokenizer = "t"
separate_documents = false
[optimizer]
learning_rate = 1
[batch]
sequences = 12
micro_sequences = 4
sequence_length = 64
[run]
name = "x"
)",
                                     "r.toml");
  EXPECT_EQ(recipe.precision, "f32");
  EXPECT_EQ(recipe.steps, 1000);
  EXPECT_EQ(recipe.model.n_layer, 2);
  EXPECT_EQ(recipe.model.n_positions, 1024);
  EXPECT_THAT(recipe.data.text, testing::ElementsAre("a.txt", "b.jsonl"));
  EXPECT_FALSE(recipe.data.separate_documents);
  EXPECT_EQ(recipe.optimizer.learning_rate, 1.0);
  EXPECT_EQ(recipe.micro_sequences(), 4);
  EXPECT_EQ(recipe.tokens_per_step(), 768);
  EXPECT_EQ(recipe.run.out, "runs/x");
}

TEST(Recipe, OverridesComeAfterTheFileAndTheLastOneWins) {
  const Recipe recipe = parse_recipe(
      kMinimal, "r.toml",
      {"steps=5", "steps=7", "precision=bf16", "data.path=/a=b c", "optimizer.learning_rate=3e-4", "run.name=\"q\\\"\"",
       "samples.prompts=[\"one\", \"two\"]", "data.separate_documents=false", "model.n_embd=384"});
  EXPECT_EQ(recipe.steps, 7);
  EXPECT_EQ(recipe.precision, "bf16");
  EXPECT_EQ(recipe.data.path, "/a=b c");
  EXPECT_EQ(recipe.optimizer.learning_rate, 3e-4);
  EXPECT_EQ(recipe.run.name, "q\"");
  EXPECT_THAT(recipe.samples.prompts, testing::ElementsAre("one", "two"));
  EXPECT_FALSE(recipe.data.separate_documents);
  EXPECT_THAT(parse_recipe(kMinimal, "r", {"samples.prompts=It is a truth"}).samples.prompts,
              testing::ElementsAre("It is a truth"));
}

TEST(Recipe, AnUnknownKeyIsNamedWithTheNearestRightOne) {
  EXPECT_EQ(error_of("steps = 1\n[optimizer]\nlearning_rat = 1\n[data]\npath = 'd'"),
            "r.toml:3: unknown key optimizer.learning_rat; did you mean optimizer.learning_rate?");
  EXPECT_EQ(set_error("optimiser.beta1=0.9"),
            "--set optimiser.beta1: unknown key optimiser.beta1; did you mean optimizer.beta1?");
  EXPECT_THAT(set_error("learning_rate=1"), HasSubstr("did you mean optimizer.learning_rate?"));
  EXPECT_THAT(set_error("optimizer=1"), HasSubstr("optimizer is a section"));
  EXPECT_THAT(error_of("precision.kind = 1\n" + kMinimal), HasSubstr("unknown key precision.kind"));
  EXPECT_THAT(set_error("qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq.zz=1"), HasSubstr("lists all"));
  EXPECT_THAT(set_error("a\033[2J=1"), testing::Not(HasSubstr("\033")));
  EXPECT_THAT(set_error("steps"), HasSubstr("expected KEY=VALUE"));
}

TEST(Recipe, WrongTypesAreNamed) {
  EXPECT_EQ(error_of("steps = \"many\"\n[data]\npath = 'd'"), "r.toml:1: steps is \"many\", but must be an integer");
  EXPECT_EQ(set_error("steps=1.5"), "--set steps: steps is 1.5, but must be an integer");
  EXPECT_EQ(set_error("steps=many"), "--set steps: steps is \"many\", but must be an integer");
  EXPECT_EQ(set_error("optimizer.beta1=true"), "--set optimizer.beta1: optimizer.beta1 is true, but must be a number");
  EXPECT_THAT(set_error("checkpoints.keep_best=1"), HasSubstr("must be a boolean"));
  EXPECT_THAT(error_of("steps = 1\n[data]\npath = 3"), HasSubstr("data.path is 3, but must be a string"));
  EXPECT_THAT(error_of("steps = 1\n[data]\ntext = 'x'"), HasSubstr("must be a list of strings"));
  EXPECT_THAT(error_of("steps = 1\n[data]\ntext = ['x', 1]"), HasSubstr("must be a list of strings"));
  EXPECT_THAT(set_error("run.name=\xff"), HasSubstr("not valid UTF-8"));
}

TEST(Recipe, ValuesOutOfRangeAreNamedWithTheRange) {
  EXPECT_EQ(set_error("optimizer.learning_rate=0"),
            "--set optimizer.learning_rate: optimizer.learning_rate is 0, but must be above 0, at most 10");
  EXPECT_THAT(set_error("optimizer.learning_rate=nan"), HasSubstr("but must be above 0"));
  EXPECT_THAT(set_error("optimizer.beta1=inf"), HasSubstr("but must be 0 to 0.999999"));
  EXPECT_THAT(set_error("steps=-1"), HasSubstr("steps is -1, but must be 0 or more"));
  EXPECT_THAT(set_error("steps=1e300"), HasSubstr("but must be"));
  EXPECT_EQ(set_error("precision=fp16"),
            "--set precision: precision is \"fp16\", but must be one of \"auto\", \"bf16\", \"f32\"");
  EXPECT_THAT(set_error("schedule.kind=cosin"), HasSubstr("one of \"cosine\", \"linear\", \"constant\", \"wsd\""));
}

TEST(Recipe, ContradictionsAreNamed) {
  EXPECT_EQ(set_error("schedule.warmup_steps=101"),
            "r.toml: schedule.warmup_steps = 101 is longer than the run of 100 steps");
  EXPECT_EQ(error_of(kMinimal, {"batch.sequences=10", "batch.micro_sequences=4"}),
            "r.toml: batch.sequences = 10 cannot be divided into micro-batches of batch.micro_sequences = 4");
  EXPECT_EQ(
      error_of(kMinimal + "[model]\npath = 'm'\nn_layer = 2\n"),
      "r.toml:6: model.n_layer describes a new model, but model.path = \"m\" gives the shape of an old one; remove "
      "one of the two");
  EXPECT_EQ(set_error("batch.sequence_length=1025"),
            "r.toml: batch.sequence_length = 1025 is longer than the context, model.n_positions = 1024");
  EXPECT_THAT(set_error("model.n_head=7"), HasSubstr("cannot be divided among model.n_head = 7 heads"));
  EXPECT_THAT(set_error("model.n_kv_head=4"), HasSubstr("GPT-2 has as many heads of keys as of queries, 12"));
  EXPECT_THAT(set_error("model.head_size=60"), HasSubstr("GPT-2's 12 heads share model.n_embd = 768"));
  EXPECT_THAT(set_error("model.tie_embeddings=false"), HasSubstr("tied"));
  const std::string llama = kMinimal + "[model]\nfamily = 'llama'\n";
  EXPECT_THAT(error_of(llama, {"model.n_kv_head=5"}), HasSubstr("cannot share model.n_kv_head = 5"));
  EXPECT_THAT(error_of(llama, {"model.resid_pdrop=0.1"}), HasSubstr("llama has model.attn_pdrop alone"));
  EXPECT_THAT(error_of(llama, {"model.head_size=5"}), HasSubstr("heads of 5 elements"));
  EXPECT_THAT(error_of(llama, {"model.n_head=7"}), HasSubstr("cannot be divided"));
  EXPECT_THAT(set_error("epochs=2"), HasSubstr("contradict each other"));
  EXPECT_THAT(error_of("[data]\npath = 'd'"), HasSubstr("give one of steps, epochs or minutes"));
  EXPECT_THAT(error_of("steps = 1"), HasSubstr("the data is missing"));
  EXPECT_THAT(set_error("data.text=a.txt"), HasSubstr("data.path = \"d\" and data.text contradict"));
  EXPECT_THAT(error_of("steps = 1\n[data]\ntext = ['a']"), HasSubstr("needs data.tokenizer"));
  EXPECT_THAT(error_of(kMinimal, {"schedule.warmup_steps=1", "schedule.warmup_ratio=0.1"}), HasSubstr("twice"));
  EXPECT_THAT(error_of(kMinimal, {"schedule.warmup_steps=50", "schedule.decay_steps=51"}),
              HasSubstr("longer than the 50"));
  EXPECT_THAT(error_of(kMinimal, {"schedule.kind=constant", "schedule.decay_steps=5"}), HasSubstr("no meaning"));
  EXPECT_THAT(set_error("samples.every=5"), HasSubstr("needs samples.prompts"));
}

TEST(Recipe, FaultsOfTheFileAreUsageErrorsWithAPosition) {
  EXPECT_THAT(error_of("steps = \n"), StartsWith("r.toml:1:"));
  EXPECT_THAT(error_of("steps = 1\nsteps = 2\n"), StartsWith("r.toml:2:"));
  EXPECT_THROW(read_recipe("/nonexistent/recipe.toml"), base::Error);
}

TEST(Recipe, TheResolvedRecipeReadsBackToTheSame) {
  const Recipe recipe = parse_recipe(kMinimal, "r",
                                     {"run.name=tab\t\"quote\" \xC3\xA9", "samples.prompts=[\"a\\nb\", \"\"]",
                                      "optimizer.learning_rate=0.1", "optimizer.epsilon=1e-10", "optimizer.beta2=0.95",
                                      "run.seed=9007199254740991", "data.separate_documents=false"});
  const std::string text = to_toml(recipe);
  const Recipe again = parse_recipe(text, "resolved.toml");
  EXPECT_EQ(to_toml(again), text);
  EXPECT_EQ(again.run.name, recipe.run.name);
  EXPECT_EQ(again.samples.prompts, recipe.samples.prompts);
  EXPECT_EQ(again.optimizer.learning_rate, recipe.optimizer.learning_rate);
  EXPECT_EQ(again.run.seed, recipe.run.seed);
  EXPECT_EQ(again.data.separate_documents, false);
}

TEST(Recipe, EveryKeyIsWrittenAndItsDefaultIsAllowed) {
  const std::string text = "\n" + to_toml(parse_recipe(kMinimal, "r"));
  for (const RecipeKey& key : recipe_keys()) {
    const std::string name(key.name.substr(key.name.find('.') + 1));
    EXPECT_THAT(text, HasSubstr("\n" + name + " = ")) << key.name;
    EXPECT_GT(key.help.size(), 10u) << key.name;
    // The default alone, beside what a recipe must have, is not out of its own range.
    const std::string override = std::string(key.name) + "=" + key.default_text();
    EXPECT_THAT(set_error(override), testing::Not(HasSubstr("but must be"))) << override;
  }
}

TEST(Recipe, AModelFromAFolderKeepsItsShapeKeysAsComments) {
  const Recipe recipe = parse_recipe(kMinimal, "r", {"model.path=m"});
  const std::string text = to_toml(recipe);
  EXPECT_THAT(text, HasSubstr("# from model.path: n_layer = "));
  EXPECT_EQ(parse_recipe(text, "again").model.path, "m");
}

TEST(Recipe, StepsDecidedLaterAreCheckedAgain) {
  const Recipe recipe = parse_recipe("minutes = 5.0\n[data]\npath = 'd'\n[schedule]\nwarmup_steps = 50\n", "r");
  EXPECT_EQ(with_steps(recipe, 200, "r").steps, 200);
  EXPECT_EQ(with_steps(recipe, 200, "r").minutes, 0.0);
  EXPECT_THROW(with_steps(recipe, 40, "r"), base::UsageError);
  Recipe ratio = recipe;
  ratio.schedule.warmup_steps = 0;
  ratio.schedule.warmup_ratio = 0.05;
  EXPECT_EQ(ratio.warmup_steps(210), 11);
}

TEST(Recipe, ShippedRecipesAreGood) {
  const std::filesystem::path folder = std::filesystem::path(FLEDGE_SOURCE_DIR) / "recipes";
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const Recipe recipe = read_recipe(entry.path());
    EXPECT_EQ(recipe.run.name, entry.path().stem().string());
    ++count;
  }
  EXPECT_GE(count, 2);
  EXPECT_EQ(read_recipe(folder / "gpt2-124m.toml").model.n_embd, 768);
}

TEST(Recipe, DescribesNewModelsOfEveryFamily) {
  Recipe recipe = read_recipe(std::filesystem::path(FLEDGE_SOURCE_DIR) / "recipes" / "llama-small.toml");
  EXPECT_EQ(recipe.model.family, "llama");
  base::Json config = new_model_config(recipe.model, 500, 3);
  EXPECT_EQ(config["num_key_value_heads"], 2);
  EXPECT_EQ(config["head_dim"], 64);
  EXPECT_EQ(config["intermediate_size"], 1024);  // 8/3 of 384
  EXPECT_EQ(config["vocab_size"], 500);
  EXPECT_EQ(config["eos_token_id"], 3);
  recipe.model.head_size = 32;
  recipe.model.n_inner = 100;
  recipe.model.vocab_size = 512;
  for (const char* family : {"gpt2", "llama", "mistral", "qwen2", "qwen3"}) {
    recipe.model.family = family;
    config = models::make_model(new_model_config(recipe.model, 500, 3), "the recipe")->config();
    EXPECT_EQ(config["model_type"], family);
    EXPECT_EQ(config["vocab_size"], 512);
    EXPECT_EQ(config[recipe.model.family == "gpt2" ? "n_inner" : "intermediate_size"], 100);
  }
  EXPECT_THROW(new_model_config(recipe.model, 513, 3), base::UsageError);
}

TEST(Recipe, TheDocumentationHoldsTheTableOfKeys) {
  const std::string text = base::read_file(std::filesystem::path(FLEDGE_SOURCE_DIR) / "docs" / "recipes.md");
  EXPECT_THAT(text, HasSubstr(recipe_reference_markdown()))
      << "docs/recipes.md is out of date: put the output of `fledge train --keys --markdown` there";
}

}  // namespace
}  // namespace fledge::train
