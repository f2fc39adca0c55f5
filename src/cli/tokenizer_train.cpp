// fledge tokenizer train
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/tokenizer.h"
#include "cli/work_progress.h"
#include "nn/text/bpe_trainer.h"
#include "nn/text/unigram_trainer.h"
#include "nn/text/word_piece_trainer.h"
#include "train/data/documents.h"

namespace fledge::cli {
namespace {

constexpr size_t kBatchBytes = size_t{16} << 20;

bool is_plain_text(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  return extension != ".gz" && extension != ".jsonl" && extension != ".ndjson";
}

/// Files that are not plain text come document by document; many of them are counted at once, with `separator`,
/// a special token from which nothing is learned, between them.
void add_documents(nn::TokenizerTrainer& trainer, const std::string& separator, const std::filesystem::path& path) {
  const auto reader = train::open_documents(path, {});
  train::DocumentPiece piece;
  std::string batch;
  while (reader->next(piece)) {
    batch += piece.text;
    if (!piece.ends_document) continue;
    batch += separator;
    if (batch.size() < kBatchBytes) continue;
    trainer.add_text(batch);
    batch.clear();
  }
  if (!batch.empty()) trainer.add_text(batch);
}

/// Shows counting (all files as one) and merging or pruning as two stages.
class TrainingDisplay {
 public:
  TrainingDisplay(WorkProgress& progress, const std::vector<std::string>& inputs) : progress_(progress) {
    for (const std::string& input : inputs) {
      std::error_code ignored;
      const auto size = std::filesystem::file_size(input, ignored);
      total_ += ignored ? 0.0 : static_cast<double>(size);
    }
  }
  void begin_file(const std::string& path) {
    std::error_code ignored;
    const auto size = std::filesystem::file_size(path, ignored);
    before_ += size_;
    size_ = ignored ? 0.0 : static_cast<double>(size);
  }
  void show(const nn::TokenizerTrainingProgress& state) {
    if (state.phase == nn::TokenizerTrainingProgress::Phase::kPruning) {
      const std::string left = base::with_separators(state.done);
      return progress_.update({0.0, 0.0, {{"", fmt::format("pruning, {} candidates are left", left)}}, -1.0});
    }
    if (state.phase == nn::TokenizerTrainingProgress::Phase::kMerging) {
      const double done = static_cast<double>(state.done), total = static_cast<double>(state.total);
      if (merging_since_ < 0.0) {
        merging_since_ = progress_.seconds();
        merged_before_ = done;
      }
      // The time left is that of the merges alone.
      const double merged = done - merged_before_, spent = progress_.seconds() - merging_since_;
      const double left = merged > 0.0 ? spent * (total - done) / merged : -1.0;
      progress_.update(
          {done, total, {{"", fmt::format("merging, {} tokens", base::with_separators(state.done))}}, left});
      return;
    }
    const double share = state.total > 0 ? static_cast<double>(state.done) / static_cast<double>(state.total) : 1.0;
    const double done = std::min(total_, before_ + share * size_);
    progress_.update({done, total_, {{"", fmt::format("counting, {} of text", base::format_bytes(done))}}, -1.0});
  }

 private:
  WorkProgress& progress_;
  double total_ = 0.0, before_ = 0.0, size_ = 0.0;
  double merging_since_ = -1.0, merged_before_ = 0.0;
};

using Progress = std::function<void(const nn::TokenizerTrainingProgress&)>;

void add_special(std::vector<std::string>& tokens, const std::vector<std::string>& more) {
  for (const std::string& token : more) {
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
  }
}

void refuse(bool given, const char* option, const std::string& kind) {
  if (given) throw base::UsageError("{} has no meaning with --kind {}", option, kind);
}

/// A trainer and the special token that may stand between documents.
struct ChosenTrainer {
  std::unique_ptr<nn::TokenizerTrainer> trainer;
  const char* separator;
};

ChosenTrainer make_trainer(const TokenizerTrainOptions& options, const Progress& progress) {
  if (options.kind == "bpe") {
    refuse(options.lowercase || options.cased, "--lowercase or --cased", options.kind);
    nn::BpeTrainingOptions training;
    training.vocabulary_size = options.vocab_size;
    training.pattern = nn::split_pattern_by_name(options.pattern.value_or("gpt2"));
    training.min_frequency = options.min_frequency;
    add_special(training.special_tokens, options.special);
    training.progress = progress;
    return {std::make_unique<nn::BpeTrainer>(training), "<|endoftext|>"};
  }
  refuse(options.pattern.has_value(), "--pattern", options.kind);
  if (options.kind == "wordpiece") {
    nn::WordPieceTrainingOptions training;
    training.vocabulary_size = options.vocab_size;
    training.lowercase = !options.cased;
    training.min_frequency = options.min_frequency;
    training.alphabet_limit = options.alphabet;
    add_special(training.special_tokens, options.special);
    training.progress = progress;
    return {std::make_unique<nn::WordPieceTrainer>(training), "[SEP]"};
  }
  nn::UnigramTrainingOptions training;
  training.vocabulary_size = options.vocab_size;
  training.lowercase = options.lowercase;
  training.alphabet_limit = options.alphabet;
  add_special(training.special_tokens, options.special);
  training.progress = progress;
  return {std::make_unique<nn::UnigramTrainer>(training), "</s>"};
}

std::string why_smaller(const TokenizerTrainOptions& options) {
  if (options.kind == "unigram") return "The text has no more strings that occur twice";
  return fmt::format("The text has no more pairs that occur {} times", options.min_frequency);
}

}  // namespace

void run_tokenizer_train(const TokenizerTrainOptions& options, const CommonOptions& common) {
  WorkProgress progress("tokenizer", common);
  TrainingDisplay display(progress, options.inputs);
  const auto [trainer, separator] =
      make_trainer(options, [&](const nn::TokenizerTrainingProgress& state) { display.show(state); });
  for (const std::string& input : options.inputs) {
    display.begin_file(input);
    if (is_plain_text(input)) {
      trainer->add_file(input);
    } else {
      add_documents(*trainer, separator, input);
    }
  }
  const nn::Tokenizer tokenizer = trainer->train();
  tokenizer.save(options.out);
  progress.finish("");
  if (options.json)
    return print(base::OrderedJson{{"folder", options.out}, {"vocabulary_size", tokenizer.vocabulary_size()}}.dump(2) +
                 "\n");
  print(fmt::format("{} tokens, written to {}\n", base::with_separators(tokenizer.vocabulary_size()), options.out));
  if (tokenizer.vocabulary_size() < options.vocab_size)
    print(fmt::format("{}, so the vocabulary stays below the {} asked for.\n", why_smaller(options),
                      base::with_separators(options.vocab_size)));
}

}  // namespace fledge::cli
