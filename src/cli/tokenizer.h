#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct TokenizerTrainOptions {
  std::string kind = "bpe";
  int32_t vocab_size = 8192;
  std::vector<std::string> inputs;
  std::string out;  ///< folder
  std::vector<std::string> special;
  std::optional<std::string> pattern;     ///< of bpe
  bool lowercase = false, cased = false;  ///< of wordpiece and unigram
  int64_t alphabet = 1000;                ///< of wordpiece and unigram
  int64_t min_frequency = 2;
  bool json = false;
};

struct TokenizerEncodeOptions {
  std::string tokenizer;  ///< folder or file
  std::optional<std::string> text;
  std::optional<std::string> file;  ///< neither: standard input
  bool add_special = false;
  bool no_match_special = false;
  bool json = false;
};

struct TokenizerDecodeOptions {
  std::string tokenizer;
  std::string ids;  ///< "-": standard input
  bool skip_special = false;
};

/// `fledge tokenizer` with its commands train, encode and decode.
void add_tokenizer_command(Verb app, Context& context);

/// Learns a tokenizer from texts and writes its folder.
void run_tokenizer_train(const TokenizerTrainOptions& options, const CommonOptions& common);
/// Prints the token ids of a text: "1,2,3".
void run_tokenizer_encode(const TokenizerEncodeOptions& options);
/// Prints the bytes of tokens, exactly, with a line feed behind them on a terminal alone.
void run_tokenizer_decode(const TokenizerDecodeOptions& options);

}  // namespace fledge::cli
