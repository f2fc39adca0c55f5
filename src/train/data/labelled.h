#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nn/text/encoder_row.h"
#include "nn/text/tokenizer.h"

namespace fledge::train {

/// What a model says of a text.
enum class LabelTask : uint8_t {
  classification,  ///< one label of a set
  regression,      ///< a number
  tokens           ///< one label of a set for each word
};

/// The task of that name: "classification", "regression" or "tokens". Throws UsageError for another.
LabelTask label_task_by_name(const std::string& name);

/// Which columns of a file hold what.
struct ExampleColumns {
  std::string text = "text";
  std::string pair;  ///< a second text; empty: none
  std::string label = "label";
};

/// One text with its label, as it stands in a file.
struct Example {
  std::string place;                     ///< "FILE, line N"
  std::vector<std::string> words, pair;  ///< of a text the whole as one; for LabelTask::tokens its words
  std::vector<std::string> labels;       ///< one, or one for each word
  double number = 0.0;                   ///< of a regression
};

/// The examples of a CSV, TSV or JSONL file. For LabelTask::tokens both columns hold lists, or words that are separated
/// by spaces. Throws Error naming the place where a text or a label is empty, a number is none, or words and labels
/// differ in number.
std::vector<Example> read_examples(const std::filesystem::path& path, const ExampleColumns& columns, LabelTask task);

/// The labels of examples in their order: by value where all are whole numbers, else by their bytes.
std::vector<std::string> labels_of(const std::vector<Example>& examples);

/// One example as a model reads it.
struct EncodedExample {
  std::vector<int32_t> ids, segments;
  std::vector<int32_t> labels;  ///< one; for LabelTask::tokens one for each token, kIgnoredTarget where there is none
  double number = 0.0;
};

/// Examples with the labels as numbers of `labels`. A text is cut to `longest` tokens with its special ones; a word's
/// label stands at its first token. Adds to `cut` how many texts were cut. Throws Error naming the place of a label
/// outside the set.
std::vector<EncodedExample> encode_examples(const std::vector<Example>& examples, LabelTask task,
                                            const std::vector<std::string>& labels, const nn::Tokenizer& tokenizer,
                                            const nn::EncoderTokens& special, int64_t longest, int64_t& cut);

}  // namespace fledge::train
