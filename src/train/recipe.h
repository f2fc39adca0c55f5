#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fledge::train {

/// Everything that decides what a training run does: the content of a recipe file. What each key means, its range and
/// its default stand in the table of recipe_keys(), from which the help, docs/recipes.md and the checks are made.
struct Recipe {
  struct Model {
    std::string family = "gpt2";
    std::string path;
    std::string layers_from;
    std::vector<std::string> layers;
    std::vector<std::string> train_only;
    std::string preset;
    int64_t n_layer = 12, n_head = 12, n_embd = 768, n_positions = 1024;
    int64_t n_kv_head = 0, head_size = 0, n_inner = 0;
    int64_t vocab_size = 0;
    double embd_pdrop = 0.0, attn_pdrop = 0.0, resid_pdrop = 0.0;
    double layer_norm_epsilon = 1e-5;
    std::string activation = "gelu_new";
    double initializer_range = 0.02;
    double rope_theta = 10000.0;
    bool tie_embeddings = true;

    /// Whether there is a model to start from, whose shape it then has.
    bool is_given() const { return !path.empty() || !layers_from.empty(); }
  } model;
  struct Data {
    std::string path;
    std::vector<std::string> text;
    std::string tokenizer;
    bool separate_documents = true;
    bool strict = false;
    std::vector<std::string> add_tokens;
    double val_fraction = 0.05;
    std::string val_path;
    std::string text_column = "text", text_pair_column, label_column = "label";
    std::vector<std::string> labels;
  } data;
  struct Chat {
    std::string template_name;
    std::string train_on = "all";
  } chat;
  struct Objective {
    std::string kind = "next_token";
    double beta = 0.1, label_smoothing = 0.0;
    double desirable_weight = 1.0, undesirable_weight = 1.0;
    double mask_probability = 0.15;
    bool whole_words = false;
    bool next_sentence = false;
    std::string task = "classification";
  } objective;
  struct Distillation {
    std::string teacher;
    double alpha = 0.5, temperature = 2.0;
    std::string divergence = "forward";
    double prediction_weight = 1.0;
    double hidden_weight = 0.0;
    std::string hidden_distance = "mse";
    double attention_weight = 0.0, embedding_weight = 0.0;
    std::vector<std::string> layers = {"uniform"};
    std::string cache;
    int64_t top_k = 0;
    double on_policy = 0.0;
  } distillation;
  struct Adapter {
    std::string kind = "none";
    std::string from;
    int64_t rank = 16;
    double alpha = 32.0;
    double dropout = 0.0;
    std::vector<std::string> targets;
    std::string base = "as stored";
  } adapter;
  struct Optimizer {
    std::string kind = "adamw";
    double learning_rate = 6e-4;
    double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
    double weight_decay = 0.1;
    double clip_norm = 1.0;
    bool bias_correction = true;
  } optimizer;
  struct Schedule {
    std::string kind = "cosine";
    int64_t warmup_steps = 0;
    double warmup_ratio = 0.0;
    int64_t decay_steps = 0;
    double min_ratio = 0.1;
  } schedule;
  std::string precision = "auto";
  std::string recompute = "none";
  struct Batch {
    int64_t sequences = 8;
    int64_t sequence_length = 512;
    int64_t micro_sequences = 0;
  } batch;
  int64_t steps = 0;
  double epochs = 0.0;
  double minutes = 0.0;
  double max_minutes = 0.0;
  struct Evaluation {
    int64_t every = 0;
    int64_t batches = 0;
  } evaluation;
  struct Samples {
    int64_t every = 0;
    std::vector<std::string> prompts;
    int64_t max_tokens = 64;
    double temperature = 0.8;
  } samples;
  struct Checkpoints {
    int64_t every = 0;
    int64_t keep_last = 2;
    bool keep_best = true;
  } checkpoints;
  struct Run {
    std::string name;
    std::string out;
    int64_t seed = 1;
    int64_t threads = 0;
  } run;

  /// Sequences that go through the model at once.
  int64_t micro_sequences() const { return batch.micro_sequences > 0 ? batch.micro_sequences : batch.sequences; }
  int64_t tokens_per_step() const { return batch.sequences * batch.sequence_length; }
  /// Warm-up steps of a run of `total_steps`, from warmup_steps or warmup_ratio.
  int64_t warmup_steps(int64_t total_steps) const;
};

/// One key of a recipe.
struct RecipeKey {
  /// Where the value stands; its type is the key's type.
  using Access = std::variant<bool& (*)(Recipe&), int64_t& (*)(Recipe&), double& (*)(Recipe&),
                              std::string& (*)(Recipe&), std::vector<std::string>& (*)(Recipe&)>;
  std::string_view name;  ///< dotted: "optimizer.learning_rate"
  Access access;
  std::string_view help;                ///< one or two sentences
  double minimum = 0.0, maximum = 0.0;  ///< of a number; both ends are allowed unless minimum_excluded
  bool minimum_excluded = false;
  std::vector<std::string_view> choices;  ///< of a string; empty: any
  bool of_new_model = false;              ///< describes a model that is made; not allowed beside model.path

  std::string type_name() const;     ///< "integer", "list of strings", ...
  std::string default_text() const;  ///< as it would stand in a recipe
  std::string range_text() const;    ///< "1 .. 1024", "above 0, at most 1", "one of \"adamw\"", or empty
};

/// The table of all keys, in the order in which to_toml() writes them.
const std::vector<RecipeKey>& recipe_keys();

/// Reads a recipe. `origin` names it in errors; `overrides` are "KEY=VALUE" with dotted keys, applied after the file,
/// the last one wins (a string may stand without quotes, a list of one string without brackets). Throws UsageError in
/// one sentence for an unknown key (with the nearest right one), a wrong type, a value out of range and keys that
/// contradict each other.
Recipe parse_recipe(std::string_view text, std::string_view origin, const std::vector<std::string>& overrides = {});

/// The same from a file. Where the recipe gives no run.name, it is the file's name without ending.
Recipe read_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides = {});

/// Checks the keys against each other. parse_recipe() has done so; for a recipe that was changed since.
void check_recipe(const Recipe& recipe, std::string_view origin);

/// The recipe with its number of steps decided (from epochs or measured minutes), checked again.
Recipe with_steps(Recipe recipe, int64_t steps, std::string_view origin);

/// Every key with its value, as TOML that parse_recipe() reads back to the same recipe. With model.path, the keys that
/// describe a new model stand as comments.
std::string to_toml(const Recipe& recipe);

/// The reference of all keys as Markdown (docs/recipes.md holds it) and as plain text for a terminal.
std::string recipe_reference_markdown();
std::string recipe_reference_text(int width);

}  // namespace fledge::train
