#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct DataListOptions {
  bool json = false;
};

struct DataGetOptions {
  std::string name;  ///< of a corpus
  std::string out;   ///< folder; empty: data/NAME
  bool json = false;
};

struct DataPrepareOptions {
  std::vector<std::string> inputs;
  std::string tokenizer;  ///< folder
  std::string out;        ///< folder
  double val_fraction = 0.05;
  std::string text_key = "text";
  std::string separator = "<|endoftext|>";
  bool json = false;
};

struct DataInspectOptions {
  std::string file, model;
  std::string chat_template;  ///< empty: the model's own
  std::vector<std::string> add_tokens;
  std::string objective = "chat", train_on = "all";
  int64_t sequence_length = 0;  ///< 0: the model's context
  int64_t examples = 3;
  bool strict = false;  ///< stop at the first record that cannot be used
  bool json = false;
};

struct DataAugmentOptions {
  std::string file, model, out;
  std::string text_column = "text", pair_column, label_column = "label";
  std::string precision = "auto";
  int64_t variants = 20, candidates = 15;
  double probability = 0.4;
  uint64_t seed = 1;
  bool json = false;
};

/// `fledge data` with its commands list, get, inspect, prepare and augment.
void add_data_command(Verb app, Context& context);

void add_data_prepare_command(Verb data, Context& context);

void add_data_inspect_command(Verb data, Context& context);

void add_data_augment_command(Verb data, Context& context);

/// The catalogue of named corpora.
void run_data_list(const DataListOptions& options);
/// Brings a corpus; prints the paths of its files.
void run_data_get(const DataGetOptions& options, const CommonOptions& common);
/// Shows what a chat file would teach a model.
void run_data_inspect(const DataInspectOptions& options, const CommonOptions& common);
/// Tokenizes text files into a data set.
void run_data_prepare(const DataPrepareOptions& options, const CommonOptions& common);

/// Writes a table of labelled texts with variants of each.
void run_data_augment(const DataAugmentOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
