// The table of recipe keys, and what is made from it alone.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/terminal.h"
#include "base/toml.h"
#include "train/recipe.h"

namespace fledge::train {
namespace {

constexpr double kMany = 1e15;  // Beyond any count; exact in a double.

// A lambda that returns the member, so that the table holds plain function pointers.
#define FLEDGE_MEMBER(path) (+[](Recipe & recipe) -> auto& { return recipe.path; })

std::vector<RecipeKey> make_keys() {
  std::vector<RecipeKey> keys;
  const auto number = [&](std::string_view name, RecipeKey::Access access, double minimum, double maximum,
                          std::string_view help) -> RecipeKey& {
    return keys.emplace_back(RecipeKey{name, access, help, minimum, maximum, false, {}, false});
  };
  const auto text = [&](std::string_view name, RecipeKey::Access access, std::vector<std::string_view> choices,
                        std::string_view help) -> RecipeKey& {
    return keys.emplace_back(RecipeKey{name, access, help, 0, 0, false, std::move(choices), false});
  };
  const auto above = [](RecipeKey& key) { key.minimum_excluded = true; };
  const auto of_new_model = [](RecipeKey& key) -> RecipeKey& {
    key.of_new_model = true;
    return key;
  };

  text("precision", FLEDGE_MEMBER(precision), {"auto", "bf16", "f32"},
       "Arithmetic of the matrix products. bf16 keeps f32 masters of the weights; auto is bf16 where the machine "
       "multiplies it faster than f32.");
  text("recompute", FLEDGE_MEMBER(recompute), {"none", "blocks"},
       "What the backward pass computes again instead of keeping it. blocks: all but the input of every block, for a "
       "third more arithmetic and much less memory; the result is the same, bit for bit.");
  number("steps", FLEDGE_MEMBER(steps), 0, kMany,
         "Optimizer steps of the whole run. 0: from epochs or minutes; exactly one of the three is given.");
  number("epochs", FLEDGE_MEMBER(epochs), 0, 1e6, "Length of the run as passes over the training data.");
  number("minutes", FLEDGE_MEMBER(minutes), 0, 1e6,
         "Length of the run as time: the speed is measured over the first steps, then the number of steps is fixed and "
         "saved with the run, so that a resumed run follows the same schedule.");
  number("max_minutes", FLEDGE_MEMBER(max_minutes), 0, 1e6,
         "Save and stop after this time, wherever the schedule stands. 0: no limit.");

  text("model.family", FLEDGE_MEMBER(model.family), {"gpt2", "bert", "llama", "mistral", "qwen2", "qwen3"},
       "The architecture. bert is an encoder; mistral is built like llama; qwen2 has biases in attention's "
       "projections, qwen3 a norm of "
       "queries and keys.");
  text(
      "model.path", FLEDGE_MEMBER(model.path), {},
      "A model to start from: a folder, a name in the store or a GGUF file; `--set model=NAME` says the same. It gives "
      "the shape, and the keys of a new model (n_layer, n_embd, ...) are not allowed.");
  text("model.layers_from", FLEDGE_MEMBER(model.layers_from), {},
       "A larger model whose shape, embeddings and some of whose blocks the student starts with, instead of "
       "model.path.");
  text("model.layers", FLEDGE_MEMBER(model.layers), {},
       "The blocks of model.layers_from that are taken, counted from 0: [\"0\", \"2\", \"4\"]. Empty: every second.");
  text("model.train_only", FLEDGE_MEMBER(model.train_only), {},
       "Parameters that are trained while all others are frozen, by their names or whole parts of them: [\"lm_head\"], "
       "[\"layers.11\", \"norm\"]. Empty: all.");
  of_new_model(text("model.preset", FLEDGE_MEMBER(model.preset),
                    {"", "bert-tiny", "bert-mini", "bert-small", "bert-medium", "bert-base"},
                    "The family and sizes of a known model: BERT with 2 x 128, 4 x 256, 4 x 512, 8 x 512 or 12 x 768 "
                    "(blocks x hidden size). Of the keys that it sets, none may be given another value."));
  of_new_model(number("model.n_layer", FLEDGE_MEMBER(model.n_layer), 1, 1000, "Transformer blocks."));
  of_new_model(number("model.n_head", FLEDGE_MEMBER(model.n_head), 1, 1024, "Attention heads; divides n_embd."));
  of_new_model(number(
      "model.n_kv_head", FLEDGE_MEMBER(model.n_kv_head), 0, 1024,
      "Heads of keys and values, which heads of queries share; divides n_head. 0: n_head. Not GPT-2, not BERT."));
  of_new_model(number("model.head_size", FLEDGE_MEMBER(model.head_size), 0, 65536,
                      "Elements of a head. 0: n_embd / n_head. Not GPT-2."));
  of_new_model(number("model.n_embd", FLEDGE_MEMBER(model.n_embd), 1, 65536, "Hidden size."));
  of_new_model(
      number("model.n_inner", FLEDGE_MEMBER(model.n_inner), 0, 1 << 20,
             "Feed-forward size. 0: 4 n_embd in GPT-2 and BERT, in the others 8/3 n_embd up to a multiple of 64."));
  of_new_model(number("model.n_positions", FLEDGE_MEMBER(model.n_positions), 1, 1 << 20, "Longest context in tokens."));
  of_new_model(number("model.vocab_size", FLEDGE_MEMBER(model.vocab_size), 0, 1 << 24,
                      "Rows of the embedding. 0: as many as the tokenizer of the data has."));
  of_new_model(number("model.embd_pdrop", FLEDGE_MEMBER(model.embd_pdrop), 0, 0.99,
                      "Dropout after the embedding, in GPT-2 and BERT."));
  of_new_model(number("model.attn_pdrop", FLEDGE_MEMBER(model.attn_pdrop), 0, 0.99, "Dropout of attention weights."));
  of_new_model(
      number("model.resid_pdrop", FLEDGE_MEMBER(model.resid_pdrop), 0, 0.99,
             "Dropout before each residual addition, in GPT-2 and BERT; BERT's is the same after the embedding."));
  above(of_new_model(number("model.layer_norm_epsilon", FLEDGE_MEMBER(model.layer_norm_epsilon), 0, 0.1,
                            "Added to the variance in layer norm, to the mean square in RMS norm.")));
  of_new_model(text("model.activation", FLEDGE_MEMBER(model.activation), {"gelu_new", "gelu"},
                    "GPT-2's and BERT's: gelu_new is the tanh form, gelu the exact one. The others have SwiGLU."));
  above(of_new_model(number("model.initializer_range", FLEDGE_MEMBER(model.initializer_range), 0, 10,
                            "Standard deviation of the weights at the start.")));
  above(of_new_model(number("model.rope_theta", FLEDGE_MEMBER(model.rope_theta), 1, 1e15,
                            "Base of the wavelengths of rotary positions. Not GPT-2, not BERT.")));
  of_new_model(text("model.tie_embeddings", FLEDGE_MEMBER(model.tie_embeddings), {},
                    "Whether the head is the embedding. GPT-2's and BERT's always is."));

  text("data.path", FLEDGE_MEMBER(data.path), {},
       "Folder made by `fledge data prepare`, or the file that the objective learns from; `--set data=FILE` says the "
       "same.");
  text("data.text", FLEDGE_MEMBER(data.text), {},
       "Text or JSONL files to prepare on the way, instead of data.path; needs data.tokenizer.");
  text("data.tokenizer", FLEDGE_MEMBER(data.tokenizer), {},
       "Tokenizer for data.text: a folder, a model by its name in the store, or a GGUF file. With data.path it is the "
       "one the data was prepared with.");
  text("data.separate_documents", FLEDGE_MEMBER(data.separate_documents), {},
       "Whether attention stops at the borders of documents that share a sequence.");
  number("data.val_fraction", FLEDGE_MEMBER(data.val_fraction), 0, 0.5,
         "Share of the documents of data.text, of the conversations of a chat file, or of labelled examples, that is "
         "kept for validation.");
  text("data.strict", FLEDGE_MEMBER(data.strict), {},
       "Stop at the first record of a chat file that cannot be used, instead of skipping and counting such.");
  text("data.add_tokens", FLEDGE_MEMBER(data.add_tokens), {},
       "Special tokens to add to the vocabulary for a chat template. Their rows of the embedding begin as the mean of "
       "the others.");
  text("data.val_path", FLEDGE_MEMBER(data.val_path), {},
       "A chat file, or for classify a file of examples, that is held out for validation instead of a share of "
       "data.path.");
  text(
      "data.text_column", FLEDGE_MEMBER(data.text_column), {},
      "classify: the column of the text; with objective.task = \"tokens\" of words, as a list or with spaces between.");
  text("data.text_pair_column", FLEDGE_MEMBER(data.text_pair_column), {},
       "classify: the column of a second text, for pairs. Empty: none.");
  text("data.label_column", FLEDGE_MEMBER(data.label_column), {},
       "classify: the column of the label, the number, or the words' labels.");
  text("data.labels", FLEDGE_MEMBER(data.labels), {},
       "classify: the labels in their order; another one in the data is an error, and so is one without an example. "
       "Empty: those of the starting model, or else of the data.");

  text("chat.template", FLEDGE_MEMBER(chat.template_name), {},
       "How conversations become text: chatml, zephyr or a file with a template. Empty: the model's own.");
  text("chat.train_on", FLEDGE_MEMBER(chat.train_on), {"all", "last"},
       "Which of the assistant's turns are learned. last is for templates that write earlier turns in another way.");

  text("objective.kind", FLEDGE_MEMBER(objective.kind),
       {"next_token", "chat", "dpo", "orpo", "kto", "masked_language", "classify"},
       "What is learned: the next token of texts; the assistant's tokens in conversations; which of two answers is "
       "better (dpo, orpo); which answers are good (kto); masked tokens, or labels of texts (both for an encoder).");
  above(number("objective.beta", FLEDGE_MEMBER(objective.beta), 0, 100,
               "dpo and kto: how strongly the model is held to the one it started from; orpo: the weight of the odds "
               "ratio beside the loss of the chosen answer."));
  number("objective.label_smoothing", FLEDGE_MEMBER(objective.label_smoothing), 0, 0.5,
         "dpo: share of the pairs that are taken to be labelled the wrong way round.");
  number("objective.desirable_weight", FLEDGE_MEMBER(objective.desirable_weight), 0, 1000,
         "kto: weight of the good answers.");
  number("objective.undesirable_weight", FLEDGE_MEMBER(objective.undesirable_weight), 0, 1000,
         "kto: weight of the bad answers.");
  above(number("objective.mask_probability", FLEDGE_MEMBER(objective.mask_probability), 0, 0.9,
               "masked_language: share of the tokens that are to be predicted; of these 80 % become the mask, 10 % a "
               "token drawn at random, and 10 % stay."));
  text("objective.whole_words", FLEDGE_MEMBER(objective.whole_words), {},
       "masked_language: whether all tokens of a word are masked together.");
  text("objective.next_sentence", FLEDGE_MEMBER(objective.next_sentence), {},
       "masked_language: texts are pairs of segments, and whether the second one follows the first is learned too.");

  text("objective.task", FLEDGE_MEMBER(objective.task), {"classification", "regression", "tokens"},
       "classify: one label of a set for each text, a number for each text, or one label for each word.");

  text("distillation.teacher", FLEDGE_MEMBER(distillation.teacher), {},
       "A model to learn from beside the labels: a folder, a name in the store or a GGUF file, with the vocabulary of "
       "the data. Empty: none.");
  number("distillation.alpha", FLEDGE_MEMBER(distillation.alpha), 0, 1,
         "Weight of the teacher: the loss is (1 - alpha) cross-entropy + alpha temperature^2 KL, each a mean over the "
         "targets. 0 is training without a teacher, bit for bit.");
  above(number("distillation.temperature", FLEDGE_MEMBER(distillation.temperature), 0, 1000,
               "Divides the logits of both models inside the divergence."));
  text("distillation.divergence", FLEDGE_MEMBER(distillation.divergence), {"forward", "reverse"},
       "forward is KL(teacher, student), which covers all that the teacher does; reverse is KL(student, teacher), "
       "which keeps to what the teacher finds likely.");
  number("distillation.prediction_weight", FLEDGE_MEMBER(distillation.prediction_weight), 0, 1e6,
         "Factor of that loss beside the terms below; 0 leaves both models' heads out.");
  number("distillation.hidden_weight", FLEDGE_MEMBER(distillation.hidden_weight), 0, 1e6,
         "Factor of the distance between hidden states behind the blocks that distillation.layers pairs, summed over "
         "the pairs. Where the models differ in width, one learned projection, which all terms share, widens the "
         "student's.");
  text(
      "distillation.hidden_distance", FLEDGE_MEMBER(distillation.hidden_distance), {"mse", "cosine"},
      "mse is the mean over tokens and elements of the squared difference, cosine the mean over tokens of 1 - cosine.");
  number(
      "distillation.attention_weight", FLEDGE_MEMBER(distillation.attention_weight), 0, 1e6,
      "Factor of the mean squared difference of attention's scores before the softmax, over the pairs of tokens that "
      "see each other, summed over the paired blocks. Needs as many heads in both models.");
  number("distillation.embedding_weight", FLEDGE_MEMBER(distillation.embedding_weight), 0, 1e6,
         "Factor of the mean squared difference of what enters the first block.");
  text("distillation.layers", FLEDGE_MEMBER(distillation.layers), {},
       "Which blocks are compared: pairs such as \"0:2\" of a student's and a teacher's block, counted from 0; or "
       "\"uniform\" for all of the student's, or \"last\".");

  number("distillation.top_k", FLEDGE_MEMBER(distillation.top_k), 0, 65536,
         "Ask the teacher once about all rows of the run, before it starts, and keep that many of its likeliest tokens "
         "at each place with the probability of all others. 0: the teacher runs beside the student.");
  text("distillation.cache", FLEDGE_MEMBER(distillation.cache), {},
       "File for what top_k keeps; one that is there is used again where teacher, tokenizer, data and temperature are "
       "the same. Empty: teacher.safetensors in the run's folder.");
  number("distillation.on_policy", FLEDGE_MEMBER(distillation.on_policy), 0, 1,
         "Share of the rows in which the student, as it is at that step, writes the second half (or the answer, where "
         "only answers have targets) itself, and the teacher judges that. Needs alpha = 1: a text of one's own has no "
         "labels.");

  text(
      "adapter.kind", FLEDGE_MEMBER(adapter.kind), {"none", "lora", "rslora", "dora"},
      "Train an adapter over a frozen model.path instead of the model itself: lora, with the scale alpha / rank; "
      "rslora, alpha / sqrt(rank); dora, which learns the length of each row of a weight as well. Checkpoints are then "
      "adapters in PEFT's format.");
  text("adapter.from", FLEDGE_MEMBER(adapter.from), {},
       "An adapter of model.path to go on training: a folder in PEFT's format, or a run. Kind, rank, alpha and targets "
       "are then its own, whatever stands here. For dpo and kto it is the reference.");
  number("adapter.rank", FLEDGE_MEMBER(adapter.rank), 1, 65536, "Rank of each change.");
  number("adapter.alpha", FLEDGE_MEMBER(adapter.alpha), 0, 1e6, "Sets the scale of the changes.");
  number("adapter.dropout", FLEDGE_MEMBER(adapter.dropout), 0, 0.99, "Dropout of what the adapter reads.");
  text("adapter.targets", FLEDGE_MEMBER(adapter.targets), {},
       "Layers to change, by their names or the last parts of them. Empty: every linear layer of the blocks.");
  text("adapter.base", FLEDGE_MEMBER(adapter.base),
       {"as stored", "f32", "bf16", "q8_0", "q4_0", "q4_1", "q4_k", "q6_k"},
       "How the frozen model is kept in memory. As stored: bf16 and quantized blocks as they are in the file, anything "
       "wider in the type of the arithmetic. A type of blocks quantizes the linear layers (QLoRA).");

  text("optimizer.kind", FLEDGE_MEMBER(optimizer.kind), {"adamw"}, "The optimizer.");
  above(number("optimizer.learning_rate", FLEDGE_MEMBER(optimizer.learning_rate), 0, 10,
               "The highest learning rate of the schedule."));
  number("optimizer.beta1", FLEDGE_MEMBER(optimizer.beta1), 0, 0.999999, "Decay of the mean of gradients.");
  number("optimizer.beta2", FLEDGE_MEMBER(optimizer.beta2), 0, 0.999999, "Decay of the mean of squared gradients.");
  above(number("optimizer.epsilon", FLEDGE_MEMBER(optimizer.epsilon), 0, 1, "Added to the root in AdamW."));
  number("optimizer.weight_decay", FLEDGE_MEMBER(optimizer.weight_decay), 0, 10,
         "Decoupled weight decay of matrices; biases and norms have none.");
  number("optimizer.clip_norm", FLEDGE_MEMBER(optimizer.clip_norm), 0, 1e6,
         "Longest allowed norm of the whole gradient. 0: no clipping.");
  text("optimizer.bias_correction", FLEDGE_MEMBER(optimizer.bias_correction), {},
       "Whether the means of the first steps are corrected for having begun at zero. BERT's own optimizer did not.");

  text("schedule.kind", FLEDGE_MEMBER(schedule.kind), {"cosine", "linear", "constant", "wsd"},
       "Shape of the learning rate after the warm-up. wsd stays at the top and falls at the end.");
  number("schedule.warmup_steps", FLEDGE_MEMBER(schedule.warmup_steps), 0, kMany,
         "Steps over which the learning rate rises from 0.");
  number("schedule.warmup_ratio", FLEDGE_MEMBER(schedule.warmup_ratio), 0, 1,
         "The same as a share of all steps, for runs whose number of steps is not known in advance.");
  number("schedule.decay_steps", FLEDGE_MEMBER(schedule.decay_steps), 0, kMany,
         "Steps of the fall. 0: all steps after the warm-up; for wsd a fifth of all steps.");
  number("schedule.min_ratio", FLEDGE_MEMBER(schedule.min_ratio), 0, 1,
         "Where the learning rate ends, as a share of the highest.");

  number("batch.sequences", FLEDGE_MEMBER(batch.sequences), 1, 1 << 20,
         "Sequences in one optimizer step, over all processes.");
  number("batch.sequence_length", FLEDGE_MEMBER(batch.sequence_length), 1, 1 << 20,
         "Tokens in a sequence; at most the model's context.");
  number("batch.micro_sequences", FLEDGE_MEMBER(batch.micro_sequences), 0, 1 << 20,
         "Sequences that go through the model at once; the rest of the step is accumulated, to the same result with "
         "less memory. Divides batch.sequences. 0: all.");

  number("evaluation.every", FLEDGE_MEMBER(evaluation.every), 0, kMany,
         "Steps between validations. 0: only at the end.");
  number("evaluation.batches", FLEDGE_MEMBER(evaluation.batches), 0, kMany,
         "Batches in one validation. 0: all of the validation data.");

  number("samples.every", FLEDGE_MEMBER(samples.every), 0, kMany, "Steps between samples of text. 0: none.");
  text("samples.prompts", FLEDGE_MEMBER(samples.prompts), {},
       "Beginnings that the samples continue, in turn; of chats, messages that they answer.");
  number("samples.max_tokens", FLEDGE_MEMBER(samples.max_tokens), 1, 1 << 20, "Tokens in a sample.");
  number("samples.temperature", FLEDGE_MEMBER(samples.temperature), 0, 100, "0 takes the likeliest token each time.");

  number("checkpoints.every", FLEDGE_MEMBER(checkpoints.every), 0, kMany,
         "Steps between checkpoints. 0: only at the end and on Ctrl+C.");
  number("checkpoints.keep_last", FLEDGE_MEMBER(checkpoints.keep_last), 1, 1000000,
         "How many of the newest checkpoints stay.");
  text("checkpoints.keep_best", FLEDGE_MEMBER(checkpoints.keep_best), {},
       "Whether the checkpoint with the lowest validation loss stays too.");

  text("run.name", FLEDGE_MEMBER(run.name), {}, "Name of the run. Empty: the recipe file's name.");
  text("run.out", FLEDGE_MEMBER(run.out), {}, "Folder of the run. Empty: runs/NAME.");
  number("run.seed", FLEDGE_MEMBER(run.seed), 0, 9007199254740992.0,
         "Decides the weights at the start, the order of the data, dropout and samples.");
  number("run.threads", FLEDGE_MEMBER(run.threads), 0, 4096, "Threads. 0: one for each core that may be used.");
  return keys;
}
#undef FLEDGE_MEMBER

std::string bound_text(double bound) {
  return fmt::format("{}", bound);
}

std::string section_of(std::string_view name) {
  const size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string{} : std::string(name.substr(0, dot));
}

}  // namespace

const std::vector<RecipeKey>& recipe_keys() {
  static const std::vector<RecipeKey> keys = make_keys();
  return keys;
}

std::string RecipeKey::type_name() const {
  constexpr const char* kNames[] = {"boolean", "integer", "number", "string", "list of strings"};
  return kNames[access.index()];
}

std::string toml_value(const RecipeKey& key, Recipe& recipe) {
  return std::visit(
      [&](auto access) -> std::string {
        auto& value = access(recipe);
        using Value = std::remove_reference_t<decltype(value)>;
        if constexpr (std::is_same_v<Value, std::string>) {
          return base::toml_quoted(value);
        } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
          std::vector<std::string> quoted;
          for (const std::string& item : value) quoted.push_back(base::toml_quoted(item));
          return fmt::format("[{}]", fmt::join(quoted, ", "));
        } else if constexpr (std::is_same_v<Value, double>) {
          // The shortest digits that read back to the same number; TOML wants a point or an exponent.
          const std::string digits = fmt::format("{}", value);
          return digits.find_first_of(".en") == std::string::npos ? digits + ".0" : digits;
        } else {
          return fmt::format("{}", value);
        }
      },
      key.access);
}

std::string RecipeKey::default_text() const {
  Recipe defaults;
  return toml_value(*this, defaults);
}

std::string RecipeKey::range_text() const {
  if (!choices.empty()) {
    std::vector<std::string> quoted;
    for (const std::string_view choice : choices) quoted.push_back(base::toml_quoted(choice));
    return fmt::format("{}", fmt::join(quoted, ", "));
  }
  if (access.index() != 1 && access.index() != 2) return "";
  if (minimum_excluded) return fmt::format("above {}, at most {}", bound_text(minimum), bound_text(maximum));
  if (maximum >= kMany) return fmt::format("{} or more", bound_text(minimum));
  return fmt::format("{} to {}", bound_text(minimum), bound_text(maximum));
}

std::string to_toml(const Recipe& recipe) {
  Recipe copy = recipe;
  std::string result, section;
  for (const RecipeKey& key : recipe_keys()) {
    const std::string key_section = section_of(key.name);
    if (key_section != section) result += fmt::format("\n[{}]\n", key_section);
    section = key_section;
    const std::string_view name = section.empty() ? key.name : key.name.substr(section.size() + 1);
    const bool comment = key.of_new_model && recipe.model.is_given();
    result +=
        fmt::format("{}{} = {}\n",
                    comment ? fmt::format("# from model.{}: ", recipe.model.path.empty() ? "layers_from" : "path") : "",
                    name, toml_value(key, copy));
  }
  return result;
}

std::string recipe_reference_markdown() {
  std::string result, section = "none";
  for (const RecipeKey& key : recipe_keys()) {
    if (section_of(key.name) != section) {
      section = section_of(key.name);
      result += section.empty() ? "### Length and precision\n\n" : fmt::format("\n### {}\n\n", section);
      result += "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
    }
    const std::string range = key.range_text();
    result +=
        fmt::format("| `{}` | {} | `{}` | {} | {} |\n", key.name, key.type_name(), key.default_text(), range, key.help);
  }
  return result;
}

std::string recipe_reference_text(int width) {
  std::string result, section;
  for (const RecipeKey& key : recipe_keys()) {
    if (section_of(key.name) != section) result += "\n";
    section = section_of(key.name);
    const std::string range = key.range_text();
    result += fmt::format("{} = {}\n", key.name, key.default_text());
    std::string text(key.help);
    if (!range.empty()) text += fmt::format(" ({}: {})", key.type_name(), range);
    result += "    " + base::wrapped(text, static_cast<size_t>(width), 4) + "\n";
  }
  return result;
}

}  // namespace fledge::train
